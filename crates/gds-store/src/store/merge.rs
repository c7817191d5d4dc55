//! Puts parts of one day and class together to one, without what is deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use gds_promql::labels::Labels;

use super::Store;
use super::flush::PartWriters;
use super::maintain::Upkeep;
use super::state::{State, deleted_in_part, open_in};
use crate::error::Error;
use crate::finding::FindingKind;
use crate::part::range_of;
use crate::part::read::{ChunkDecoders, Part};
use crate::samples::{merged, without};

/// Milliseconds after a day until its parts are merged however few they are.
const LATE: i64 = 2 * 3_600_000;

impl Store {
    /// Merges each day and class where there is a reason to; how many parts are no more.
    pub(super) fn merge_parts(&self, upkeep: &mut Upkeep) -> Result<u64, Error> {
        let mut done = 0;
        let state = self.state.read().clone();
        let mut days: BTreeMap<(i64, &str), Vec<Arc<Part>>> = BTreeMap::new();
        for part in &state.parts {
            days.entry((part.info.day, &part.info.class)).or_default().push(Arc::clone(part));
        }
        let now = (self.options.clock)();
        for ((day, _), parts) in days {
            let over = range_of(day).1.saturating_add(LATE) < now;
            let many = parts.len() >= self.options.merge_at || (over && parts.len() > 1);
            let deleted = parts.iter().any(|part| state.deletions.iter().any(|deletion| open_in(deletion, &part.info)));
            if many || deleted {
                done += parts.len() as u64;
                self.merge(&parts, upkeep)?;
            }
        }
        Ok(done)
    }

    /// Merges all parts of a day and class, oldest generation first.
    fn merge(&self, parts: &[Arc<Part>], upkeep: &mut Upkeep) -> Result<(), Error> {
        let state = self.state.read().clone();
        let generation = parts.iter().map(|part| part.info.generation).max().unwrap_or(0);
        let deletion = state.deletions.iter().map(|one| one.number).chain(parts.iter().map(|part| part.info.deletion));
        let mut writing = PartWriters::new(self, generation, deletion.max().unwrap_or(0));
        let mut damaged = Vec::new();
        let written = self.write_merged(parts, &state, &mut writing, &mut damaged, upkeep);
        let new = match written.and_then(|()| writing.finish()) {
            Ok(new) => new,
            Err(error) => {
                writing.abandon();
                return Err(error);
            }
        };
        let old = |part: &Arc<Part>| parts.iter().any(|merged| merged.info.id == part.info.id);
        let kept = state.parts.iter().filter(|part| !old(part)).cloned();
        self.commit(upkeep, state.manifest.clone(), kept.chain(new).collect())?;
        self.remove_parts(parts, &damaged)
    }

    fn write_merged(
        &self,
        parts: &[Arc<Part>],
        state: &State,
        writing: &mut PartWriters<'_>,
        damaged: &mut Vec<u64>,
        upkeep: &mut Upkeep,
    ) -> Result<(), Error> {
        let mut all: BTreeMap<(String, Labels), Vec<(usize, u32)>> = BTreeMap::new();
        for (at, part) in parts.iter().enumerate() {
            for number in part.select(&[])? {
                match part.series(number) {
                    Ok((labels, _)) => {
                        all.entry((labels.metric_name().to_owned(), labels)).or_default().push((at, number));
                    }
                    Err(error) => {
                        damaged.push(part.info.id);
                        self.findings.add(FindingKind::DamagedBlock, &part.folder, error, 0);
                    }
                }
            }
        }
        let mut decoders: Vec<ChunkDecoders> = parts.iter().map(|_| ChunkDecoders::default()).collect();
        for ((_, labels), places) in all {
            let mut layers = Vec::with_capacity(places.len());
            for (at, number) in places {
                let part = &parts[at];
                let (_, entry) = part.series(number)?;
                let (samples, broken) = part.samples(&entry, (i64::MIN, i64::MAX), &mut decoders[at]);
                for one in broken {
                    if !matches!(one.error, Error::Damaged { .. }) {
                        return Err(one.error); // it may be read later
                    }
                    damaged.push(part.info.id);
                    self.findings.add(FindingKind::DamagedBlock, one.path, one.error, 0);
                }
                layers.push(without(samples, &deleted_in_part(&state.deletions, &labels, &part.info)));
            }
            let (samples, duplicates) = merged(layers);
            self.counters.duplicates(duplicates);
            if let Some(part) = parts.first() {
                writing.push(&part.info.class, &labels, &samples, upkeep)?;
            }
        }
        Ok(())
    }
}
