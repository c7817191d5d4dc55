//! Finds series for queries.
//!
//! A query sees memory first and the parts afterwards: what becomes a part meanwhile is seen twice, and counts once. What
//! is deleted is looked up before and after that, because a deletion is forgotten when it is carried out in all parts.
//! What was in parts already when the query began is not looked for in memory, from where it goes a little later: the
//! deletions that it needs there may be forgotten.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use gds_promql::labels::Labels;
use gds_promql::source::{LabelsIter, Samples, Select, SeriesIter, Source, SourceError, SourceSeries};

use super::Store;
use super::state::{Compiled, State, deleted_in_log, deleted_in_part};
use crate::error::Error;
use crate::finding::FindingKind;
use crate::head::buffer::Buffer;
use crate::part::page::Entry;
use crate::part::read::ChunkDecoders;
use crate::samples::{Range, any_within, merged, with_hints, within, without};

/// Series whose samples are copied while the lock of a shard is held.
const AT_ONCE: usize = 256;

/// Where the samples of a series are.
#[derive(Default)]
struct Found {
    parts: Vec<(usize, Entry)>,
    buffers: Vec<Buffer>,
}

/// What a query goes through.
struct Walk<'a> {
    store: &'a Store,
    state: Arc<State>,
    deletions: Vec<Compiled>,
    range: Range,
    decoders: Vec<ChunkDecoders>,
    series: std::collections::btree_map::IntoIter<Labels, Found>,
}

impl Source for Store {
    fn select<'a>(&'a self, request: &Select<'_>) -> Result<SeriesIter<'a>, SourceError> {
        Ok(Box::new(self.walk(request)))
    }

    fn select_labels<'a>(&'a self, request: &Select<'_>) -> Result<LabelsIter<'a>, SourceError> {
        let mut walk = self.walk(request);
        Ok(Box::new(std::iter::from_fn(move || walk.next_labels())))
    }
}

fn failed(error: &Error) -> SourceError {
    SourceError { message: error.to_string(), retriable: error.retriable() }
}

impl Store {
    fn walk(&self, request: &Select<'_>) -> Walk<'_> {
        let range = (request.start, request.end);
        let before = self.state.read().clone();
        let mut series: BTreeMap<Labels, Found> = BTreeMap::new();
        for shard in &self.shards {
            let chosen = shard.lock().table.select(request.matchers);
            for numbers in chosen.chunks(AT_ONCE) {
                let shard = shard.lock();
                for number in numbers {
                    // Another series may have the number meanwhile.
                    let Some(one) = shard.table.get(*number) else { continue };
                    let buffers: Vec<Buffer> = (one.buffers.iter())
                        .filter(|buffer| buffer.generation > before.manifest.flushed && buffer.overlaps(range))
                        .cloned()
                        .collect();
                    if !buffers.is_empty() {
                        let labels = shard.table.labels(one);
                        if request.matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.name()))) {
                            series.entry(labels).or_default().buffers = buffers;
                        }
                    }
                }
            }
        }
        let state = self.state.read().clone();
        for (at, part) in state.parts.iter().enumerate().filter(|(_, part)| part.info.overlaps(range)) {
            let chosen = match part.select(request.matchers) {
                Ok(chosen) => chosen,
                Err(error) => {
                    self.findings.add(FindingKind::DamagedBlock, &part.folder, error, 0);
                    continue;
                }
            };
            for number in chosen {
                match part.series(number) {
                    Ok((labels, entry)) => series.entry(labels).or_default().parts.push((at, entry)),
                    Err(error) => self.findings.add(FindingKind::DamagedBlock, &part.folder, error, 0),
                }
            }
        }
        let mut deletions = before.deletions.to_vec();
        let later = state.deletions.iter().filter(|one| before.deletions.iter().all(|own| own.number != one.number));
        deletions.extend(later.cloned());
        let decoders = state.parts.iter().map(|_| ChunkDecoders::default()).collect();
        Walk { store: self, state, deletions, range, decoders, series: series.into_iter() }
    }
}

impl Walk<'_> {
    fn samples(&mut self, labels: &Labels, found: Found) -> Result<Samples, SourceError> {
        let mut layers = Vec::with_capacity(found.parts.len() + found.buffers.len());
        for (at, entry) in found.parts {
            let part = &self.state.parts[at];
            let (samples, broken) = part.samples(&entry, self.range, &mut self.decoders[at]);
            for one in broken {
                if !matches!(one.error, Error::Damaged { .. }) {
                    return Err(failed(&one.error));
                }
                self.store.findings.add(FindingKind::DamagedBlock, one.path, one.error, 0);
            }
            layers.push(without(samples, &deleted_in_part(&self.deletions, labels, &part.info)));
        }
        for buffer in found.buffers {
            let samples = buffer.samples().0;
            // What a histogram says of a reset depends on what is before it.
            let whole = !samples.histograms.times.is_empty();
            let samples = if whole { samples } else { within(&samples, self.range) };
            layers.push(without(samples, &deleted_in_log(&self.deletions, labels, buffer.generation)));
        }
        Ok(with_hints(merged(layers).0))
    }

    /// The next series, from the index alone where nothing of it was deleted.
    fn next_labels(&mut self) -> Option<Result<Labels, SourceError>> {
        loop {
            let (labels, found) = self.series.next()?;
            if !self.deletions.iter().any(|deletion| deletion.chooses(&labels)) {
                return Some(Ok(labels));
            }
            match self.samples(&labels, found) {
                Ok(samples) if !any_within(&samples, self.range) => {}
                Ok(_) => return Some(Ok(labels)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<SourceSeries<'a>, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (labels, found) = self.series.next()?;
            match self.samples(&labels, found) {
                Ok(samples) if !any_within(&samples, self.range) => {}
                Ok(samples) => return Some(Ok(SourceSeries { labels, samples: Cow::Owned(samples) })),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
