//! Where one of a few dozen words may begin: a look at three bytes for each place of a text.
//!
//! Each word has a bit in three tables, under its first, second and third byte in either case. A place where the three
//! looked up bits have one in common begins with that word's first three bytes. The look-ups of a place do not wait for
//! those of the place before, as the steps of an automaton do, which makes this twice as fast.

/// Places that are looked at together.
const STEP: usize = 8;

/// The tables for up to 64 words.
pub(crate) struct Fingerprints {
    first: [u64; 256],
    second: [u64; 256],
    third: [u64; 256],
}

impl Fingerprints {
    /// For words of at least two bytes.
    pub(crate) const fn of(words: &[&str]) -> Self {
        assert!(words.len() <= 64, "one bit for each word");
        let mut made = Self { first: [0; 256], second: [0; 256], third: [0; 256] };
        let mut number = 0;
        while number < words.len() {
            let word = words[number].as_bytes();
            let bit = 1 << number;
            set(&mut made.first, word[0], bit);
            set(&mut made.second, word[1], bit);
            if word.len() > 2 {
                set(&mut made.third, word[2], bit);
            } else {
                let mut byte = 0;
                while byte < 256 {
                    made.third[byte] |= bit;
                    byte += 1;
                }
            }
            number += 1;
        }
        made
    }

    /// The first place from `from` on where words may begin, and which; the last two bytes are not looked at.
    #[inline]
    pub(crate) fn next(&self, bytes: &[u8], mut from: usize) -> Option<(usize, u64)> {
        // Several places at once, with one branch for all of them: hardly any has something.
        while let Some(ten) = bytes.get(from..).and_then(<[u8]>::first_chunk::<{ STEP + 2 }>) {
            let mut words = 0;
            for place in 0..STEP {
                words |= self.at(ten[place], ten[place + 1], ten[place + 2]);
            }
            if words != 0 {
                break;
            }
            from += STEP;
        }
        bytes.get(from..)?.windows(3).enumerate().find_map(|(place, bytes)| {
            let words = self.at(bytes[0], bytes[1], bytes[2]);
            (words != 0).then_some((from + place, words))
        })
    }

    /// Whether any word may be in the text, at its very end too.
    pub(crate) fn any(&self, bytes: &[u8]) -> bool {
        let end = |back: usize| bytes.len().checked_sub(back).map_or(0, |at| bytes[at]);
        self.next(bytes, 0).is_some() || self.at(end(2), end(1), 0) != 0
    }

    #[inline]
    fn at(&self, first: u8, second: u8, third: u8) -> u64 {
        self.first[usize::from(first)] & self.second[usize::from(second)] & self.third[usize::from(third)]
    }
}

const fn set(table: &mut [u64; 256], byte: u8, bit: u64) {
    table[byte.to_ascii_lowercase() as usize] |= bit;
    table[byte.to_ascii_uppercase() as usize] |= bit;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_found_in_any_case_and_nothing_else() {
        const FINGERPRINTS: Fingerprints = Fingerprints::of(&["pass", "s.", "://"]);
        assert_eq!(FINGERPRINTS.next(b"my PaSsword", 0), Some((3, 1)));
        assert_eq!(FINGERPRINTS.next(b"it is.it", 0), Some((4, 2)));
        assert_eq!(FINGERPRINTS.next(b"http://", 0), Some((4, 4)));
        assert_eq!(FINGERPRINTS.next(b"http://", 5), None);
        assert_eq!(FINGERPRINTS.next(b"pa", 0), None);
        assert_eq!(FINGERPRINTS.next(b"", 9), None);
        assert!(
            FINGERPRINTS.any(b"as.") && FINGERPRINTS.any(b"s.") && !FINGERPRINTS.any(b"s") && !FINGERPRINTS.any(b"")
        );
    }
}
