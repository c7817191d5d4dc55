//! The side of the client that callers meet: keys to series, and nothing that waits for a network.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gds_process::sync::Mutex;

use crate::index::Index;
use crate::key::Change;
use crate::key::{Key, MetricKind, Scope};

use super::options::Settings;
use super::series::{Buffer, Series};
use super::{Outcome, Reason, text};

/// Keys that may lead to one series. Programs write labels in a few orders; one that shuffles them would otherwise
/// store every permutation. A spelling beyond this is looked up the long way each time.
const MAX_ALIASES: usize = 8;

/// Every series, and the counts that no datagram is needed for.
pub(super) struct Aggregate {
    pub(super) settings: Settings,
    index: Index<Series>,
    /// One table for each kind; locked only by the first report of a spelling.
    families: Mutex<[HashMap<Arc<str>, Family>; MetricKind::ALL.len()]>,
    /// Series that the flush has not met yet.
    pub(super) arrived: Mutex<Vec<Arc<Series>>>,
    pub(super) buffer: Buffer,
    pub(super) refused: AtomicU64,
    pub(super) overflowed: AtomicU64,
    pub(super) lines_too_long: AtomicU64,
    pub(super) series: AtomicU64,
}

/// The series of one name, by their rendered tags.
type Family = HashMap<Arc<str>, Arc<Series>>;

impl Aggregate {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            index: Index::default(),
            families: Mutex::default(),
            arrived: Mutex::default(),
            buffer: Buffer::new(settings.max_buffered_samples),
            refused: AtomicU64::new(0),
            overflowed: AtomicU64::new(0),
            lines_too_long: AtomicU64::new(0),
            series: AtomicU64::new(0),
            settings,
        }
    }

    /// Takes one report. The kind is the called method's, whatever the key says, and a client has one view.
    pub(super) fn report(&self, kind: MetricKind, change: Change, key: &Key<'_>, value: f64) -> Outcome {
        if !value.is_finite() {
            return self.refuse(Reason::NotFinite);
        }
        if kind == MetricKind::Counter && value < 0.0 {
            return self.refuse(Reason::NegativeIncrement);
        }
        let key = Key { scope: Scope { view: 0, kind }, ..*key };
        let hash = key.hash();
        let known = self.index.with(hash, &key, |series| series.observe(value, change, &self.buffer));
        let outcome = known.unwrap_or_else(|| match self.find(hash, &key) {
            Ok(series) => series.observe(value, change, &self.buffer),
            Err(reason) => Outcome::Dropped(reason),
        });
        if let Outcome::Dropped(reason) = outcome
            && reason != Reason::BufferFull
        {
            return self.refuse(reason);
        }
        outcome
    }

    pub(super) fn refuse(&self, reason: Reason) -> Outcome {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Outcome::Dropped(reason)
    }

    /// The series of a key that the index does not know.
    fn find(&self, hash: u64, key: &Key<'_>) -> Result<Arc<Series>, Reason> {
        let settings = &self.settings;
        let name = text::name(&settings.prefix, key.name).ok_or(Reason::InvalidName)?;
        let tags = text::tags(&settings.constant_tags, key.labels);
        // The shortest line has one digit and the longest type; refused here, a name takes no memory.
        if name.len() + "0|ms".len() + tags.len() > settings.max_packet_bytes {
            self.lines_too_long.fetch_add(1, Ordering::Relaxed);
            return Err(Reason::TooLong);
        }
        let mut families = self.families.lock();
        // Another thread may have made the entry while this one waited; counting it twice would waste an alias.
        if let Some(series) = self.index.with(hash, key, Arc::clone) {
            return Ok(series);
        }
        let families = &mut families[key.scope.kind as usize];
        let name = families.get_key_value(&*name).map_or_else(|| Arc::from(name), |(name, _)| Arc::clone(name));
        let family = families.entry(Arc::clone(&name)).or_default();
        let is_new = !family.contains_key(&*tags);
        if is_new && family.len() >= settings.max_series {
            self.overflowed.fetch_add(1, Ordering::Relaxed);
            // Not in the index: the keys that overflow are those of which there is no end.
            let tags = text::tags(&settings.constant_tags, &[text::OVERFLOW]);
            return Ok(self.series_of(family, key.scope.kind, &name, tags));
        }
        let series = self.series_of(family, key.scope.kind, &name, tags);
        if series.aliases.load(Ordering::Relaxed) < MAX_ALIASES {
            series.aliases.fetch_add(1, Ordering::Relaxed);
            self.index.insert(hash, key, Arc::clone(&series), false);
        }
        Ok(series)
    }

    fn series_of(&self, family: &mut Family, kind: MetricKind, name: &Arc<str>, tags: String) -> Arc<Series> {
        if let Some(series) = family.get(&*tags) {
            return Arc::clone(series);
        }
        let tags: Arc<str> = tags.into();
        let series = Arc::new(Series::new(kind, Arc::clone(name), Arc::clone(&tags)));
        family.insert(tags, Arc::clone(&series));
        self.arrived.lock().push(Arc::clone(&series));
        self.series.fetch_add(1, Ordering::Relaxed);
        series
    }

    /// Number of keys that lead to a series without the long way.
    #[cfg(test)]
    pub(super) fn known_keys(&self) -> usize {
        self.index.len()
    }
}
