//! Memory mapped from a file, as atomics. The only place where this crate touches memory it did not allocate.
#![allow(unsafe_code)]
// A mapping starts at a page and offsets are checked to be multiples of eight, which the lint cannot see.
#![allow(clippy::cast_ptr_alignment)]

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};
use rustix::mm::{MapFlags, ProtFlags, mmap};

/// A writable part of this process's file. It stays mapped as long as a series uses it.
#[derive(Debug)]
pub(super) struct Segment {
    map: MmapRaw,
}

impl Segment {
    /// Maps `len` bytes of `file` from `offset`, a multiple of the page size; the file must be that long already, with
    /// its blocks reserved.
    pub(super) fn map(file: &File, offset: u64, len: usize) -> io::Result<Self> {
        Ok(Self { map: MmapOptions::new().offset(offset).len(len).map_raw(file)? })
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// Maps another file, from `offset` and as long, in the place of this one. When this returns, whatever is written
    /// goes there, and nobody changes the file before any more by way of this mapping.
    pub(super) fn map_instead(&self, file: &File, offset: u64) -> io::Result<()> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::FIXED);
        // SAFETY: the range is this mapping's own, whole pages of it, as `map` made it; the new one is as long, shared
        // and writable, with blocks as reserved as the old one's. The kernel replaces the one by the other in a step that
        // no access sees half done: one that faults meanwhile waits and finds the new one. So the slices that `words` gave
        // away stay valid memory, reached through atomics only. With `FIXED` the kernel fails before it unmaps for all
        // reasons but want of memory for its own bookkeeping, which small allocations do not meet.
        unsafe { mmap(self.map.as_mut_ptr().cast(), self.map.len(), protection, flags, file, offset) }?;
        Ok(())
    }

    /// `len` words from byte `at`.
    pub(super) fn words(&self, at: usize, len: usize) -> &[AtomicU64] {
        assert!(at.is_multiple_of(8) && at + len * 8 <= self.map.len(), "words {at}+{len} outside a mapping");
        // SAFETY: in bounds and aligned by the assertion (a mapping starts at a page). The mapping lives as long as
        // `self`, is shared and writable, and is reached by everybody, in this and other processes, through atomics
        // only (bytes written by `write` lie in records that are not published yet). Its blocks are reserved and
        // nobody shortens the file (contract of the folder), so no access can fault.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(at).cast::<AtomicU64>(), len) }
    }

    /// Writes bytes into a record that is not published yet.
    pub(super) fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.map.len(), "bytes {at}+{} outside a mapping", bytes.len());
        // SAFETY: in bounds by the assertion. The caller holds the writer's lock and the range lies behind `used`, so
        // no reader looks at it and no other writer has it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.map.as_mut_ptr().add(at), bytes.len()) }
    }
}

/// The cells of one series in a mapped file.
#[derive(Debug)]
pub struct MappedCells {
    segment: Arc<Segment>,
    at: usize,
    len: usize,
    /// Offset of the record in the file, by which other records refer to it.
    pub(super) record: u64,
}

impl MappedCells {
    pub(super) fn new(segment: Arc<Segment>, at: usize, len: usize, record: u64) -> Self {
        Self { segment, at, len, record }
    }

    /// The cells.
    #[inline]
    pub fn get(&self) -> &[AtomicU64] {
        self.segment.words(self.at, self.len)
    }
}

/// A whole file of some process, to read.
#[derive(Debug)]
pub(super) struct ReadMap {
    map: Option<MmapRaw>,
}

impl ReadMap {
    /// Maps the file as long as it is now.
    pub(super) fn open(file: &File) -> io::Result<Self> {
        let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let map = (len > 0).then(|| MmapOptions::new().len(len).map_raw_read_only(file)).transpose()?;
        Ok(Self { map })
    }

    pub(super) fn len(&self) -> usize {
        self.map.as_ref().map_or(0, MmapRaw::len)
    }

    /// `len` words from byte `at`, if the file has them.
    pub(super) fn words(&self, at: usize, len: usize) -> Option<&[AtomicU64]> {
        let map = self.map.as_ref()?;
        let end = at.checked_add(len.checked_mul(8)?)?;
        if !at.is_multiple_of(8) || end > map.len() {
            return None;
        }
        // SAFETY: in bounds and aligned as checked. The writer changes these words through atomics only; this side
        // only loads, which is sound for 64-bit atomics on read-only memory on every 64-bit target. Nobody shortens
        // the file (contract of the folder).
        Some(unsafe { std::slice::from_raw_parts(map.as_ptr().add(at).cast::<AtomicU64>(), len) })
    }

    /// Which byte of the file `words` begin at, which are of this mapping.
    pub(super) fn offset_of(&self, words: &[AtomicU64]) -> usize {
        words.as_ptr().addr() - self.map.as_ref().map_or(0, |map| map.as_ptr().addr())
    }

    /// `len` bytes from `at` of a published record, if the file has them.
    pub(super) fn bytes(&self, at: usize, len: usize) -> Option<&[u8]> {
        let map = self.map.as_ref()?;
        if at.checked_add(len)? > map.len() {
            return None;
        }
        // SAFETY: in bounds as checked; text of a published record is never written again.
        Some(unsafe { std::slice::from_raw_parts(map.as_ptr().add(at), len) })
    }
}
