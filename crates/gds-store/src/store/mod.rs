//! The store: what is done by whoever opened it.

mod aside;
mod backup;
mod delete;
mod flush;
mod maintain;
mod merge;
mod metadata;
mod open;
mod read;
mod state;
mod stats;

pub use backup::BackedUp;
pub use delete::Deleted;
pub use maintain::Maintained;
pub use stats::Stats;

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use gds_process::sync::{Mutex, RwLock};

use self::maintain::Upkeep;
use self::state::State;
use self::stats::Counters;
use crate::error::Error;
use crate::finding::{Finding, Findings};
use crate::head::limits::Counts;
use crate::head::series::hash;
use crate::head::shard::{Appended, Row, Shard};
use crate::options::{Durability, Options};

/// The folder of the files of the log.
const LOG: &str = "log";
/// The folder of the parts.
const PARTS: &str = "parts";
/// The folder of what was damaged.
const QUARANTINE: &str = "quarantine";

/// Series and their samples, in a folder.
///
/// All of it can be called by many threads at once. Nothing happens by itself: a thread of the program calls
/// [`maintain`](Self::maintain) now and then, every few seconds say.
pub struct Store {
    folder: PathBuf,
    options: Options,
    read_only: bool,
    shards: Box<[Mutex<Shard>]>,
    counts: Counts,
    /// The generation of the log that samples belong to.
    generation: AtomicU64,
    head_bytes: AtomicUsize,
    state: RwLock<Arc<State>>,
    /// Held by whoever changes parts; taken before the lock of a shard, never within it.
    upkeep: Mutex<Upkeep>,
    findings: Findings,
    counters: Counters,
    /// Keeps other processes from writing.
    lock: Option<Box<dyn Any + Send + Sync>>,
}

impl Store {
    /// Opens the store in a folder, which is made where there is none, and reads the log.
    pub fn open(folder: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        open::writing(folder.as_ref(), options)
    }

    /// Opens what is in a folder now for reading: a store that another process writes to, or a backup. Nothing in it is
    /// changed, and nothing that is written later is seen.
    pub fn open_read_only(folder: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        open::reading(folder.as_ref(), options)
    }

    /// Stores samples of any series, of any age inside retention, in any order. Of samples of a series at the same time
    /// the last one counts.
    ///
    /// Where it fails, some of the samples may be stored, of those that were offered with them: offering all of them again
    /// changes nothing of these.
    pub fn append(&self, rows: &[Row<'_>]) -> Result<Appended, Error> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        let (held, allowed) = (self.head_bytes.load(Ordering::Relaxed), self.options.max_head_bytes);
        if held >= allowed {
            return Err(Error::HeadFull { held, allowed });
        }
        let mut by_shard: Vec<Vec<(usize, u64)>> = vec![Vec::new(); self.shards.len()];
        for (at, row) in rows.iter().enumerate() {
            let hash = hash(row.labels);
            by_shard[self.shard_of(hash)].push((at, hash));
        }
        let mut done = Appended::default();
        let mut places = Vec::new();
        for (number, mine) in by_shard.iter().enumerate().filter(|(_, mine)| !mine.is_empty()) {
            let mut shard = self.shards[number].lock();
            let before = shard.bytes;
            let appended = shard.append(rows, mine, &self.options, &self.counts);
            let grown = shard.bytes - before;
            drop(shard);
            self.head_bytes.fetch_add(grown, Ordering::Relaxed);
            let (appended, place) = appended.inspect_err(|_| self.counters.failed())?;
            done.add(appended);
            places.extend(place.map(|place| (number, place)));
        }
        if self.options.durability == Durability::Synced {
            for (number, (segment, end)) in places {
                segment.sync(end).inspect_err(|_| {
                    self.counters.failed();
                    self.shards[number].lock().leave_log();
                })?;
            }
        }
        self.counters.appended(&done);
        Ok(done)
    }

    /// What was found wrong since the store was opened, and what is said about it.
    pub fn findings(&self) -> Vec<Finding> {
        self.findings.all()
    }

    fn shard_of(&self, hash: u64) -> usize {
        let count = self.shards.len() as u64;
        // The remainder is less than the number of shards.
        usize::try_from((hash >> 32) % count).unwrap_or(0)
    }

    fn parts_folder(&self) -> PathBuf {
        self.folder.join(PARTS)
    }
}
