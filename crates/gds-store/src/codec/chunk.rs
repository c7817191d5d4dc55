//! Numbers with their times, compressed as they come.
//!
//! A sample at the same distance as the one before, with the same value and the same start, is one bit. Else a bit is set,
//! and there follow the change of the distance, the value and the start.

use gds_promql::source::Column;

use super::bits::{BitReader, BitWriter};
use super::input::{unzigzag, zigzag};
use super::xor::Xor;
use super::{Damaged, PAGE};

/// Prefix and bits of a change of the distance between two times, from small to great.
const CHANGES: [(u64, u8, u8); 3] = [(0b10, 2, 7), (0b110, 3, 14), (0b1110, 4, 20)];

/// What decoding has to know, too.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    time: i64,
    distance: i64,
    start: i64,
    value: Xor,
}

/// A chunk that grows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chunk {
    out: BitWriter,
    last: Last,
    count: u16,
}

impl Chunk {
    /// Appends a sample, at a time that is after that of the last one.
    pub(crate) fn push(&mut self, time: i64, start: i64, value: f64) {
        let bits = value.to_bits();
        if self.count == 0 {
            for number in [time.cast_unsigned(), start.cast_unsigned(), bits] {
                self.out.write(number, 64);
            }
            self.last = Last { time, distance: 0, start, value: Xor::after(bits) };
            self.count = 1;
            return;
        }
        let last = &mut self.last;
        let distance = time.wrapping_sub(last.time);
        let change = distance.wrapping_sub(last.distance);
        (last.time, last.distance) = (time, distance);
        self.count += 1;
        if change == 0 && bits == last.value.bits() && start == last.start {
            self.out.write(0, 1);
            return;
        }
        self.out.write(1, 1);
        let coded = zigzag(change);
        if coded == 0 {
            self.out.write(0, 1);
        } else if let Some((prefix, length, bits)) = CHANGES.into_iter().find(|(_, _, bits)| coded >> bits == 0) {
            self.out.write(prefix, length);
            self.out.write(coded, bits);
        } else {
            self.out.write(0b1111, 4);
            self.out.write(coded, 64);
        }
        last.value.write(&mut self.out, bits);
        self.out.write(u64::from(start != last.start), 1);
        if start != last.start {
            self.out.write(start.cast_unsigned(), 64);
            last.start = start;
        }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.count)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.out.bytes()
    }

    /// Bytes that it takes in memory besides itself.
    pub(crate) fn capacity(&self) -> usize {
        self.out.capacity()
    }
}

/// Appends the samples of a chunk to a column.
pub(crate) fn decode(bytes: &[u8], count: usize, into: &mut Column<f64>) -> Result<(), Damaged> {
    if count > PAGE {
        return Err(Damaged("a chunk has too many samples"));
    }
    let mut input = BitReader::new(bytes);
    let mut last = Last::default();
    for at in 0..count {
        if at == 0 {
            last.time = input.read(64)?.cast_signed();
            last.start = input.read(64)?.cast_signed();
            last.value = Xor::after(input.read(64)?);
        } else {
            if input.bit()? {
                let change = read_change(&mut input)?;
                last.distance = last.distance.wrapping_add(change);
                last.value.read(&mut input)?;
                if input.bit()? {
                    last.start = input.read(64)?.cast_signed();
                }
            }
            let time = last.time.wrapping_add(last.distance);
            if time <= last.time {
                return Err(Damaged("times do not grow"));
            }
            last.time = time;
        }
        into.push(last.time, last.start, f64::from_bits(last.value.bits()));
    }
    Ok(())
}

fn read_change(input: &mut BitReader<'_>) -> Result<i64, Damaged> {
    if !input.bit()? {
        return Ok(0);
    }
    for (_, _, bits) in CHANGES {
        if !input.bit()? {
            return input.read(bits).map(unzigzag);
        }
    }
    input.read(64).map(unzigzag)
}
