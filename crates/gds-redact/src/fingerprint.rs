//! Where one of many words may begin: a look at three bytes for each place of a text.
//!
//! Each word has a bit in three tables, under its first, second and third byte in either case. A place where the three
//! looked up bits have one in common may begin with that word. The look-ups of a place do not wait for those of the
//! place before, as the steps of an automaton do, which makes this twice as fast. Words that begin alike share a bit, and
//! beyond that, words with the same first letter: more words cost a look in vain now and then, and no wider tables.

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
    /// What each word begins with, which is all that most looks in vain need.
    folded: [(u32, u32); WORDS],
}

impl<const WORDS: usize> Fingerprints<WORDS> {
    pub(crate) const fn of(words: &[&str; WORDS]) -> Self {
        let bits = bits(words);
        let mut made = Self {
            first: [0; 256],
            second: [0; 256],
            third: [0; 256],
            heads: [WORDS; BITS],
            nexts: [WORDS; WORDS],
            folded: [(0, 0); WORDS],
        };
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
            made.folded[number] = folded(word);
        }
        made
    }

    /// The first place from `from` on where words may begin, and their bits. At the very end, where no three bytes are
    /// left, only short words may.
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
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        (from..bytes.len()).find_map(|place| {
            let words = self.at(byte(place), byte(place + 1), byte(place + 2));
            (words != 0).then_some((place, words))
        })
    }

    /// The numbers of the words that have these bits and begin as what is here does.
    pub(crate) fn words(&self, mut bits: u64, bytes: &[u8]) -> impl Iterator<Item = usize> {
        let (here, _) = folded(bytes);
        let mut word = WORDS;
        std::iter::from_fn(move || {
            loop {
                if word == WORDS && bits != 0 {
                    word = self.heads[bits.trailing_zeros() as usize];
                    bits &= bits - 1;
                }
                let found = word;
                word = *self.nexts.get(found)?;
                let (begin, mask) = self.folded[found];
                if (here ^ begin) & mask == 0 {
                    return Some(found);
                }
            }
        })
    }

    /// Whether any word may be in the text.
    pub(crate) fn any(&self, bytes: &[u8]) -> bool {
        self.next(bytes, 0).is_some()
    }

    #[inline]
    fn at(&self, first: u8, second: u8, third: u8) -> u64 {
        self.first[usize::from(first)] & self.second[usize::from(second)] & self.third[usize::from(third)]
    }
}

/// Which bit each word has. Those that begin alike share one, and beyond that those whose first letters are the same:
/// what is looked at in vain has at least that letter. Short words have bits of their own, one for each first letter:
/// whatever follows them would follow those that share it.
const fn bits<const WORDS: usize>(words: &[&str; WORDS]) -> [usize; WORDS] {
    let mut bits = [0; WORDS];
    let mut used = 0;
    // Which pair of letters a word begins with, of those with its first letter; and how many there are.
    let mut pair = [0; WORDS];
    let mut pairs = [0; 256];
    let mut number = 0;
    while number < WORDS {
        let is_short = words[number].len() < 3;
        let mut same = 0;
        while same < number && !begin_alike(words[same], words[number]) {
            same += 1;
        }
        if is_short {
            bits[number] = if same < number { bits[same] } else { used };
            used += (same == number) as usize;
        } else {
            let letter = first(words[number]);
            pair[number] = if same < number { pair[same] } else { pairs[letter] };
            pairs[letter] += (same == number) as usize;
        }
        number += 1;
    }
    // The bits that are left, each to the letter whose pairs have the fewest.
    let mut own = [0; 256];
    let mut from = [used; 256];
    while used < BITS {
        let (mut most, mut letter) = (0, 1);
        while letter < 256 {
            // The first one goes to each letter.
            let is_new = pairs[letter] > 0 && (own[letter] == 0 || pairs[most] == 0);
            if is_new || own[most] > 0 && pairs[letter] * own[most] > pairs[most] * own[letter] {
                most = letter;
            }
            letter += 1;
        }
        own[most] += 1;
        used += 1;
    }
    let mut letter = 1;
    while letter < 256 {
        from[letter] = from[letter - 1] + own[letter - 1];
        letter += 1;
    }
    number = 0;
    while number < WORDS {
        if words[number].len() >= 3 {
            let letter = first(words[number]);
            assert!(own[letter] > 0, "more first letters than bits");
            bits[number] = from[letter] + pair[number] % own[letter];
        }
        number += 1;
    }
    bits
}

const fn first(word: &str) -> usize {
    word.as_bytes()[0].to_ascii_lowercase() as usize
}

/// Whether words have their first two letters in common; of short ones, the first one is enough.
const fn begin_alike(a: &str, b: &str) -> bool {
    if a.len() < 3 || b.len() < 3 {
        return a.len() == b.len() && first(a) == first(b);
    }
    first(a) == first(b) && a.as_bytes()[1].eq_ignore_ascii_case(&b.as_bytes()[1])
}

/// The first four bytes in lower case, as good as it goes, and which of them a word has.
const fn folded(word: &[u8]) -> (u32, u32) {
    let (mut bytes, mut mask, mut at) = ([0; 4], [0; 4], 0);
    while at < 4 && at < word.len() {
        bytes[at] = word[at] | 0x20;
        mask[at] = 0xff;
        at += 1;
    }
    (u32::from_le_bytes(bytes), u32::from_le_bytes(mask))
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
            Some((place, FINGERPRINTS.words(bits, &text[place..]).collect::<Vec<_>>()))
        };
        assert_eq!(next(b"my PaSsword", 0), Some((3, vec![0])));
        assert_eq!(next(b"it is.it", 0), Some((4, vec![1])));
        assert_eq!(next(b"http://", 0), Some((4, vec![2])));
        assert_eq!(next(b"http://", 5), None);
        assert_eq!(next(b"pa", 0), None);
        assert_eq!(next(b"this is.", 0), Some((6, vec![1])));
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
            assert!(place == 0 && fingerprints.words(bits, word.as_bytes()).any(|found| found == number), "{word}");
        }
    }
}
