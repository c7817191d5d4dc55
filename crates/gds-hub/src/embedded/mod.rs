//! A hub on one machine, in a folder: no server, the same topics, partitions, offsets and groups.
//!
//! - All processes that open the folder share the hub, and all clients in one. The process that opens it first serves
//!   the others through a socket in the folder, to programs of the same user alone. When its last client is dropped, or
//!   it ends in whatever way, one of the others takes over. Where the folder has no room for a socket (some network
//!   file systems), the others are told who has it.
//! - A record is [appended](crate::log) before its delivery is told: it survives kill -9, as does a commit. A power cut
//!   may take what the system had not written yet, unless [`Embedded::sync`] returned before.
//! - Records of one key are in one partition, the one that Kafka would choose, in order. A topic is made when something
//!   is first published to it.
//! - Members of a group, in whatever process, share its partitions and go on where it has committed: at least once.
//! - Old messages are removed in whole segments, by age and by size, while new ones come in. Readers that were still
//!   before go on with the oldest there is.
//! - Of a topic that is compacted (`cleanup.policy`), the last message of each key stays, beside those in the file that is
//!   written to. That is done by a thread of its own, and offsets stay as they are.
//!
//! While another process takes over, publishers keep what was not acknowledged and publish it again: in order, and
//! once, since records of other processes have the number of their publisher and their own with them in the log (where
//! the topic's name has its place, which the log needs no more). Readers without a group go on where they were. Members
//! of a group join it anew: their partitions are [revoked](crate::hub::Change::Revoked) and they begin at what was
//! committed. A client that finds nobody to serve it in time says so with an error that is retriable; polls give nothing.
//! Publishers of the process that took over write without the socket from then on; its readers go on through it until
//! they are made anew.
//!
//! ```text
//! PATH/lock                        locked by the process that has the folder; holds its number
//! PATH/socket                      where it serves the others
//! PATH/meta/                       a log: settings of topics, commits of groups
//! PATH/topics/NAME/PARTITION/      a log for each partition
//! PATH/trash/                      topics that are being deleted
//! ```

mod admin;
mod config;
mod group;
mod link;
mod meta;
mod owner;
mod protocol;
mod publisher;
mod remote_publisher;
mod remote_subscriber;
mod serve;
mod socket;
mod subscriber;
#[cfg(test)]
mod tests;
mod topic;
mod topic_names;
mod topics;
mod upkeep;
mod worker;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gds_process::clock::now_ms;
use gds_process::fork;
use gds_process::lock::Lock;
use gds_process::sync::Mutex;
use serde::de::DeserializeOwned;

pub use config::Retention;

use crate::error::{Error, Failure, Result};
use crate::event::Event;
use crate::hub::{Deliveries, Hub, Publisher, Subscriber, Subscription};
use crate::log::{Recovered, not_synced};
use crate::private;
use group::Group;
use link::Link;
use meta::Meta;
use owner::Owner;
use protocol::Request;
use remote_publisher::RemotePublisher;
use remote_subscriber::RemoteSubscriber;
use topics::Topics;

/// How an embedded hub is kept. Those of the client count with which a process came to have the folder.
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
/// use gds_hub::{Batch, Hub, Record, Subscription};
///
/// let hub = Embedded::open(dir.path(), EmbeddedOptions::default())?;
/// let publisher = hub.publisher(std::sync::Arc::new(Ignored))?;
/// publisher.publish(0, &Record { topic: "orders", value: Some(b"tea"), ..Record::default() })?;
///
/// let topics = vec!["orders".to_owned()];
/// let mut reader = hub.subscribe(&Subscription { topics, ..Subscription::default() })?;
/// let mut batch = Batch::default();
/// reader.poll(&mut batch, 10, Duration::from_secs(1))?;
/// assert_eq!(batch.get(0).unwrap().value, Some(&b"tea"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Embedded {
    home: HubFolder,
    options: EmbeddedOptions,
    link: Arc<Mutex<Link>>,
}

/// The folder, and the process that opened it.
#[derive(Clone, Debug)]
struct HubFolder {
    path: PathBuf,
    generation: u32,
    process: u32,
}

/// What a client holds for as long as its process is to have the hub.
type OwnerGuard = Option<Arc<dyn Debug + Send + Sync>>;

/// The hub itself; lives as long as one of its clients.
#[derive(Debug)]
struct Core {
    home: HubFolder,
    topics: Topics,
    meta: Arc<Mutex<Meta>>,
    groups: Mutex<BTreeMap<String, Arc<Mutex<Group>>>>,
    changed: Event,
    members: AtomicU64,
    /// No client of this process is left, so that others are not served any longer.
    ends: AtomicBool,
    recovered: Recovered,
    /// Folders with names that may not be on disk.
    unsynced_dirs: Mutex<Vec<PathBuf>>,
    /// Let go last.
    _lock: Lock,
}

impl Embedded {
    /// The hub in the folder `path`, which is made if there is none.
    pub fn open(path: &Path, options: EmbeddedOptions) -> Result<Self> {
        topic_names::check_partitions(options.partitions)?;
        let unusable = |error: io::Error| unusable(path, &error);
        let made_dirs = private::make_dirs_noting(path).map_err(unusable)?;
        let path = path.canonicalize().map_err(unusable)?;
        let link = Link::open(path.clone(), options, made_dirs)?;
        Ok(Self { home: HubFolder::new(path), options, link: Arc::new(Mutex::new(link)) })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.home.path
    }

