//! The bytes of a process's file.
//!
//! ```text
//! header   magic u64 | pid u64 | used u64 | created_nanos u64 | 32 bytes zero
//! record   length u32 | crc u32 | type u32 | text_len u32 | a u64 | b u64 | text, padded to 8 | cells u64...
//! padding  length u32 | 0xFFFF_FFFF, up to the end of a mapping
//! ```
//!
//! `used` is the end of the last complete record and only grows; everything before it is written once, but for the
//! cells. The checksum covers type, `text_len`, `a`, `b` and text. Native byte order: a file never leaves its machine.

/// First word of every file; its last byte is the version of the layout.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"GDSMETR\x01");
/// Bytes of the header.
pub(super) const HEADER_LEN: usize = 64;
/// Offset of the process id.
pub(super) const PID_AT: usize = 8;
/// Offset of `used`.
pub(super) const USED_AT: usize = 16;
/// Offset of the time of creation.
pub(super) const CREATED_AT: usize = 24;
/// Bytes of a record before its text.
pub(super) const RECORD_LEN: usize = 32;
/// Stands where a record has its checksum.
pub(super) const PADDING: u32 = u32::MAX;

/// `a` is the family's number, `b` is `kind | aggregation << 8`; the text is a [`FamilyText`].
pub(super) const FAMILY: u32 = 1;
/// `a` is the family's number, `b` the number of cells; the text is the label text.
pub(super) const SERIES: u32 = 2;
/// `a` is the offset of the series' record, `b` the number of cells.
pub(super) const EXEMPLARS: u32 = 3;
/// The text is the name of a file that this archive contains.
pub(super) const FOLDED: u32 = 4;
/// In an archive: `a` is the offset of the series' record, `b` the bits of what its sum is more than its `f64` can say.
pub(super) const CARRY: u32 = 5;

/// Rounds up to a multiple of eight.
pub(super) const fn padded(len: usize) -> usize {
    len.next_multiple_of(8)
}

/// Checksum of a record; never [`PADDING`].
pub(super) fn checksum(kind: u32, a: u64, b: u64, text: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&kind.to_ne_bytes());
    hasher.update(&a.to_ne_bytes());
    hasher.update(&b.to_ne_bytes());
    hasher.update(text);
    let sum = hasher.finalize();
    if sum == PADDING { 0 } else { sum }
}

/// Name, help, unit and bounds of a family, as the text of its record.
#[derive(Debug, PartialEq)]
pub(super) struct FamilyText<'a> {
    pub(super) name: &'a str,
    pub(super) help: &'a str,
    pub(super) unit: &'a str,
    pub(super) bounds: Vec<f64>,
}

impl<'a> FamilyText<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for text in [self.name, self.help, self.unit] {
            out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_ne_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        for bound in &self.bounds {
            out.extend_from_slice(&bound.to_ne_bytes());
        }
        out
    }

    pub(super) fn decode(mut bytes: &'a [u8]) -> Option<Self> {
        let mut text = || {
            let (len, rest) = bytes.split_first_chunk::<4>()?;
            let (text, rest) = rest.split_at_checked(u32::from_ne_bytes(*len) as usize)?;
            bytes = rest;
            std::str::from_utf8(text).ok()
        };
        let (name, help, unit) = (text()?, text()?, text()?);
        let bounds = bytes.chunks_exact(8);
        if !bounds.remainder().is_empty() {
            return None;
        }
        let bounds = bounds.filter_map(|chunk| chunk.try_into().ok().map(f64::from_ne_bytes)).collect();
        Some(Self { name, help, unit, bounds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_survives_its_bytes_and_no_part_of_them_panics() {
        let family = FamilyText { name: "x", help: "hé", unit: "", bounds: vec![0.5, 1.0] };
        let bytes = family.encode();
        assert_eq!(FamilyText::decode(&bytes), Some(family));
        for len in 0..bytes.len() {
            let _ = FamilyText::decode(&bytes[..len]);
        }
    }
}
