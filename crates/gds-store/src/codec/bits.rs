//! Bits, the highest of each byte first.

use super::Damaged;

/// Appends bits.
#[derive(Clone, Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not written yet.
    free: u8,
}

impl BitWriter {
    /// Appends the lowest `count` bits of a number, of 64 at most.
    pub(crate) fn write(&mut self, number: u64, count: u8) {
        let mut left = count;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let now = left.min(self.free);
            let bits = (number >> (left - now)) & ((1 << now) - 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= bits.to_le_bytes()[0] << (self.free - now);
            }
            self.free -= now;
            left -= now;
        }
    }

    /// What is written, the last byte filled with zeros.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes that it takes in memory.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Reads what [`BitWriter`] wrote.
#[derive(Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    /// How many bits are read.
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next bits as a number, 64 of them at most.
    pub(crate) fn read(&mut self, count: u8) -> Result<u64, Damaged> {
        let mut number = 0u64;
        let mut left = usize::from(count);
        while left > 0 {
            let byte = *self.bytes.get(self.at / 8).ok_or(Damaged("it ends too early"))?;
            let there = 8 - self.at % 8;
            let now = left.min(there);
            let bits = (u64::from(byte) >> (there - now)) & ((1 << now) - 1);
            number = (number << now) | bits;
            self.at += now;
            left -= now;
        }
        Ok(number)
    }

    pub(crate) fn bit(&mut self) -> Result<bool, Damaged> {
        self.read(1).map(|bit| bit == 1)
    }
}
