//! Reads the file of a process, alive or dead, believing nothing that is not checked.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

use super::format::{self, FamilyText, HEADER_LEN, RECORD_LEN};
use super::mapped::ReadMap;
use crate::cells;
use crate::exemplar;
use crate::family::Aggregation;
use crate::key::MetricKind;
use crate::snapshot::Exemplar;

/// A file that makes no sense.
#[derive(Debug, PartialEq)]
pub(super) struct Torn;

/// What a file says, in the order it was written.
pub(super) enum Item<'a> {
    Family { number: u64, kind: MetricKind, aggregation: Aggregation, text: FamilyText<'a> },
    Series { family: u64, record: u64, text: &'a str, updated: u64, cells: &'a [AtomicU64] },
    Exemplars { series: u64, cells: &'a [AtomicU64] },
    Folded(&'a str),
    Carry { series: u64, low: f64 },
}

/// One process's file.
pub(super) struct Reader {
    map: ReadMap,
    used: usize,
    pub(super) pid: u64,
}

impl Reader {
    pub(super) fn open(file: &File) -> Result<Self, Torn> {
        let map = ReadMap::open(file).map_err(|_| Torn)?;
        let word = |at| map.words(at, 1).map(|words| words[0].load(Ordering::Acquire)).ok_or(Torn);
        if word(0)? != format::MAGIC {
            return Err(Torn);
        }
        let (pid, used) = (word(format::PID_AT)?, word(format::USED_AT)?);
        let used = usize::try_from(used).map_err(|_| Torn)?;
        if !(HEADER_LEN..=map.len()).contains(&used) {
            return Err(Torn);
        }
        Ok(Self { map, used, pid })
    }

    /// Where the last record ends.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Where in the file the cells of an item are.
    pub(super) fn offset_of(&self, cells: &[AtomicU64]) -> usize {
        self.map.offset_of(cells)
    }

    /// Calls `each` with everything the file says; stops at the first thing that makes no sense.
    pub(super) fn for_each<'a>(&'a self, mut each: impl FnMut(Item<'a>) -> Result<(), Torn>) -> Result<(), Torn> {
        let mut at = HEADER_LEN;
        while at < self.used {
            let length = self.u32_at(at)? as usize;
            if length < 8 || !length.is_multiple_of(8) || at + length > self.used {
                return Err(Torn);
            }
            if self.u32_at(at + 4)? != format::PADDING {
                each(self.item(at, length)?)?;
            }
            at += length;
        }
        Ok(())
    }

    fn item(&self, at: usize, length: usize) -> Result<Item<'_>, Torn> {
        if length < RECORD_LEN {
            return Err(Torn);
        }
        let (kind, text_len) = (self.u32_at(at + 8)?, self.u32_at(at + 12)? as usize);
        let (a, b) = (self.u64_at(at + 16)?, self.u64_at(at + 24)?);
        let text_end = RECORD_LEN + format::padded(text_len);
        if text_end > length {
            return Err(Torn);
        }
        let text = self.map.bytes(at + RECORD_LEN, text_len).ok_or(Torn)?;
        if self.u32_at(at + 4)? != format::checksum(kind, a, b, text) {
            return Err(Torn);
        }
        let cells = || {
            let len = usize::try_from(b).map_err(|_| Torn)?;
            if len.checked_mul(8) != Some(length - text_end) {
                return Err(Torn);
            }
            self.map.words(at + text_end, len).ok_or(Torn)
        };
        match kind {
            format::FAMILY => {
                let [kind, aggregation, ..] = b.to_le_bytes();
                Ok(Item::Family {
                    number: a,
                    kind: MetricKind::from_u8(kind).ok_or(Torn)?,
                    aggregation: *Aggregation::ALL.get(usize::from(aggregation)).ok_or(Torn)?,
                    text: FamilyText::decode(text).ok_or(Torn)?,
                })
            }
            format::SERIES => {
                let text = std::str::from_utf8(text).map_err(|_| Torn)?;
                let cells = cells()?;
                let updated = cells.get(cells::UPDATED).ok_or(Torn)?.load(Ordering::Relaxed);
                Ok(Item::Series { family: a, record: at as u64, text, updated, cells })
            }
            format::EXEMPLARS => Ok(Item::Exemplars { series: a, cells: cells()? }),
            format::CARRY => Ok(Item::Carry { series: a, low: f64::from_bits(b) }),
            format::FOLDED => Ok(Item::Folded(std::str::from_utf8(text).map_err(|_| Torn)?)),
            _ => Err(Torn),
        }
    }

    fn u32_at(&self, at: usize) -> Result<u32, Torn> {
        let bytes = self.map.bytes(at, 4).and_then(|bytes| bytes.try_into().ok()).ok_or(Torn)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn u64_at(&self, at: usize) -> Result<u64, Torn> {
        let bytes = self.map.bytes(at, 8).and_then(|bytes| bytes.try_into().ok()).ok_or(Torn)?;
        Ok(u64::from_ne_bytes(bytes))
    }
}

/// Copies a series' value as [`crate::series::Series::read`] does, if it has the cells its family calls for.
pub(super) fn read_value(
    kind: MetricKind,
    bounds: usize,
    cells: &[AtomicU64],
    into: &mut Vec<u64>,
) -> Result<(), Torn> {
    if kind.is_distribution() {
        if cells.len() != cells::distribution_len(bounds) {
            return Err(Torn);
        }
        cells::read_distribution(cells, into);
    } else {
        if cells.len() != cells::NUMBER_LEN {
            return Err(Torn);
        }
        into.clear();
        into.push(cells[cells::VALUE].load(Ordering::Relaxed));
    }
    Ok(())
}

/// Every exemplar in a row of exemplar cells.
pub(super) fn read_exemplars(cells: &[AtomicU64]) -> impl Iterator<Item = Exemplar> {
    (0..cells.len() / exemplar::SLOT_LEN).filter_map(|slot| exemplar::load(cells, slot))
}
