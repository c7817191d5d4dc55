//! Where one of many words may begin: a look at three bytes for each place of a text.
//!
//! Each word has a bit in three tables, under its first, second and third byte in either case. A place where the three
//! looked up bits have one in common may begin with that word. The look-ups of a place do not wait for those of the
//! place before, as the steps of an automaton do, which makes this twice as fast. Words that begin alike share a bit, and
//! beyond that, words that are far apart in the list: more words cost a look in vain now and then, and no wider tables.

/// Places that are looked at together.
const STEP: usize = 8;

/// As many as a look-up has bits.
const BITS: usize = 64;

/// The tables for so many words.
pub(crate) struct Fingerprints<const WORDS: usize> {
    first: [u64; 256],
    second: [u64; 256],
    third: [u64; 256],
    /// The first word of each bit, and behind each word the next one of its bit; `WORDS` is none.
    heads: [usize; BITS],
    nexts: [usize; WORDS],
}

impl<const WORDS: usize> Fingerprints<WORDS> {
    pub(crate) const fn of(words: &[&str; WORDS]) -> Self {
        let bits = bits(words);
        let mut made =
            Self { first: [0; 256], second: [0; 256], third: [0; 256], heads: [WORDS; BITS], nexts: [WORDS; WORDS] };
        let mut number = WORDS;
        // From the last one on, so that the words of a bit are in their order.
        while number > 0 {
            number -= 1;
            let word = words[number].as_bytes();
            let bit = bits[number];
            set(&mut made.first, word, 0, bit);
            set(&mut made.second, word, 1, bit);
            set(&mut made.third, word, 2, bit);
            made.nexts[number] = made.heads[bit];
            made.heads[bit] = number;
        }
        made
    }

    /// The first place from `from` on where words may begin, and their bits; the last two bytes are not looked at.
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

    /// The numbers of the words that have these bits.
    pub(crate) fn words(&self, mut bits: u64) -> impl Iterator<Item = usize> {
        let mut word = WORDS;
        std::iter::from_fn(move || {
            if word == WORDS && bits != 0 {
                word = self.heads[bits.trailing_zeros() as usize];
                bits &= bits - 1;
            }
            let found = word;
            word = *self.nexts.get(found)?;
            Some(found)
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

/// Which bit each word has. Short words have one of their own: whatever follows them would follow those that share it.
const fn bits<const WORDS: usize>(words: &[&str; WORDS]) -> [usize; WORDS] {
    let mut bits = [0; WORDS];
    let mut short = 0;
    let mut number = 0;
    while number < WORDS {
        if words[number].len() < 3 {
            bits[number] = short;
            short += 1;
        }
        number += 1;
    }
    let (mut groups, mut number) = (0, 0);
    while number < WORDS {
        let word = words[number].as_bytes();
        if word.len() >= 3 {
            let mut same = 0;
            while same < number && !(words[same].len() >= 3 && begin_alike(words[same].as_bytes(), word)) {
                same += 1;
            }
            bits[number] = if same < number { bits[same] } else { short + groups % (BITS - short) };
            groups += (same == number) as usize;
        }
        number += 1;
    }
    bits
}

const fn begin_alike(a: &[u8], b: &[u8]) -> bool {
    a[0].eq_ignore_ascii_case(&b[0]) && a[1].eq_ignore_ascii_case(&b[1])
}

const fn set(table: &mut [u64; 256], word: &[u8], place: usize, bit: usize) {
    if place < word.len() {
        table[word[place].to_ascii_lowercase() as usize] |= 1 << bit;
        table[word[place].to_ascii_uppercase() as usize] |= 1 << bit;
        return;
    }
    let mut byte = 0;
    while byte < 256 {
        table[byte] |= 1 << bit;
        byte += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_found_in_any_case_and_nothing_else() {
        static FINGERPRINTS: Fingerprints<4> = Fingerprints::of(&["pass", "s.", "://", "paw"]);
        let next = |text: &[u8], from| {
            let (place, bits) = FINGERPRINTS.next(text, from)?;
            Some((place, FINGERPRINTS.words(bits).collect::<Vec<_>>()))
        };
        assert_eq!(next(b"my PaSsword", 0), Some((3, vec![0, 3])));
        assert_eq!(next(b"it is.it", 0), Some((4, vec![1])));
        assert_eq!(next(b"http://", 0), Some((4, vec![2])));
        assert_eq!(next(b"http://", 5), None);
        assert_eq!(next(b"pa", 0), None);
        assert_eq!(next(b"", 9), None);
        assert!(
            FINGERPRINTS.any(b"as.") && FINGERPRINTS.any(b"s.") && !FINGERPRINTS.any(b"s") && !FINGERPRINTS.any(b"")
        );
    }

    #[test]
    fn more_words_than_bits_are_all_found() {
        const LETTERS: &[u8; 10] = b"abcdefghij";
        let words: Vec<String> = (0..100)
            .map(|n: usize| format!("{}{}x", char::from(LETTERS[n / 10]), char::from(LETTERS[n % 10])))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let words: [&str; 100] = words.try_into().expect("a hundred");
        let fingerprints = Fingerprints::of(&words);
        for (number, word) in words.iter().enumerate() {
            let (place, bits) = fingerprints.next(word.as_bytes(), 0).expect("it is there");
            assert!(place == 0 && fingerprints.words(bits).any(|found| found == number), "{word}");
        }
    }
}
