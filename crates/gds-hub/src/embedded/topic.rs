//! A topic: a log for each partition.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gds_process::clock;
use gds_process::sync::Mutex;

use super::config::TopicConfig;
use super::upkeep::{Upkeep, UpkeepFailures};
use super::worker::Worker;
use crate::codec;
use crate::error::{Error, Failure, Result};
use crate::log::{Entry, Log, LogOptions, Reader, Recovered, Role};
use crate::record::Record;

/// Retention and compaction are looked after this often at most: it costs a look at each segment.
const LOOK_EVERY_MS: i64 = 1_000;
/// After a compaction that failed, for one on a full disk.
const COMPACT_AGAIN_MS: i64 = 60_000;
/// Kafka's number for a record that a topic does not take.
const INVALID_RECORD: i32 = 87;

/// A topic and its partitions.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    partitions: Vec<Arc<Mutex<State>>>,
    deleted: AtomicBool,
    upkeep: TopicUpkeep,
}

/// Who looks after topics, beside those who publish, and what failed of that.
#[derive(Clone, Debug)]
pub(super) struct TopicUpkeep {
    pub(super) worker: Arc<Worker>,
    pub(super) failures: Arc<UpkeepFailures>,
}

#[derive(Debug)]
struct State {
    log: Log,
    config: TopicConfig,
    look_at_ms: i64,
    look_at_bytes: u64,
    is_compacting: bool,
    /// Not before.
    compact_at_ms: i64,
    failed: Failed,
    is_deleted: bool,
}

/// What failed the last time.
#[derive(Debug, Default)]
struct Failed {
    retention: bool,
    compaction: bool,
}

impl Topic {
    /// Opens the logs in `dir`. Partitions begin behind what `committed` tells of them, which a power cut may have
    /// taken: a new message must not get an offset that a group believes to have read.
    pub(super) fn open(
        dir: &Path,
        name: &str,
        partitions: i32,
        config: TopicConfig,
        upkeep: TopicUpkeep,
        committed: impl Fn(i32) -> i64,
    ) -> Result<(Self, Recovered)> {
        let mut sum = Recovered::default();
        let mut logs = Vec::new();
        for partition in 0..partitions {
            let options = LogOptions { segment_bytes: config.segment_bytes(), ..LogOptions::default() };
            let (mut log, recovered) = Log::open(&dir.join(partition.to_string()), options)?;
            log.skip_to(u64::try_from(committed(partition)).unwrap_or(0))?;
            sum.entries += recovered.entries;
            sum.torn_bytes += recovered.torn_bytes;
            sum.lost += recovered.lost;
            logs.push(Arc::new(Mutex::new(State {
                log,
                config,
                look_at_ms: i64::MIN,
                look_at_bytes: 0,
                is_compacting: false,
                compact_at_ms: i64::MIN,
                failed: Failed::default(),
                is_deleted: false,
            })));
        }
        let (name, deleted) = (Arc::from(name), AtomicBool::new(false));
        Ok((Self { name, partitions: logs, deleted, upkeep }, sum))
    }

