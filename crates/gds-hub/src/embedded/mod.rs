//! A hub on one machine, in a folder: no server, the same topics, partitions, offsets and groups.
//!
//! - One process has the folder at a time; another one is told who. All clients in a process share one hub. The
//!   folder is free again when the last of them is dropped, or the process ends in whatever way.
//! - A record is [appended](crate::log) before its delivery is told: it survives kill -9, as does a commit. A power cut
//!   may take what the system had not written yet, unless [`Embedded::sync`] returned before.
//! - Records of one key are in one partition, the one that Kafka would choose, in order. A topic is made when something
//!   is first published to it.
//! - Members of a group share its partitions and go on where it has committed: at least once. Groups are of one
//!   process, as is the folder; their commits last.
//! - Old messages are removed in whole segments, by age and by size, while new ones come in. Readers that were still
//!   before go on with the oldest there is.
//! - Of a topic that is compacted (`cleanup.policy`), the last message of each key stays, beside those in the file that is
//!   written to. That is done by a thread of its own, and offsets stay as they are.
//!
//! ```text
//! PATH/lock                        locked by the process that has the folder; holds its number
//! PATH/meta/                       a log: settings of topics, commits of groups
//! PATH/topics/NAME/PARTITION/      a log for each partition
//! PATH/trash/                      topics that are being deleted
//! ```

mod admin;
mod config;
mod group;
mod meta;
mod names;
mod publisher;
mod subscriber;
mod topic;
mod topics;
mod worker;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use gds_process::lock::Lock;
use gds_process::sync::Mutex;
use gds_process::{PerProcess, fork};

pub use config::Retention;

use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::hub::{Deliveries, Hub, Publisher, Subscriber, Subscription};
use crate::log::{Recovered, now_ms};
use crate::private;
use group::Group;
use meta::Meta;
use topics::Topics;

/// How long a hub that this process has just let go of may take to be gone.
const LETTING_GO: Duration = Duration::from_secs(5);

/// How an embedded hub is kept. Those of the first client to open it in a process count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EmbeddedOptions {
    /// Partitions of topics that are made because something is published to them.
    pub partitions: i32,
    /// How long messages are kept, in topics that do not say.
    pub retention: Retention,
    /// Size of the files of a partition: what is removed is removed in whole files.
    pub segment_bytes: u64,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { partitions: 1, retention: Retention::default(), segment_bytes: 16 << 20 }
    }
}

/// A client of the hub in a folder.
///
/// ```
/// # fn main() -> gds_hub::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # struct Ignored;
/// # impl gds_hub::Deliveries for Ignored {
/// #     fn delivered(&self, _: u64, _: &gds_hub::Delivery<'_>) {}
/// #     fn failed(&self, _: u64, _: &gds_hub::Record<'_>, error: &gds_hub::Error) { panic!("{error}") }
/// # }
/// use std::time::Duration;
/// use gds_hub::embedded::{Embedded, EmbeddedOptions};
/// use gds_hub::{Batch, Hub, Record, Start, Subscription};
///
/// let hub = Embedded::open(dir.path(), EmbeddedOptions::default())?;
/// let publisher = hub.publisher(std::sync::Arc::new(Ignored))?;
/// publisher.publish(0, &Record { topic: "orders", value: Some(b"tea"), ..Record::default() })?;
///
/// let topics = vec!["orders".to_owned()];
/// let mut reader = hub.subscribe(&Subscription { topics, group: None, start: Start::Earliest })?;
/// let mut batch = Batch::default();
/// reader.poll(&mut batch, 10, Duration::from_secs(1))?;
/// assert_eq!(batch.get(0).unwrap().value, Some(&b"tea"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Embedded {
    core: Arc<Core>,
}

/// The hub itself; lives as long as one of its clients.
#[derive(Debug)]
struct Core {
    path: PathBuf,
    generation: u32,
    process: u32,
    topics: Topics,
    meta: Arc<Mutex<Meta>>,
    groups: Mutex<BTreeMap<String, Arc<Mutex<Group>>>>,
    changed: Event,
    members: AtomicU64,
    recovered: Recovered,
    /// Folders with names that may not be on disk.
    unsynced_dirs: Mutex<Vec<PathBuf>>,
    /// Let go last.
    _lock: Lock,
}

type Opened = Mutex<HashMap<PathBuf, Weak<Core>>>;

/// The hubs of this process.
static OPENED: PerProcess<Opened> = PerProcess::new();

impl Embedded {
    /// The hub in the folder `path`, which is made if there is none.
    pub fn open(path: &Path, options: EmbeddedOptions) -> Result<Self> {
        names::check_partitions(options.partitions)?;
        let unusable = |error: io::Error| unusable(path, &error);
        let made_dirs = private::make_dirs_noting(path).map_err(unusable)?;
        let path = path.canonicalize().map_err(unusable)?;
        let mut opened = OPENED.get_or_init(Opened::default).lock();
        if let Some(core) = opened.get(&path).and_then(Weak::upgrade) {
            return Ok(Self { core });
        }
        let core = Arc::new(Core::open(&path, options, made_dirs)?);
        opened.retain(|_, core| core.strong_count() > 0);
        opened.insert(path, Arc::downgrade(&core));
        Ok(Self { core })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.core.path
    }

