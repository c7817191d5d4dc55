//! Headers of records, as callers give them and as bytes.
//!
//! ```text
//! header   u16 length and name, u32 length + 1 or 0 for none; bytes
//! ```

/// Bytes that are no record; what they were read from is damaged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Malformed;

/// Longest name of a header, in bytes.
pub const MAX_HEADER_NAME: usize = u16::MAX as usize;

/// A header that owns its parts; a header may be without a value.
pub type OwnedHeader = (String, Option<Vec<u8>>);

/// The headers of a record, as a caller gives them or as they stand in a buffer. Order and duplicates are kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a>(pub(crate) Source<'a>);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    Given(&'a [OwnedHeader]),
    /// Written by [`write_header`]; the number of headers and their bytes.
    Written(u16, &'a [u8]),
}

impl Default for Source<'_> {
    fn default() -> Self {
        Self::Given(&[])
    }
}

impl<'a> Headers<'a> {
    /// Those of a slice.
    pub fn new(headers: &'a [OwnedHeader]) -> Self {
        Self(Source::Given(headers))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self.0 {
            Source::Given(headers) => headers.len(),
            Source::Written(count, _) => usize::from(count),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Name and value of each.
    pub fn iter(&self) -> HeadersIter<'a> {
        HeadersIter(self.0)
    }
}

impl<'a> IntoIterator for &Headers<'a> {
    type Item = (&'a str, Option<&'a [u8]>);
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

/// Walks over [`Headers`].
#[derive(Clone, Debug)]
pub struct HeadersIter<'a>(Source<'a>);

impl<'a> Iterator for HeadersIter<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Given(headers) => {
                let ((name, value), rest) = headers.split_first()?;
                *headers = rest;
                Some((name, value.as_deref()))
            }
            Source::Written(count, bytes) => {
                *count = count.checked_sub(1)?;
                read_header(bytes)
            }
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // cut to what fits just before
pub(crate) fn write_header(out: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    // Between two characters: half a one would make the record malformed.
    let length = (0..=name.len().min(MAX_HEADER_NAME)).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    let name = &name.as_bytes()[..length];
    out.extend_from_slice(&(name.len() as u16).to_le_bytes());
    out.extend_from_slice(name);
    write_optional(out, value);
}

/// The header at the start of `bytes`, which is moved past it.
pub(crate) fn read_header<'a>(bytes: &mut &'a [u8]) -> Option<(&'a str, Option<&'a [u8]>)> {
    let length = take(bytes, 2).ok()?;
    let name = take(bytes, usize::from(u16::from_le_bytes([length[0], length[1]]))).ok()?;
    Some((std::str::from_utf8(name).ok()?, take_optional(bytes).ok()?))
}

#[allow(clippy::cast_possible_truncation)] // what is longer than [`MAX_RECORD`] is refused as a whole
pub(crate) fn write_optional(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => out.extend_from_slice(&0_u32.to_le_bytes()),
        Some(bytes) => {
            out.extend_from_slice(&(bytes.len() as u32).wrapping_add(1).to_le_bytes());
            out.extend_from_slice(bytes);
        }
    }
}

pub(crate) fn take_optional<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Malformed> {
    let length = take(bytes, 4)?;
    match u32::from_le_bytes([length[0], length[1], length[2], length[3]]) {
        0 => Ok(None),
        length => Ok(Some(take(bytes, length as usize - 1)?)),
    }
}

pub(crate) fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
    *bytes = rest;
    Ok(taken)
}