    /// What this process found when it came to have the folder, in all partitions together.
    pub fn recovered(&self) -> Recovered {
        self.owner().ok().flatten().map_or_else(Recovered::default, |owner| owner.core.recovered)
    }

    /// Has everything published and committed so far on the disk, safe from a power cut.
    pub fn sync(&self) -> Result<()> {
        self.ask(&Request::Sync, link::TIMEOUT, Core::sync)
    }

    /// The hub, if this process has it.
    fn owner(&self) -> Result<Option<Arc<Owner>>> {
        self.home.check()?;
        Ok(self.link.lock().owner())
    }

    /// Asks the process that has the hub; if it is this one, does it `here`.
    fn ask<T: DeserializeOwned>(
        &self,
        request: &Request,
        timeout: Duration,
        here: impl FnOnce(&Core) -> Result<T>,
    ) -> Result<T> {
        let owner = match self.owner()? {
            Some(owner) => owner,
            None => match self.link.lock().ask_hub(request, Instant::now().checked_add(timeout))? {
                Ok(answer) => return Ok(answer),
                Err(owner) => owner,
            },
        };
        here(&owner.core)
    }
}

impl Hub for Embedded {
    fn publisher(&self, deliveries: Arc<dyn Deliveries>) -> Result<Box<dyn Publisher>> {
        Ok(match self.owner()? {
            Some(owner) => Box::new(publisher::EmbeddedPublisher::new(owner.core.clone(), deliveries, Some(owner))),
            None => Box::new(RemotePublisher::new(self.home.clone(), self.options, deliveries)),
        })
    }

    fn subscribe(&self, subscription: &Subscription) -> Result<Box<dyn Subscriber>> {
        Ok(match self.owner()? {
            Some(owner) => {
                Box::new(subscriber::EmbeddedSubscriber::new(owner.core.clone(), subscription, &[], Some(owner))?)
            }
            None => Box::new(RemoteSubscriber::new(self.home.clone(), self.options, subscription)?),
        })
    }

    fn check(&self, timeout: Duration) -> Result<()> {
        self.ask(&Request::Check, timeout, Core::check)
    }
}

impl HubFolder {
    fn new(path: PathBuf) -> Self {
        Self { path, generation: fork::generation(), process: std::process::id() }
    }

    /// Whether this is still the process that opened it: what a forked child has is a copy that must not be used.
    fn is_here(&self) -> bool {
        self.generation == fork::generation()
    }

    fn check(&self) -> Result<()> {
        if self.is_here() {
            return Ok(());
        }
        let (path, opener, here) = (self.path.display(), self.process, std::process::id());
        let message = format!(
            "embedded hub {path} was opened by process {opener}, and this is its forked child {here}; open it here anew"
        );
        Err(Error::Closed(Failure::new(message).fatal()))
    }
}

impl Core {
    /// Opens the hub in a folder that this process has locked.
    fn open(path: &Path, options: EmbeddedOptions, mut made_dirs: Vec<PathBuf>, lock: Lock) -> Result<Self> {
        made_dirs.push(path.to_owned()); // that of its topics is in it
        let (meta, _) = Meta::open(&path.join("meta"))?;
        let meta = Arc::new(Mutex::new(meta));
        let (topics, recovered) = Topics::open(path, options, meta.clone())?;
        Ok(Self {
            home: HubFolder::new(path.to_owned()),
            topics,
            meta,
            groups: Mutex::default(),
            changed: Event::default(),
            members: AtomicU64::new(0),
            ends: AtomicBool::new(false),
            recovered,
            unsynced_dirs: Mutex::new(made_dirs),
            _lock: lock,
        })
    }

    fn is_here(&self) -> bool {
        self.home.is_here()
    }

    fn check(&self) -> Result<()> {
        self.home.check()
    }

    fn sync(&self) -> Result<()> {
        let mut unsynced = self.unsynced_dirs.lock();
        while let Some(dir) = unsynced.last() {
            private::sync_dir(dir).map_err(|error| not_synced(dir, &error))?;
            unsynced.pop();
        }
        drop(unsynced);
        self.topics.sync()?;
        self.meta.lock().sync()
    }

    /// Whether others are not served any longer.
    fn ends(&self) -> bool {
        self.ends.load(Ordering::SeqCst)
    }

    /// Those who are served give up what they wait for.
    fn end(&self) {
        self.ends.store(true, Ordering::SeqCst);
        self.changed.notify();
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
        let mut figures =
            BTreeMap::from([("topics".to_owned(), topics.len() as f64), ("bytes".to_owned(), bytes as f64)]);
        self.topics.failures().add_to(&mut figures);
        figures
    }
}

fn unusable(path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    let message = format!(
        "cannot use {path} as embedded hub: {error}; name a folder on a local disk that this program may write to"
    );
    Error::Storage(message.into())
}

/// Does what retention and compaction ask for now.
fn look_after_all(topics: &[Arc<topic::Topic>]) {
    let now_ms = now_ms();
    for topic in topics {
        topic.look_after_all(now_ms);
    }
}
