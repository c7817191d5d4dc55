//! stub
#![allow(missing_docs)]
pub fn write_to_textfile(_p: &std::path::Path, _b: &[u8]) -> crate::Result<()> {
    todo!()
}
