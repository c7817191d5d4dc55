//! Writes samples of memory to parts, one for each day and class.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gds_promql::labels::Labels;
use gds_promql::source::Samples;

use super::Store;
use super::maintain::Upkeep;
use super::state::{Compiled, deleted_in_log};
use crate::error::{Error, OnPath};
use crate::part::read::Part;
use crate::part::write::PartWriter;
use crate::part::{PartInfo, day_of, range_of};
use crate::samples::{bounds, merged, within, without};

impl Store {
    /// Ends the generation that samples belong to; its number.
    pub(super) fn end_generation(&self) -> u64 {
        let ended = self.generation.fetch_add(1, Ordering::Relaxed);
        for shard in &self.shards {
            shard.lock().begin(ended + 1);
        }
        ended
    }

    pub(super) fn flush_head(&self, upkeep: &mut Upkeep) -> Result<u64, Error> {
        let generation = self.end_generation();
        let state = self.state.read().clone();
        let mut writing =
            PartWriters::new(self, generation, state.manifest.deletions.last().map_or(0, |last| last.number));
        let written = self.write_head(generation, &state.deletions, &mut writing, upkeep).and_then(|duplicates| {
            self.counters.duplicates(duplicates);
            writing.finish()
        });
        let new = match written {
            Ok(new) => new,
            Err(error) => {
                writing.abandon();
                return Err(error);
            }
        };
        let count = new.len() as u64;
        let mut manifest = state.manifest.clone();
        manifest.flushed = generation;
        self.commit(upkeep, manifest, state.parts.iter().cloned().chain(new).collect())?;
        for shard in &self.shards {
            let mut shard = shard.lock();
            let before = shard.bytes;
            shard.forget(generation, &self.counts);
            self.head_bytes.fetch_sub(before.saturating_sub(shard.bytes), Ordering::Relaxed);
        }
        upkeep.flushed_at = (self.options.clock)();
        self.remove_log(generation)?;
        Ok(count)
    }

    /// Gives the samples of memory to the parts; how many were at the same time as later ones.
    fn write_head(
        &self,
        generation: u64,
        deletions: &[Compiled],
        parts: &mut PartWriters<'_>,
        upkeep: &mut Upkeep,
    ) -> Result<u64, Error> {
        let mut all: Vec<(Labels, usize, usize, u32)> = Vec::new();
        for (at, shard) in self.shards.iter().enumerate() {
            let shard = shard.lock();
            for number in shard.table.numbers() {
                let Some(series) = shard.table.get(number) else { continue };
                if series.buffers.first().is_some_and(|buffer| buffer.generation <= generation) {
                    all.push((shard.table.labels(series), series.class, at, number));
                }
            }
        }
        all.sort_by(|one, other| (one.0.metric_name(), &one.0).cmp(&(other.0.metric_name(), &other.0)));
        let mut duplicates = 0;
        for (labels, class, shard, number) in all {
            let buffers: Vec<_> = match self.shards[shard].lock().table.get(number) {
                Some(series) => series.buffers.iter().filter(|one| one.generation <= generation).cloned().collect(),
                None => continue,
            };
            let mut layers = Vec::with_capacity(buffers.len());
            for buffer in buffers {
                let (samples, within) = buffer.samples();
                duplicates += within;
                layers.push(without(samples, &deleted_in_log(deletions, &labels, buffer.generation)));
            }
            let (samples, between) = merged(layers);
            duplicates += between;
            parts.push(self.options.class_name(class), &labels, &samples, upkeep)?;
        }
        Ok(duplicates)
    }
}

/// Parts that are being written, by day and class.
pub(super) struct PartWriters<'a> {
    store: &'a Store,
    generation: u64,
    deletion: u64,
    open: BTreeMap<(i64, String), PartWriter>,
    /// The numbers of those that were begun.
    numbers: Vec<u64>,
}

impl<'a> PartWriters<'a> {
    /// What they get has generations up to one, and all deletions up to one are carried out in it.
    pub(super) fn new(store: &'a Store, generation: u64, deletion: u64) -> Self {
        Self { store, generation, deletion, open: BTreeMap::new(), numbers: Vec::new() }
    }

    /// Gives samples of a series to the parts of their days; not those that are kept no longer.
    pub(super) fn push(
        &mut self,
        class: &str,
        labels: &Labels,
        samples: &Samples,
        upkeep: &mut Upkeep,
    ) -> Result<(), Error> {
        let Some((oldest, newest)) = bounds(samples) else { return Ok(()) };
        let kept = self.store.options.oldest_of(class);
        let mut from = oldest.max(kept);
        while from <= newest {
            let day = day_of(from);
            let (_, end) = range_of(day);
            let of_day = within(samples, (from, end));
            if !of_day.is_empty() {
                self.of(day, class, upkeep)?.push(labels, &of_day)?;
            }
            // Days without samples are passed over.
            let next = |times: &[i64]| times.get(times.partition_point(|time| *time <= end)).copied();
            let next = next(&samples.floats.times).into_iter().chain(next(&samples.histograms.times)).min();
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        Ok(())
    }

    fn of(&mut self, day: i64, class: &str, upkeep: &mut Upkeep) -> Result<&mut PartWriter, Error> {
        let key = (day, class.to_owned());
        if !self.open.contains_key(&key) {
            let id = upkeep.number();
            let info = PartInfo {
                id,
                generation: self.generation,
                day,
                class: class.to_owned(),
                oldest: 0,
                newest: 0,
                series: 0,
                samples: 0,
                bytes: 0,
                deletion: self.deletion,
            };
            self.numbers.push(id);
            let folder = self.store.parts_folder().join(format!("{}.new", info.folder()));
            let writer = PartWriter::new(Arc::clone(&self.store.options.fs), &folder, info)?;
            self.open.insert(key.clone(), writer);
        }
        match self.open.get_mut(&key) {
            Some(writer) => Ok(writer),
            None => Err(Error::Setting("a part is not there".to_owned())),
        }
    }

    /// Ends them: all on the disk, by their names, and open.
    pub(super) fn finish(&mut self) -> Result<Vec<Arc<Part>>, Error> {
        let fs = &self.store.options.fs;
        let folder = self.store.parts_folder();
        let mut parts = Vec::new();
        while let Some((_, writer)) = self.open.pop_first() {
            let info = writer.finish()?;
            let (from, to) = (folder.join(format!("{}.new", info.folder())), folder.join(info.folder()));
            fs.rename(&from, &to).on("cannot rename", &from)?;
            parts.push(Arc::new(Part::open(&**fs, &to, info)?));
        }
        if !parts.is_empty() {
            fs.sync_dir(&folder).on("cannot sync", &folder)?;
        }
        Ok(parts)
    }

    /// Removes what was begun; what cannot be removed now is when the store is opened again.
    pub(super) fn abandon(self) {
        let folder = self.store.parts_folder();
        for number in self.numbers {
            let name = format!("{number:012}");
            for name in [format!("{name}.new"), name] {
                let _ = self.store.options.fs.remove_dir(&folder.join(name));
            }
        }
    }
}