    /// What was found when the folder was opened, in all partitions together.
    pub fn recovered(&self) -> Recovered {
        self.core.recovered
    }

    /// Has everything published and committed so far on the disk, safe from a power cut.
    pub fn sync(&self) -> Result<()> {
        self.core.check()?;
        let mut unsynced = self.core.unsynced_dirs.lock();
        while let Some(dir) = unsynced.last() {
            private::sync_dir(dir).map_err(|error| unusable(dir, &error))?;
            unsynced.pop();
        }
        drop(unsynced);
        self.core.topics.sync()?;
        self.core.meta.lock().sync()
    }
}

impl Hub for Embedded {
    fn publisher(&self, deliveries: Arc<dyn Deliveries>) -> Result<Box<dyn Publisher>> {
        self.core.check()?;
        Ok(Box::new(publisher::EmbeddedPublisher::new(self.core.clone(), deliveries)))
    }

    fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Subscriber>> {
        self.core.check()?;
        Ok(Box::new(subscriber::EmbeddedSubscriber::new(self.core.clone(), subscription)?))
    }

    fn check(&self, _patience: Duration) -> Result<()> {
        self.core.check()
    }
}

impl Core {
    fn open(path: &Path, options: EmbeddedOptions, mut made_dirs: Vec<PathBuf>) -> Result<Self> {
        let lock = lock(path)?;
        made_dirs.push(path.to_owned()); // that of its topics is in it
        let generation = fork::generation();
        let (meta, _) = Meta::open(&path.join("meta"))?;
        let meta = Arc::new(Mutex::new(meta));
        let (topics, recovered) = Topics::open(path, options, meta.clone())?;
        Ok(Self {
            path: path.to_owned(),
            generation,
            process: std::process::id(),
            topics,
            meta,
            groups: Mutex::default(),
            changed: Event::default(),
            members: AtomicU64::new(0),
            recovered,
            unsynced_dirs: Mutex::new(made_dirs),
            _lock: lock,
        })
    }

    /// Whether this is still the process that opened it: what a forked child has is a copy that must not be used.
    fn is_here(&self) -> bool {
        self.generation == fork::generation()
    }

    fn check(&self) -> Result<()> {
        if self.is_here() {
            return Ok(());
        }
        let (path, owner, here) = (self.path.display(), self.process, std::process::id());
        let message = format!(
            "embedded hub {path} belongs to process {owner}, and this is its forked child {here}; \
             let one process have the hub, or give each a folder of its own"
        );
        Err(Error::new(ErrorKind::Closed, message).fatal())
    }

    /// The topic to publish to, made if there is none.
    fn topic_for(&self, name: &str) -> Result<Arc<topic::Topic>> {
        if let Some(topic) = self.topics.get(name) {
            return Ok(topic);
        }
        let topic = self.topics.get_or_make(name)?;
        self.changed.notify();
        Ok(topic)
    }

    fn group(&self, name: &str) -> Arc<Mutex<Group>> {
        self.groups.lock().entry(name.to_owned()).or_default().clone()
    }

    fn new_member(&self) -> u64 {
        self.members.fetch_add(1, Ordering::Relaxed)
    }

    fn statistics(&self) -> BTreeMap<String, f64> {
        let topics = self.topics.all();
        let bytes: u64 = topics.iter().map(|topic| topic.bytes()).sum();
        BTreeMap::from([("topics".to_owned(), topics.len() as f64), ("bytes".to_owned(), bytes as f64)])
    }
}

fn unusable(path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    let message = format!(
        "cannot use {path} as embedded hub: {error}; name a folder on a local disk that this program may write to"
    );
    Error::new(ErrorKind::Storage, message)
}

/// Takes the folder for this process.
fn lock(path: &Path) -> Result<Lock> {
    let lock_path = path.join("lock");
    let deadline = Instant::now() + LETTING_GO;
    loop {
        let file = private::options().truncate(false).open(&lock_path);
        match file.and_then(|file| Lock::within(file, Duration::ZERO)) {
            Ok(lock) => {
                let told = fs::write(&lock_path, std::process::id().to_string());
                return told.map(|()| lock).map_err(|error| unusable(path, &error));
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(unusable(path, &error)),
            Err(_) => {}
        }
        let owner = fs::read_to_string(&lock_path).ok().and_then(|owner| owner.trim().parse::<u32>().ok());
        // Its last client in this process is being dropped by another thread.
        if owner == Some(std::process::id()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        let owner = owner.map_or_else(|| "another process".to_owned(), |owner| format!("process {owner}"));
        let path = path.display();
        let message = format!(
            "embedded hub {path} belongs to {owner}; one process has it at a time: end that one, or name another folder"
        );
        return Err(Error::new(ErrorKind::Storage, message).retriable());
    }
}

/// Does what retention and compaction ask for now.
fn look_after_all(topics: &[Arc<topic::Topic>]) {
    let now_ms = now_ms();
    for topic in topics {
        topic.look_after_all(now_ms);
    }
}
