//! What has to be done now and then: parts are written, merged and removed.

use std::sync::Arc;

use super::Store;
use super::aside::set_aside;
use super::state::{State, open_in};
use crate::error::Error;
use crate::manifest::{self, Manifest};
use crate::part::PartInfo;
use crate::part::read::Part;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Parts that were written from memory.
    pub flushed: u64,
    /// Parts that others took the place of, because there were many or something in them was deleted.
    pub merged: u64,
    /// Parts that were removed because their time was over.
    pub expired: u64,
}

/// What only one thread at a time does, and what it has to know.
#[derive(Debug)]
pub(super) struct Upkeep {
    /// Of the last list of parts that was tried to be written.
    pub(super) version: u64,
    /// The next number of a part or a deletion.
    pub(super) next: u64,
    /// When memory was written to parts last.
    pub(super) flushed_at: i64,
}

impl Upkeep {
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}

impl Store {
    /// Removes parts that are kept no longer, writes samples of memory to parts where they are many or old, carries out
    /// what was deleted, and merges parts of a day. One step of each, so that it ends soon enough; readers and writers go
    /// on meanwhile.
    pub fn maintain(&self) -> Result<Maintained, Error> {
        self.writable()?;
        let mut upkeep = self.upkeep.lock();
        let mut done = Maintained { expired: self.expire(&mut upkeep)?, ..Maintained::default() };
        let now = (self.options.clock)();
        let bytes = self.head_bytes.load(std::sync::atomic::Ordering::Relaxed);
        let old = now.saturating_sub(upkeep.flushed_at) >= self.options.flush_after;
        if bytes > 0 && (bytes >= self.options.flush_bytes || old) {
            done.flushed = self.flush_head(&mut upkeep)?;
        }
        done.merged = self.merge_parts(&mut upkeep)?;
        Ok(done)
    }

    /// Writes all samples of memory to parts now; how many parts that made.
    pub fn flush(&self) -> Result<u64, Error> {
        self.writable()?;
        let mut upkeep = self.upkeep.lock();
        self.flush_head(&mut upkeep)
    }

    pub(super) fn writable(&self) -> Result<(), Error> {
        if self.read_only { Err(Error::ReadOnly) } else { Ok(()) }
    }

    fn expire(&self, upkeep: &mut Upkeep) -> Result<u64, Error> {
        let state = self.state.read().clone();
        let over = |part: &PartInfo| part.newest < self.options.oldest_of(&part.class);
        let (gone, kept): (Vec<_>, Vec<_>) = state.parts.iter().cloned().partition(|part| over(&part.info));
        if gone.is_empty() {
            return Ok(0);
        }
        self.commit(upkeep, state.manifest.clone(), kept)?;
        self.remove_parts(&gone, &[])?;
        Ok(gone.len() as u64)
    }

    /// Writes a list of parts, and shows it to readers.
    pub(super) fn commit(&self, upkeep: &mut Upkeep, list: Manifest, parts: Vec<Arc<Part>>) -> Result<(), Error> {
        upkeep.version += 1;
        let mut state = State::new(Manifest { version: upkeep.version, next: upkeep.next, ..list }, parts);
        let needed = |number: u64, generation: u64, compiled: &super::state::Compiled| {
            compiled.number == number
                && (generation > state.manifest.flushed || state.parts.iter().any(|part| open_in(compiled, &part.info)))
        };
        let kept: Vec<_> = (state.manifest.deletions.iter())
            .filter(|one| state.deletions.iter().any(|compiled| needed(one.number, one.generation, compiled)))
            .cloned()
            .collect();
        if kept.len() < state.manifest.deletions.len() {
            state = State::new(Manifest { deletions: kept, ..state.manifest }, state.parts);
        }
        manifest::write(&self.options.fs, &self.folder, &state.manifest)?;
        *self.state.write() = Arc::new(state);
        Ok(())
    }

    /// Removes the folders of parts that no list names any more; those that are damaged are set aside.
    pub(super) fn remove_parts(&self, parts: &[Arc<Part>], damaged: &[u64]) -> Result<(), Error> {
        for part in parts {
            if damaged.contains(&part.info.id) {
                set_aside(&self.folder, &self.options, &part.folder, &part.info.folder())?;
            } else {
                let removed = self.options.fs.remove_dir(&part.folder);
                removed.map_err(|error| Error::io("cannot remove", &part.folder, error))?;
            }
        }
        Ok(())
    }
}
