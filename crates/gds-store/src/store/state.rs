//! What readers see of the parts: replaced as a whole, so that one who reads goes on with what there was.

use std::sync::Arc;

use gds_promql::labels::Labels;
use gds_promql::matcher::Matcher;

use crate::manifest::{Deletion, Manifest};
use crate::part::PartInfo;
use crate::part::read::Part;
use crate::samples::Range;

/// The parts, oldest generation first, and what is deleted in them.
pub(super) struct State {
    pub(super) manifest: Manifest,
    pub(super) parts: Vec<Arc<Part>>,
    pub(super) deletions: Arc<[Compiled]>,
}

/// A deletion whose matchers can be asked.
#[derive(Clone)]
pub(super) struct Compiled {
    pub(super) number: u64,
    pub(super) generation: u64,
    pub(super) range: Range,
    matchers: Vec<Matcher>,
}

impl Compiled {
    /// Nothing where its matchers cannot be read, which a manifest that was read does not have.
    pub(super) fn of(deletion: &Deletion) -> Option<Self> {
        let matchers = deletion.matchers().ok()?;
        Some(Self { number: deletion.number, generation: deletion.generation, range: deletion.range(), matchers })
    }

    pub(super) fn chooses(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.name())))
    }
}

impl State {
    pub(super) fn new(mut manifest: Manifest, mut parts: Vec<Arc<Part>>) -> Self {
        parts.sort_by_key(|part| (part.info.generation, part.info.id));
        manifest.parts = parts.iter().map(|part| part.info.clone()).collect();
        let deletions = manifest.deletions.iter().filter_map(Compiled::of).collect();
        Self { manifest, parts, deletions }
    }
}

/// The times that are deleted of a series in the log, of a generation.
pub(super) fn deleted_in_log(deletions: &[Compiled], labels: &Labels, generation: u64) -> Vec<Range> {
    let of = |deletion: &&Compiled| deletion.generation >= generation && deletion.chooses(labels);
    deletions.iter().filter(of).map(|deletion| deletion.range).collect()
}

/// The times that are deleted of a series in a part.
pub(super) fn deleted_in_part(deletions: &[Compiled], labels: &Labels, part: &PartInfo) -> Vec<Range> {
    let of = |deletion: &&Compiled| open_in(deletion, part) && deletion.chooses(labels);
    deletions.iter().filter(of).map(|deletion| deletion.range).collect()
}

/// Whether a deletion is still to be carried out in a part.
pub(super) fn open_in(deletion: &Compiled, part: &PartInfo) -> bool {
    deletion.number > part.deletion && deletion.generation >= part.generation && part.overlaps(deletion.range)
}
