//! Small questions about bytes and words.

/// Whether a sorted list has the word.
pub(crate) fn is_one_of(word: &str, sorted: &[&str]) -> bool {
    sorted.binary_search(&word).is_ok()
}

/// Part of an identifier: `db_password`, `x-api-key`.
pub(crate) fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// In the alphabet of base64 for URLs (RFC 4648, section 5), of which tokens are made.
pub(crate) fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// In the alphabet of base64, without its filling.
pub(crate) fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

/// Where the run of bytes that pass ends.
pub(crate) fn run(bytes: &[u8], from: usize, pass: impl Fn(u8) -> bool) -> usize {
    bytes[from..].iter().position(|&byte| !pass(byte)).map_or(bytes.len(), |len| from + len)
}

/// What a word is made of.
#[derive(Default, Clone, Copy)]
pub(crate) struct CharacterClasses {
    pub(crate) digits: usize,
    pub(crate) upper: usize,
    pub(crate) lower: usize,
    /// Upper after lower case.
    pub(crate) turns: usize,
    pub(crate) other: usize,
}

impl CharacterClasses {
    pub(crate) fn of(word: &[u8]) -> Self {
        let mut made = Self::default();
        let mut before = 0_u8;
        for &byte in word {
            match byte {
                b'0'..=b'9' => made.digits += 1,
                b'A'..=b'Z' => {
                    made.upper += 1;
                    made.turns += usize::from(before.is_ascii_lowercase());
                }
                b'a'..=b'z' => made.lower += 1,
                _ => made.other += 1,
            }
            before = byte;
        }
        made
    }

    /// Of digits and letters of both cases, as no name is.
    pub(crate) fn is_mixed(self) -> bool {
        self.digits > 0 && self.upper > 0 && self.lower > 0
    }

    /// Of letters of both cases as chance mixes them: no word in camel case has a capital for every fourth letter.
    pub(crate) fn is_shuffled(self) -> bool {
        self.letters() < 4 * self.upper.min(self.lower)
    }

    pub(crate) fn letters(self) -> usize {
        self.upper + self.lower
    }
}

/// What base64 of either alphabet stands for, as far as it is base64.
pub(crate) fn decoded(word: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(word.len() / 4 * 3);
    let (mut bits, mut have) = (0_u32, 0);
    for &byte in word {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(six);
        have += 6;
        if have >= 8 {
            have -= 8;
            decoded.push((bits >> have).to_le_bytes()[0]);
        }
    }
    decoded
}

/// The bytes of pairs of hexadecimal digits.
pub(crate) fn unhexed(word: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0).to_le_bytes()[0];
    word.chunks_exact(2).map(|two| digit(two[0]) << 4 | digit(two[1])).collect()
}

/// Whether this is the base64 of `user:password` (RFC 7617), perhaps cut off.
pub(crate) fn is_basic(word: &[u8]) -> bool {
    let decoded = decoded(word);
    let readable = match std::str::from_utf8(&decoded) {
        Ok(text) => text,
        // Only what was cut off at the end is forgiven.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&decoded[..error.valid_up_to()]).unwrap_or(""),
        Err(_) => return false,
    };
    readable.contains(':') && !readable.contains(char::is_control)
}

/// The word in lower case, if it fits.
pub(crate) fn lowered<'b>(word: &[u8], buffer: &'b mut [u8]) -> Option<&'b str> {
    let lower = buffer.get_mut(..word.len())?;
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).ok()
}

/// Whether a sorted list has the word, in any case.
pub(crate) fn is_listed(word: &[u8], sorted: &[&str]) -> bool {
    lowered(word, &mut [0; MAX_WORD]).is_some_and(|word| is_one_of(word, sorted))
}

/// Longest word that is looked up.
const MAX_WORD: usize = 24;
