//! The topics of the hub, in memory and in the folder.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use gds_process::clock::now_ms;
use gds_process::sync::{Mutex, RwLock};

use super::config::{self, TopicConfig};
use super::meta::{Change, Meta, Settings};
use super::topic::{Topic, TopicUpkeep};
use super::upkeep::UpkeepFailures;
use super::worker::Worker;
use super::{EmbeddedOptions, look_after_all, topic_names, unusable};
use crate::error::{Error, Result};
use crate::log::Recovered;
use crate::private;

/// Topics that nobody publishes to are looked after this often.
const LOOK_AT_QUIET_MS: i64 = 10_000;

/// All topics by name.
#[derive(Debug)]
pub(super) struct Topics {
    path: PathBuf,
    options: EmbeddedOptions,
    meta: Arc<Mutex<Meta>>,
    known: RwLock<BTreeMap<String, Arc<Topic>>>,
    /// Counts topics that were made and deleted.
    version: AtomicU64,
    /// Held while one is made or deleted; counts the deleted.
    changing: Mutex<u64>,
    pub(super) upkeep: TopicUpkeep,
    /// When the quiet ones are looked after next.
    look_at_ms: AtomicI64,
}

impl Topics {
    pub(super) fn open(path: &Path, options: EmbeddedOptions, meta: Arc<Mutex<Meta>>) -> Result<(Self, Recovered)> {
        let topics = Self {
            path: path.to_owned(),
            options,
            meta,
            known: RwLock::default(),
            version: AtomicU64::new(0),
            changing: Mutex::new(0),
            upkeep: TopicUpkeep { worker: Arc::new(Worker::new()), failures: Arc::default() },
            look_at_ms: AtomicI64::new(now_ms().saturating_add(LOOK_AT_QUIET_MS)),
        };
        let trash = topics.trash();
        match fs::remove_dir_all(&trash) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(&trash, &error)),
            _ => {}
        }
        let mut sum = Recovered::default();
        let mut known = BTreeMap::new();
        for (name, settings) in topics.remembered()? {
            let (topic, recovered) = topics.open_topic(&name, &settings)?;
            sum.entries += recovered.entries;
            sum.torn_bytes += recovered.torn_bytes;
            sum.lost += recovered.lost;
            known.insert(name, Arc::new(topic));
        }
        *topics.known.write() = known;
        look_after_all(&topics.all());
        Ok((topics, sum))
    }

    /// The topics that were made, and those that have a folder though the log of that was damaged.
    fn remembered(&self) -> Result<BTreeMap<String, Settings>> {
        let mut remembered = self.meta.lock().topics().clone();
        let dir = self.dir();
        private::make_dirs(&dir).map_err(|error| unusable(&dir, &error))?;
        for entry in fs::read_dir(&dir).map_err(|error| unusable(&dir, &error))? {
            let entry = entry.map_err(|error| unusable(&dir, &error))?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if remembered.contains_key(&name) || topic_names::check_topic(&name).is_err() {
                continue;
            }
            let partitions = fs::read_dir(entry.path()).map_err(|error| unusable(&dir, &error))?;
            let numbers = partitions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
            if let Some(highest) = numbers.max()
                && topic_names::check_partitions(highest + 1).is_ok()
            {
                remembered.insert(name, Settings { partitions: highest + 1, ..Settings::default() });
            }
        }
        Ok(remembered)
    }

    fn dir(&self) -> PathBuf {
        self.path.join("topics")
    }

    fn trash(&self) -> PathBuf {
        self.path.join("trash")
    }

    fn open_topic(&self, name: &str, settings: &Settings) -> Result<(Topic, Recovered)> {
        let config = self.defaults().with(&settings.config)?;
        let meta = self.meta.lock();
        let committed = |partition| meta.highest(name, partition);
        Topic::open(&self.dir().join(name), name, settings.partitions, config, self.upkeep.clone(), committed)
    }

    /// What could not be done to look after topics.
    pub(super) fn failures(&self) -> &UpkeepFailures {
        &self.upkeep.failures
    }

    /// Has all topics looked after now and then, those too that nobody publishes to.
    pub(super) fn look_after_quiet(&self, now_ms: i64) {
        let at_ms = self.look_at_ms.load(Ordering::Relaxed);
        let is_due = now_ms >= at_ms || at_ms - now_ms > LOOK_AT_QUIET_MS; // the clock was set back
        let next_ms = now_ms.saturating_add(LOOK_AT_QUIET_MS);
        let swap = |next_ms| self.look_at_ms.compare_exchange(at_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed);
        if !is_due || swap(next_ms).is_err() {
            return;
        }
        let topics = self.all();
        self.upkeep.worker.submit(move |stop| {
            let goes_on = topics.iter().take_while(|_| !stop.load(Ordering::Relaxed));
            goes_on.for_each(|topic| topic.look_after_all(now_ms));
        });
    }

    /// How a topic is set that says nothing.
    pub(super) fn defaults(&self) -> TopicConfig {
        TopicConfig::new(self.options.retention, self.options.segment_bytes)
    }

    /// Changes settings of a topic; those without a value are as if it said nothing.
    pub(super) fn alter(&self, name: &str, changes: &BTreeMap<String, Option<String>>) -> Result<()> {
        let _changing = self.changing.lock();
        let topic = self.get(name).ok_or_else(|| unknown(name))?;
        let known = self.meta.lock().topics().get(name).cloned();
        let mut settings = known.unwrap_or_else(|| Settings { partitions: topic.len(), ..Settings::default() });
        for (key, value) in changes {
            config::check_name(key)?;
            match value {
                Some(value) => settings.config.insert(key.clone(), value.clone()),
                None => settings.config.remove(key),
            };
        }
        let config = self.defaults().with(&settings.config)?;
        self.meta.lock().record(vec![Change::Topic { name: name.to_owned(), settings }])?;
        topic.set_config(config);
        Ok(())
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.known.read().get(name).cloned()
    }

    /// All there are, by name.
    pub(super) fn all(&self) -> Vec<Arc<Topic>> {
        self.known.read().values().cloned().collect()
    }

    pub(super) fn get_or_make(&self, name: &str) -> Result<Arc<Topic>> {
        let changing = self.changing.lock();
        if let Some(topic) = self.get(name) {
            return Ok(topic);
        }
        let settings = Settings { partitions: self.options.partitions, ..Settings::default() };
        let topic = self.make(name, settings);
        drop(changing);
        topic
    }

    /// Makes a topic that there is not yet.
    pub(super) fn create(&self, name: &str, settings: Settings) -> Result<()> {
        let _changing = self.changing.lock();
        if self.get(name).is_some() {
            let message = format!("topic {name:?} exists already; delete it first, or take another name");
            return Err(Error::Message(message.into()));
        }
        self.make(name, settings).map(drop)
    }

    fn make(&self, name: &str, settings: Settings) -> Result<Arc<Topic>> {
        topic_names::check_topic(name)?;
        topic_names::check_partitions(settings.partitions)?;
        let (topic, _) = self.open_topic(name, &settings)?;
        self.meta.lock().record(vec![Change::Topic { name: name.to_owned(), settings }])?;
        let topic = Arc::new(topic);
        self.known.write().insert(name.to_owned(), topic.clone());
        self.version.fetch_add(1, Ordering::AcqRel);
        Ok(topic)
    }

    /// Removes a topic, its messages and all that groups have committed in it.
    pub(super) fn delete(&self, name: &str) -> Result<()> {
        let mut deleted = self.changing.lock();
        let topic = self.get(name).ok_or_else(|| unknown(name))?;
        let (from, trash) = (self.dir().join(name), self.trash());
        *deleted += 1;
        let to = trash.join(deleted.to_string());
        let moved = private::make_dirs(&trash).and_then(|()| fs::rename(&from, &to));
        moved.map_err(|error| unusable(&from, &error))?;
        self.known.write().remove(name);
        topic.delete();
        self.version.fetch_add(1, Ordering::AcqRel);
        self.meta.lock().record(vec![Change::Deleted { name: name.to_owned() }])?;
        // What stays is removed when the hub is opened next.
        let _ = fs::remove_dir_all(&to);
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<()> {
        self.all().iter().try_for_each(|topic| topic.sync())
    }
}

impl Drop for Topics {
    /// Nothing changes the folder any more when this has returned.
    fn drop(&mut self) {
        self.upkeep.worker.stop();
    }
}

/// The error for a topic that there is not.
pub(super) fn unknown(name: &str) -> Error {
    Error::Message(format!("there is no topic {name:?}; create it, or publish to it").into())
}
