//! Numbers as what changed in their bits since the one before.

use super::bits::{BitReader, BitWriter};
use super::{Damaged, PAGE};

/// What is known of the number before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Xor {
    bits: u64,
    /// Where the changed bits were: zeros before them, and how many they are; none yet.
    leading: u8,
    length: u8,
}

impl Xor {
    /// After a number that is known otherwise.
    pub(crate) fn after(bits: u64) -> Self {
        Self { bits, leading: 0, length: 0 }
    }

    pub(crate) fn bits(&self) -> u64 {
        self.bits
    }

    pub(crate) fn write(&mut self, out: &mut BitWriter, bits: u64) {
        let changed = bits ^ self.bits;
        self.bits = bits;
        if changed == 0 {
            out.write(0, 1);
            return;
        }
        let leading = changed.leading_zeros().min(31).to_le_bytes()[0];
        let trailing = changed.trailing_zeros().to_le_bytes()[0];
        let length = 64 - leading - trailing;
        let inside = self.length > 0
            && leading >= self.leading
            && trailing >= 64 - self.leading - self.length
            // A window of its own costs 11 bits.
            && self.length <= length + 11;
        if inside {
            out.write(0b10, 2);
        } else {
            out.write(0b11, 2);
            out.write(u64::from(leading), 5);
            out.write(u64::from(length - 1), 6);
            (self.leading, self.length) = (leading, length);
        }
        out.write(changed >> (64 - self.leading - self.length), self.length);
    }

    pub(crate) fn read(&mut self, input: &mut BitReader<'_>) -> Result<u64, Damaged> {
        if !input.bit()? {
            return Ok(self.bits);
        }
        if input.bit()? {
            self.leading = input.read(5)?.to_le_bytes()[0];
            self.length = input.read(6)?.to_le_bytes()[0] + 1;
            if self.leading + self.length > 64 {
                return Err(Damaged("a number has more than 64 bits"));
            }
        } else if self.length == 0 {
            return Err(Damaged("a number has the window of none"));
        }
        self.bits ^= input.read(self.length)? << (64 - self.leading - self.length);
        Ok(self.bits)
    }
}

/// All numbers of a page.
pub(crate) fn encode(numbers: &[f64]) -> Vec<u8> {
    let mut out = BitWriter::default();
    let mut xor = Xor::default();
    for number in numbers {
        xor.write(&mut out, number.to_bits());
    }
    out.bytes().to_vec()
}

/// `count` numbers that [`encode`] wrote.
pub(crate) fn decode(bytes: &[u8], count: usize) -> Result<Vec<f64>, Damaged> {
    if count > PAGE {
        return Err(Damaged("a page has too many numbers"));
    }
    let mut input = BitReader::new(bytes);
    let mut xor = Xor::default();
    (0..count).map(|_| xor.read(&mut input).map(f64::from_bits)).collect()
}