    /// How many partitions there are.
    pub(super) fn len(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    fn state(&self, partition: i32) -> Result<&Arc<Mutex<State>>> {
        let state = usize::try_from(partition).ok().and_then(|partition| self.partitions.get(partition));
        state.ok_or_else(|| {
            let message = format!(
                "topic {:?} has no partition {partition}; expected 0 to {}",
                self.name,
                self.partitions.len() - 1
            );
            Error::Message(message.into())
        })
    }

    /// Appends a message; none if the topic was deleted meanwhile.
    pub(super) fn append(&self, partition: i32, now_ms: i64, payload: &[u8]) -> Result<Option<u64>> {
        let partition = self.state(partition)?;
        let mut state = partition.lock();
        if state.is_deleted {
            return Ok(None);
        }
        if state.config.compacts && !codec::has_key(payload) {
            let message = format!(
                "topic {:?} is compacted (cleanup.policy), and takes no record without a key: give it one",
                self.name
            );
            return Err(Error::Message(Failure::new(message).with_code(INVALID_RECORD)));
        }
        let offsets = state.log.append_at(now_ms, [payload])?;
        if now_ms >= state.look_at_ms || state.log.bytes() >= state.look_at_bytes {
            self.look_after(partition, &mut state, now_ms);
        }
        Ok(Some(offsets.start))
    }

    /// Removes what is not to be kept any longer, and has what came since compacted.
    pub(super) fn look_after_all(&self, now_ms: i64) {
        self.partitions.iter().for_each(|partition| self.look_after(partition, &mut partition.lock(), now_ms));
    }

    fn look_after(&self, partition: &Arc<Mutex<State>>, state: &mut State, now_ms: i64) {
        // What cannot be removed stays a while longer; it must not cost the message that was just appended.
        let kept = state.retain(now_ms);
        if let Err(error) = &kept {
            self.upkeep.failures.note(Upkeep::Retention, &self.name, error, !state.failed.retention);
        }
        state.failed.retention = kept.is_err();
        if state.is_to_be_compacted(now_ms) {
            let (name, partition, failures) = (self.name.clone(), partition.clone(), self.upkeep.failures.clone());
            state.is_compacting =
                self.upkeep.worker.submit(move |stop| compact(&name, &partition, &failures, clock::now_ms(), stop));
        }
        state.look_at_ms = now_ms.saturating_add(LOOK_EVERY_MS);
        state.look_at_bytes = state.log.bytes().saturating_add(state.config.segment_bytes());
    }

    /// How it is set.
    pub(super) fn config(&self) -> TopicConfig {
        self.partitions[0].lock().config
    }

    /// What holds from now on.
    pub(super) fn set_config(&self, config: TopicConfig) {
        for partition in &self.partitions {
            let mut state = partition.lock();
            state.config = config;
            state.log.set_segment_bytes(config.segment_bytes());
            state.look_at_ms = i64::MIN;
        }
    }

    /// Where a partition begins and ends.
    pub(super) fn range(&self, partition: i32) -> Result<(u64, u64)> {
        let state = self.state(partition)?.lock();
        Ok((state.log.first_offset(), state.log.next_offset()))
    }

    /// Reads a partition.
    pub(super) fn reader(&self, partition: i32, from: u64) -> Result<Reader> {
        Ok(self.state(partition)?.lock().log.reader(from))
    }

    /// The first offset whose record is of this time or later, in milliseconds since the epoch. Reads the partition.
    pub(super) fn first_since(&self, partition: i32, time_ms: i64) -> Result<Option<u64>> {
        let mut found = None;
        self.read(partition, 0, |entry| {
            let late = codec::read(entry.payload).is_ok_and(|(record, _)| record.timestamp >= time_ms);
            if late && found.is_none() {
                found = Some(entry.offset);
            }
            found.is_none()
        })?;
        Ok(found)
    }

    /// Gives partition, offset and content of each record that was appended at this time or later, in milliseconds since
    /// the epoch, and of some before, until `each` says that it is enough.
    pub(super) fn each_since(&self, time_ms: i64, mut each: impl FnMut(i32, i64, &Record<'_>) -> bool) -> Result<()> {
        let mut goes_on = true;
        for partition in 0..self.len() {
            let from = self.state(partition)?.lock().log.offset_before(time_ms);
            self.read(partition, from, |entry| {
                if let (Ok((record, _)), Ok(offset)) = (codec::read(entry.payload), i64::try_from(entry.offset)) {
                    goes_on = each(partition, offset, &record);
                }
                goes_on
            })?;
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Reads from an offset to the end of now, or until `each` says that it is enough.
    fn read(&self, partition: i32, from: u64, mut each: impl FnMut(Entry<'_>) -> bool) -> Result<()> {
        const AT_A_TIME: usize = 1 << 20;
        let (first, end) = self.range(partition)?;
        let mut reader = self.reader(partition, from.max(first))?;
        let mut goes_on = true;
        while goes_on && reader.position() < end {
            reader.next_batch(end, AT_A_TIME, |entry| goes_on = goes_on && each(entry))?;
        }
        Ok(())
    }

    /// What all partitions take on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.partitions.iter().map(|state| state.lock().log.bytes()).sum()
    }

    /// Has everything on the disk.
    pub(super) fn sync(&self) -> Result<()> {
        self.partitions.iter().try_for_each(|state| state.lock().log.sync())
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// No message is appended once this has returned.
    pub(super) fn delete(&self) {
        self.deleted.store(true, Ordering::Release);
        self.partitions.iter().for_each(|partition| partition.lock().is_deleted = true);
    }
}

impl State {
    /// Ends the file that is written to when it is old, and removes what is not to be kept any longer.
    fn retain(&mut self, now_ms: i64) -> Result<()> {
        self.log.end_segment_begun_before(now_ms.saturating_sub(self.config.segment_ms))?;
        let retention = self.config.retention();
        let older_than = retention.age_ms.map(|age| now_ms.saturating_sub(age));
        if older_than.is_some() || retention.bytes.is_some() {
            self.log.expire(older_than, retention.bytes)?;
        }
        Ok(())
    }

    /// As much came since the last time as there was by then: no message is copied often.
    fn is_to_be_compacted(&self, now_ms: i64) -> bool {
        let (clean, dirty) = self.log.compactable();
        let may = self.config.compacts && !self.is_compacting && self.log.sync_error().is_none();
        may && now_ms >= self.compact_at_ms && dirty > 0 && dirty >= clean
    }
}

/// Compacts a partition, which is locked for moments only.
fn compact(name: &str, partition: &Mutex<State>, failures: &UpkeepFailures, now_ms: i64, stop: &AtomicBool) {
    let compacted = compact_until(partition, now_ms, stop);
    let mut state = partition.lock();
    state.is_compacting = false;
    if let Err(error) = &compacted {
        state.compact_at_ms = now_ms.saturating_add(COMPACT_AGAIN_MS);
        if error.fatal() {
            state.log.keep_sync_error(error);
        }
        failures.note(Upkeep::Compaction, name, error, !state.failed.compaction);
    }
    state.failed.compaction = compacted.is_err();
}

fn compact_until(partition: &Mutex<State>, now_ms: i64, stop: &AtomicBool) -> Result<()> {
    // In the place of a topic that was deleted there may be another one.
    let is_over = |state: &State| state.is_deleted || stop.load(Ordering::Relaxed);
    let mut compaction = {
        let state = partition.lock();
        state.log.compaction(role_of, now_ms, state.config.keep_tombstones_ms)
    };
    loop {
        // At first what an attempt before has left.
        compaction.sync()?;
        {
            let mut state = partition.lock();
            if is_over(&state) {
                return Ok(());
            }
            state.log.remove_replaced()?;
        }
        let Some(made) = compaction.next(stop)? else { return Ok(()) };
        let mut state = partition.lock();
        if is_over(&state) || !state.log.replace(made)? {
            return Ok(());
        }
    }
}

fn role_of(payload: &[u8]) -> Role<'_> {
    match codec::read(payload) {
        Ok((record, _)) => match (record.key, record.value) {
            (None, _) => Role::Dropped,
            (Some(key), None) => Role::Tombstone(key),
            (Some(key), Some(_)) => Role::Last(key),
        },
        Err(_) => Role::Kept, // of a later version, maybe
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::config::Retention;
    use super::*;

    #[test]
    fn a_compaction_that_cannot_know_what_is_on_the_disk_is_the_last_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let upkeep = TopicUpkeep { worker: Arc::new(Worker::new()), failures: Arc::default() };
        let failures = upkeep.failures.clone();
        let config = TopicConfig::new(Retention::default(), 4_096);
        let (topic, _) = Topic::open(dir.path(), "state", 1, config, upkeep, |_| 0).expect("opened");
        let mut payload = Vec::new();
        codec::write(&mut payload, &Record { key: Some(b"k"), value: Some(&[7; 100]), ..Record::default() });
        for _ in 0..100 {
            topic.append(0, 0, &payload).expect("appended");
        }
        let compacts = [("cleanup.policy".to_owned(), "compact".to_owned())].into();
        topic.set_config(config.with(&compacts).expect("known"));
        let partition = &topic.partitions[0];
        assert!(partition.lock().is_to_be_compacted(0));
        crate::private::synced::call_first(|| Err(io::ErrorKind::StorageFull.into()));
        compact("state", partition, &failures, 0, &AtomicBool::new(false));
        crate::private::synced::call_first(|| Ok(()));
        let said = failures.take();
        assert!(
            said.len() == 1 && said[0].contains("is not tried again") && said[0].contains("free space"),
            "{said:?}"
        );
        assert!(!partition.lock().is_to_be_compacted(i64::MAX));
        let error = topic.sync().expect_err("the system has told it already");
        assert!(error.fatal() && said[0].ends_with(error.message()), "{error}");
        topic.append(0, 0, &payload).expect("what is published goes on");
    }
}
