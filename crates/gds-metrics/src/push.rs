//! stub
#![allow(missing_docs)]
pub struct PushTarget {
    pub replace: bool,
    pub timeout: std::time::Duration,
    pub tls: Option<rustls::ClientConfig>,
}
impl PushTarget {
    pub fn new(_u: &str, _j: &str, _g: &[(String, String)]) -> crate::Result<Self> {
        todo!()
    }
    pub async fn push(&self, _p: Vec<u8>) -> crate::Result<()> {
        todo!()
    }
}
