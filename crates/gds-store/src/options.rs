//! How a store is opened.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use gds_promql::labels::Labels;
use gds_promql::matcher::Matcher;

use crate::error::Error;
use crate::fs::{Disk, Fs};
use crate::head::limits::Limits;

/// When samples are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When the system has them: they survive the end of the process, however it comes.
    #[default]
    Written,
    /// When the disk has them: they survive a power cut, too.
    Synced,
}

/// Series that are kept for the same time.
#[derive(Clone, Debug)]
pub struct RetentionClass {
    /// A name of letters, digits, `_` and `-`, which is kept with the samples.
    pub name: String,
    /// All have to match the labels of a series.
    pub matchers: Vec<Matcher>,
    /// How long samples are kept, in milliseconds.
    pub retention: i64,
}

/// The name of the class of the series that no other class chooses.
pub(crate) const DEFAULT_CLASS: &str = "default";

/// Settings of a store.
#[derive(Clone)]
pub struct Options {
    /// How many writers can append at once without waiting for each other; 1 to 256.
    pub shards: usize,
    /// When samples are accepted.
    pub durability: Durability,
    /// How long samples are kept that no class is for, in milliseconds.
    pub retention: i64,
    /// Classes with a retention of their own; the first one that chooses a series has it. A series keeps its class for
    /// the samples that were written when it had that one.
    pub classes: Vec<RetentionClass>,
    /// How many series there may be.
    pub limits: Limits,
    /// Bytes of samples in memory from which on [`maintain`](crate::Store::maintain) writes parts.
    pub flush_bytes: usize,
    /// Milliseconds after which it writes them however few they are.
    pub flush_after: i64,
    /// Bytes of samples in memory from which on no more are accepted.
    pub max_head_bytes: usize,
    /// How many parts of one day are merged to one.
    pub merge_at: usize,
    /// What time it is, in milliseconds since 1970.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Where the files are.
    pub fs: Arc<dyn Fs>,
}

impl Default for Options {
    fn default() -> Self {
        let now = || {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        };
        Self {
            shards: 4,
            durability: Durability::default(),
            retention: 15 * 86_400_000,
            classes: Vec::new(),
            limits: Limits::default(),
            flush_bytes: 256 << 20,
            flush_after: 2 * 3_600_000,
            max_head_bytes: 1 << 30,
            merge_at: 4,
            clock: Arc::new(now),
            fs: Arc::new(Disk),
        }
    }
}

impl Options {
    /// Fails where a setting cannot be.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |text: String| Err(Error::Setting(text));
        if !(1..=256).contains(&self.shards) {
            return wrong(format!("expected shards from 1 to 256, got {}", self.shards));
        }
        if self.retention <= 0 {
            return wrong(format!("expected retention in milliseconds above zero, got {}", self.retention));
        }
        if self.merge_at < 2 {
            return wrong(format!("expected merge_at of 2 or more parts, got {}", self.merge_at));
        }
        if self.flush_bytes > self.max_head_bytes {
            let (flush, most) = (self.flush_bytes, self.max_head_bytes);
            return wrong(format!("expected flush_bytes of at most max_head_bytes, {most}, got {flush}"));
        }
        for (at, class) in self.classes.iter().enumerate() {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
            if class.name.is_empty() || !class.name.chars().all(plain) || class.name == DEFAULT_CLASS {
                let name = &class.name;
                return wrong(format!(
                    "expected a name of letters, digits, _ and - other than {DEFAULT_CLASS:?} for a class, got {name:?}"
                ));
            }
            if self.classes[..at].iter().any(|other| other.name == class.name) {
                return wrong(format!("expected each class once, got {:?} twice", class.name));
            }
            if class.retention <= 0 {
                let (name, retention) = (&class.name, class.retention);
                return wrong(format!("expected retention of class {name:?} above zero, got {retention}"));
            }
        }
        Ok(())
    }

    /// The class of a series, by its place; the default one has the last.
    pub(crate) fn class_of(&self, labels: &Labels) -> usize {
        let matches =
            |class: &RetentionClass| class.matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.name())));
        self.classes.iter().position(matches).unwrap_or(self.classes.len())
    }

    /// The name of a class by its place.
    pub(crate) fn class_name(&self, class: usize) -> &str {
        self.classes.get(class).map_or(DEFAULT_CLASS, |class| &class.name)
    }

    /// The first millisecond that is kept in a class by its place.
    pub(crate) fn oldest(&self, class: usize) -> i64 {
        let retention = self.classes.get(class).map_or(self.retention, |class| class.retention);
        (self.clock)().saturating_sub(retention)
    }

    /// The first millisecond that is kept in a class by its name; the default one has those that are no more.
    pub(crate) fn oldest_of(&self, name: &str) -> i64 {
        self.oldest(self.classes.iter().position(|class| class.name == name).unwrap_or(self.classes.len()))
    }
}
