//! Numbers of records: those in memory count up, those of a spool say where in it they are.

use std::ops::Range;

/// Marks the ids of records that are on disk; then comes the number of the folder, then the offset.
pub(super) const SPOOLED: u64 = 1 << 63;
pub(super) const OFFSET_BITS: u32 = 48;
pub(super) const OFFSET: u64 = (1 << OFFSET_BITS) - 1;

/// Whether a record's id is one of a spool.
pub(super) fn is_spooled(id: u64) -> bool {
    id & SPOOLED != 0
}

pub(super) fn id_of(folder: u16, offset: u64) -> u64 {
    SPOOLED | u64::from(folder) << OFFSET_BITS | offset
}

pub(super) fn ids_of(folder: u16, offsets: Range<u64>) -> Range<u64> {
    id_of(folder, offsets.start)..id_of(folder, offsets.end)
}

pub(super) fn folder_of(id: u64) -> u16 {
    // 15 bits are left.
    #[allow(clippy::cast_possible_truncation)]
    let number = ((id & !SPOOLED) >> OFFSET_BITS) as u16;
    number
}
