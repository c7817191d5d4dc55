//! A topic: a log for each partition.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gds_process::sync::Mutex;

use super::names::Retention;
use crate::codec;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Log, LogOptions, Reader, Recovered};

/// Retention is looked after this often at most: it costs a look at each segment.
const EXPIRE_EVERY_MS: i64 = 1_000;
/// Segments no smaller than this, however little is kept.
const SMALLEST_SEGMENT: u64 = 4 * 1024;

/// A topic and its partitions.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    partitions: Vec<Mutex<State>>,
    retention: Retention,
    segment_bytes: u64,
    deleted: AtomicBool,
}

#[derive(Debug)]
struct State {
    log: Log,
    expire_at_ms: i64,
    expire_at_bytes: u64,
}

impl Topic {
    /// Opens the logs in `dir`. Partitions begin behind what `committed` tells of them, which a power cut may have
    /// taken: a new message must not get an offset that a group believes to have read.
    pub(super) fn open(
        dir: &Path,
        name: &str,
        partitions: i32,
        retention: Retention,
        segment_bytes: u64,
        committed: impl Fn(i32) -> i64,
    ) -> Result<(Self, Recovered)> {
        // Removed in whole segments, messages are kept to within an eighth of the limit.
        let most = retention.bytes.map_or(u64::MAX, |bytes| (bytes / 8).max(SMALLEST_SEGMENT));
        let segment_bytes = segment_bytes.min(most);
        let mut sum = Recovered::default();
        let mut logs = Vec::new();
        for partition in 0..partitions {
            let options = LogOptions { segment_bytes, ..LogOptions::default() };
            let (mut log, recovered) = Log::open(&dir.join(partition.to_string()), options)?;
            log.skip_to(u64::try_from(committed(partition)).unwrap_or(0))?;
            sum.entries += recovered.entries;
            sum.torn_bytes += recovered.torn_bytes;
            sum.lost += recovered.lost;
            logs.push(Mutex::new(State { log, expire_at_ms: i64::MIN, expire_at_bytes: 0 }));
        }
        let (name, deleted) = (Arc::from(name), AtomicBool::new(false));
        Ok((Self { name, partitions: logs, retention, segment_bytes, deleted }, sum))
    }

    /// How many partitions there are.
    pub(super) fn len(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    fn state(&self, partition: i32) -> Result<&Mutex<State>> {
        let state = usize::try_from(partition).ok().and_then(|partition| self.partitions.get(partition));
        state.ok_or_else(|| {
            let message = format!(
                "topic {:?} has no partition {partition}; expected 0 to {}",
                self.name,
                self.partitions.len() - 1
            );
            Error::new(ErrorKind::Message, message)
        })
    }

    /// Appends a message; none if the topic was deleted meanwhile.
    pub(super) fn append(&self, partition: i32, now_ms: i64, payload: &[u8]) -> Result<Option<u64>> {
        let mut state = self.state(partition)?.lock();
        if self.is_deleted() {
            return Ok(None);
        }
        let offsets = state.log.append_at(now_ms, [payload])?;
        if now_ms >= state.expire_at_ms || state.log.bytes() >= state.expire_at_bytes {
            self.expire(&mut state, now_ms);
        }
        Ok(Some(offsets.start))
    }

    /// Removes what is not to be kept any longer.
    pub(super) fn expire_all(&self, now_ms: i64) {
        self.partitions.iter().for_each(|state| self.expire(&mut state.lock(), now_ms));
    }

    fn expire(&self, state: &mut State, now_ms: i64) {
        let older_than = self.retention.age_ms.map(|age| now_ms.saturating_sub(age));
        if older_than.is_some() || self.retention.bytes.is_some() {
            // What cannot be removed stays a while longer; it must not cost the message that was just appended.
            let _ = state.log.expire(older_than, self.retention.bytes);
        }
        state.expire_at_ms = now_ms.saturating_add(EXPIRE_EVERY_MS);
        state.expire_at_bytes = state.log.bytes().saturating_add(self.segment_bytes);
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
        const AT_A_TIME: usize = 1 << 20;
        let (first, end) = self.range(partition)?;
        let mut reader = self.reader(partition, first)?;
        let mut found = None;
        while found.is_none() && reader.position() < end {
            reader.next_batch(end, AT_A_TIME, |entry| {
                let late = codec::read(entry.payload).is_ok_and(|(record, _)| record.timestamp >= time_ms);
                if late && found.is_none() {
                    found = Some(entry.offset);
                }
            })?;
        }
        Ok(found)
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
        self.partitions.iter().for_each(|state| drop(state.lock()));
    }
}
