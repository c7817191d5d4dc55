//! What every file has around its bytes: a kind and a format at its beginning, a checksum behind each block.

use std::path::Path;

use crate::codec::Damaged;
use crate::error::Error;

/// The newest format, which is the one that is written.
pub(crate) const FORMAT: u8 = 1;
/// How many bytes a file begins with before its first block.
pub(crate) const HEADER: usize = 8;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// Records of the log.
    Log,
    /// Blocks of samples.
    Data,
    /// The index of a part.
    Index,
    /// The list of parts.
    Manifest,
}

impl FileKind {
    fn letter(self) -> u8 {
        match self {
            Self::Log => b'L',
            Self::Data => b'D',
            Self::Index => b'I',
            Self::Manifest => b'M',
        }
    }

    /// The first bytes of a file.
    pub(crate) fn header(self) -> [u8; HEADER] {
        [b'G', b'D', b'S', self.letter(), FORMAT, 0, 0, 0]
    }

    /// Looks at the first bytes of a file; what follows them.
    pub(crate) fn check(self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        match bytes.first_chunk::<HEADER>() {
            Some([b'G', b'D', b'S', letter, format, ..]) if *letter == self.letter() => {
                if *format > FORMAT || *format == 0 {
                    return Err(Error::Format { path: path.to_owned(), found: *format, known: FORMAT });
                }
                Ok(())
            }
            _ => Err(Error::damaged(path, &Damaged("it does not begin as such a file does"))),
        }
    }
}

/// The checksum of bytes, CRC-32C.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// Appends bytes and their checksum.
pub(crate) fn put_block(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    out.extend_from_slice(&checksum(bytes).to_le_bytes());
}

/// The bytes before a checksum that is theirs.
pub(crate) fn block(bytes: &[u8]) -> Result<&[u8], Damaged> {
    let (bytes, sum) = bytes.split_last_chunk::<4>().ok_or(Damaged("a block is too short"))?;
    if checksum(bytes) == u32::from_le_bytes(*sum) { Ok(bytes) } else { Err(Damaged("a checksum is wrong")) }
}
