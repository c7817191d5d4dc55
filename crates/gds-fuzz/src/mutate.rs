//! Inputs out of others.

/// The longest input that is made.
pub(crate) const LONGEST: usize = 4_096;

/// Numbers that are the first or the last of something.
const EDGES: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// Makes inputs: always the same ones for a name.
pub(crate) struct Mutator {
    state: u64,
    words: &'static [&'static str],
}

impl Mutator {
    pub(crate) fn new(name: &str, words: &'static [&'static str]) -> Self {
        // FNV-1a; a state of zero would stay it.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self { state: hash | 1, words }
    }

    /// An input of the corpus, changed in a few places.
    pub(crate) fn mutate(&mut self, corpus: &[Vec<u8>], input: &mut Vec<u8>) {
        input.clear();
        input.extend_from_slice(&corpus[self.below(corpus.len())]);
        // Most changes break what follows them: few at once reach further in.
        for _ in 0..=self.below(4) {
            self.change(corpus, input);
        }
        input.truncate(LONGEST);
    }

    fn change(&mut self, corpus: &[Vec<u8>], input: &mut Vec<u8>) {
        let from = self.below(input.len() + 1);
        let to = from + self.below((input.len() - from).min(32) + 1);
        match self.below(10) {
            0 => {
                if let Some(byte) = input.get_mut(from) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 => {
                let byte = self.byte();
                if let Some(own) = input.get_mut(from) {
                    *own = byte;
                }
            }
            2 => {
                let byte = self.byte();
                input.insert(from, byte);
            }
            3 => drop(input.drain(from..to)),
            4 => {
                let piece = input[from..to].to_vec();
                let times = 1 + self.below(4);
                input.splice(from..from, piece.repeat(times));
            }
            5 => input.truncate(from),
            6 => {
                let number = EDGES[self.below(EDGES.len())].to_le_bytes();
                let length = [1, 2, 4, 8][self.below(4)];
                let end = input.len().min(from + length);
                input.splice(from..end, number[..length].iter().copied());
            }
            7 => {
                let mut number = EDGES[self.below(EDGES.len())];
                let mut varint = Vec::new();
                while number >= 0x80 {
                    varint.push(number.to_le_bytes()[0] | 0x80);
                    number >>= 7;
                }
                varint.push(number.to_le_bytes()[0]);
                let end = input.len().min(from + self.below(2));
                input.splice(from..end, varint);
            }
            8 => {
                let other = &corpus[self.below(corpus.len())];
                let start = self.below(other.len() + 1);
                input.splice(from..to, other[start..].iter().copied());
            }
            _ => {
                let word: &[u8] = if self.words.is_empty() {
                    &[0xff; 8]
                } else {
                    self.words[self.below(self.words.len())].as_bytes()
                };
                input.splice(from..to, word.iter().copied());
            }
        }
    }

    /// A number below another, which is above zero.
    fn below(&mut self, bound: usize) -> usize {
        // xorshift64*: the lower bits are the weaker ones.
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        usize::try_from(number).unwrap_or(0) % bound
    }

    fn byte(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
    }
}
