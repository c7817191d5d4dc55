//! Records on disk, until the hub has them.
//!
//! Each process has a folder of its own in the folder of the spool, locked while it lives. In it is a [log](crate::log)
//! of records in the order they were sent, and the mark: below it everything is done. Whoever opens the spool takes over
//! the folders of processes that ended, delivers them first and removes them. A record is handed over again after the
//! end of a process if it was done but the mark was not written yet; its message id tells readers so.
//!
//! A record that is not done is in one of three places: *to do*, *parked* with others of a topic that the hub refuses
//! for now, or *handed over*. What is to do is handed over in the order of ids, which is the order it came in; a record
//! that comes back is among those to do again, before all that came after it.

mod acks;
mod folder;
mod handing_over;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;

use super::id::{OFFSET, folder_of, id_of, ids_of, is_spooled};
use super::queue::Chunk;
use super::ranges::Ranges;
use super::{Durability, SpoolOptions, Stats};
use crate::error::{Error, Result};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};
use folder::{Folder, OWN};
use handing_over::Reading;
pub(super) use handing_over::{HandOverOutcome, MissingRecords};

/// Room made for a record beyond its own bytes, when old ones are dropped.
const MARGIN: u64 = 4096;

/// What became of a record that was to be appended.
#[derive(Debug)]
pub(super) enum Appended {
    /// It is in the spool; the ids of older ones that had to go.
    Kept { dropped: Vec<Range<u64>> },
    /// It could not be written, since the spool is as large as it may be or for what the disk says, or is not safe there,
    /// which is fatal; its id is void.
    Failed { id: u64, error: Error, dropped: Vec<Range<u64>> },
    /// It got no id: the spool takes no more.
    Refused(Error),
}

#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    durability: Durability,
    max_bytes: u64,
    folders: Mutex<Folders>,
    /// Ids of records that are done, until `collected`.
    done: Mutex<Vec<u64>>,
    reading: Mutex<Reading>,
    adopted: u64,
    errors: AtomicU64,
    messages: AtomicU64,
    prefix: String,
    /// Records handed over whose outcome is not known.
    handed: AtomicU64,
    /// Records that were left in a folder before that of this process.
    before: AtomicU64,
    /// The log is on disk up to this offset.
    synced: Mutex<u64>,
}

#[derive(Debug)]
struct Folders {
    own: Folder,
    /// Those of processes that ended, oldest first.
    adopted: VecDeque<Folder>,
    to_do: Ranges,
    parked: HashMap<Box<str>, Ranges>,
    closed: bool,
}

impl Folders {
    fn get(&mut self, number: u16) -> Option<&mut Folder> {
        if number == OWN {
            return Some(&mut self.own);
        }
        self.adopted.iter_mut().find(|folder| folder.number == number)
    }

    fn park(&mut self, topic: &str, id: u64) {
        if let Some(parked) = self.parked.get_mut(topic) {
            parked.insert(id..id + 1);
        } else {
            self.parked.entry(topic.into()).or_default().insert(id..id + 1);
        }
    }

    /// Gives up on those below `first` that wait here; of those handed over the outcome will be known.
    fn give_up_below(&mut self, first: u64) -> Vec<Range<u64>> {
        let gone = ids_of(OWN, 0..first);
        let mut dropped = self.to_do.take(&gone);
        dropped.extend(self.parked.values_mut().flat_map(|parked| parked.take(&gone)));
        self.parked.retain(|_, parked| !parked.is_empty());
        for id in dropped.iter().cloned().flatten() {
            self.own.acks.done(id & OFFSET);
        }
        dropped
    }
}

impl Spool {
    /// Also tells in words what of other processes had to be left where it is.
    pub(super) fn open(options: &SpoolOptions) -> Result<(Self, Vec<String>)> {
        let SpoolOptions { dir, durability, max_bytes } = options.clone();
        let (adopted, left_alone) = folder::adopt(&dir, max_bytes)?;
        let own = Folder::create(&dir, max_bytes, durability == Durability::Disk)?;
        let prefix = own.name.clone();
        let mut to_do = Ranges::default();
        for folder in &adopted {
            to_do.insert(ids_of(folder.number, folder.open_offsets()));
        }
        let spool = Self {
            dir,
            durability,
            max_bytes,
            adopted: adopted.iter().map(Folder::pending).sum(),
            folders: Mutex::new(Folders { own, adopted, to_do, parked: HashMap::new(), closed: false }),
            done: Mutex::default(),
            reading: Mutex::default(),
            errors: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            prefix,
            handed: AtomicU64::new(0),
            before: AtomicU64::new(0),
            synced: Mutex::new(0),
        };
        Ok((spool, left_alone))
    }

    /// Records that ended processes left, to be delivered by this one.
    pub(super) fn adopted(&self) -> u64 {
        self.adopted
    }

    /// A name for a record that no other record of any process has.
    pub(super) fn next_message_id(&self) -> String {
        let number = self.messages.fetch_add(1, Ordering::Relaxed);
        let mut id = String::with_capacity(self.prefix.len() + 21);
        id.push_str(&self.prefix);
        id.push('-');
        id.push_str(itoa::Buffer::new().format(number));
        id
    }

    // ---- callers

    /// Appends a record. `before` gets its id before the sender can see it, which is not before it is safe.
    pub(super) fn append(&self, frame: &[u8], drop_oldest: bool, before: impl FnOnce(u64)) -> Appended {
        let mut folders = self.folders.lock();
        if folders.closed {
            return Appended::Refused(Error::closed());
        }
        let on_disk = self.durability == Durability::Disk;
        if on_disk && let Some(error) = folders.own.log.sync_error() {
            return Appended::Refused(error.clone());
        }
        let id = id_of(OWN, folders.own.log.next_offset());
        before(id);
        let (written, dropped) = self.write(&mut folders, frame, drop_oldest);
        if on_disk && written.is_ok() {
            drop(folders);
            if let Err(error) = self.sync((id & OFFSET) + 1) {
                self.done(id); // it is there, and is not to be sent
                return Appended::Failed { id, error, dropped };
            }
            folders = self.folders.lock();
        }
        match written {
            Ok(()) => {
                folders.to_do.insert(id..id + 1);
                Appended::Kept { dropped }
            }
            Err(error) => Appended::Failed { id, error, dropped },
        }
    }

    /// Writes a record to the end, where need be in place of the oldest ones; whether it is there, and their ids.
    fn write(
        &self,
        folders: &mut MutexGuard<'_, Folders>,
        frame: &[u8],
        drop_oldest: bool,
    ) -> (Result<()>, Vec<Range<u64>>) {
        let mut dropped = Vec::new();
        let mut written = folders.own.log.append([frame]);
        if drop_oldest && written.as_ref().is_err_and(|error| matches!(error, Error::Full(_)) && error.retriable()) {
            let room = self.max_bytes.saturating_sub(frame.len() as u64 + MARGIN);
            written = folders.own.drop_oldest(room).and_then(|first| {
                dropped = folders.give_up_below(first);
                folders.own.log.append([frame])
            });
        }
        if written.as_ref().is_err_and(|error| !matches!(error, Error::Full(_))) {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        (written.map(drop), dropped)
    }

    /// Appends a dead letter, as safe as all that is here, and beyond `max_bytes`: it takes the place of its record.
    /// False if it cannot be written. One that is written and not safe goes all the same, and the error is counted.
    pub(super) fn append_letter(&self, frame: &[u8]) -> bool {
        let mut folders = self.folders.lock();
        let appended = folders.own.log.append_beyond([frame]);
        let Ok(offsets) = appended else {
            self.errors.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        let written = offsets.end;
        folders.to_do.insert(ids_of(OWN, offsets));
        drop(folders);
        if self.durability == Durability::Disk {
            let _ = self.sync(written);
        }
        true
    }

    /// Appends all records of a chunk at once; `before` gets each one's id here and there. If they do not fit, none
    /// is appended, and `before` is called the other way round.
    pub(super) fn append_chunk(&self, chunk: &Chunk, mut before: impl FnMut(u64, u64)) -> bool {
        let mut folders = self.folders.lock();
        if folders.closed {
            return false;
        }
        let first = folders.own.log.next_offset();
        for ((from, _), offset) in chunk.iter().zip(first..) {
            before(from, id_of(OWN, offset));
        }
        if let Ok(offsets) = folders.own.log.append(chunk.iter().map(|(_, frame)| frame)) {
            folders.to_do.insert(ids_of(OWN, offsets));
            return true;
        }
        for ((from, _), offset) in chunk.iter().zip(first..) {
            before(id_of(OWN, offset), from);
        }
        false
    }

    /// Gives up on the oldest of this process's records that waits here; its id. None if they all are being handed over.
    pub(super) fn drop_oldest(&self) -> Option<u64> {
        let mut folders = self.folders.lock();
        let Folders { to_do, parked, .. } = &mut *folders;
        let all = || [&*to_do].into_iter().chain(parked.values());
        let oldest = all().filter_map(|ids| ids.next_from(id_of(OWN, 0))).min()?;
        to_do.take(&(oldest..oldest + 1));
        parked.retain(|_, parked| {
            parked.take(&(oldest..oldest + 1));
            !parked.is_empty()
        });
        drop(folders);
        self.done(oldest);
        Some(oldest)
    }

    /// Has the log on disk up to `offset`. Who comes while another one does it waits, and is mostly done then.
    fn sync(&self, offset: u64) -> Result<()> {
        let mut synced = self.synced.lock();
        if *synced >= offset {
            return Ok(());
        }
        let mut folders = self.folders.lock();
        let written = folders.own.log.next_offset();
        let done = folders.own.log.sync();
        drop(folders);
        if done.is_ok() {
            *synced = written;
        } else {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        done
    }

    pub(super) fn refuse_more(&self) {
        self.folders.lock().closed = true;
    }

    /// Appends what was in memory at the end, when nothing else is taken any more.
    pub(super) fn append_last(&self, frame: &[u8]) -> bool {
        let mut folders = self.folders.lock();
        let id = id_of(OWN, folders.own.log.next_offset());
        let kept = self.write(&mut folders, frame, false).0.is_ok();
        if kept {
            folders.to_do.insert(id..id + 1);
        }
        kept
    }

    /// As [`append_last`](Self::append_last) for records that came before all that is here: they get a folder of their
    /// own, which the next process delivers first. The number of those that were kept.
    pub(super) fn put_before<'a>(&self, frames: impl IntoIterator<Item = &'a [u8]>) -> Result<usize> {
        let folders = self.folders.lock();
        let Some(oldest) = folders.own.oldest_ms() else {
            drop(folders);
            return Ok(frames.into_iter().take_while(|frame| self.append_last(frame)).count());
        };
        drop(folders);
        let mut before = Folder::create(&self.dir, u64::MAX, self.durability == Durability::Disk)?;
        let kept = before.log.append_at(oldest - 1, frames)?;
        let kept = kept.end - kept.start;
        self.before.fetch_add(kept, Ordering::SeqCst);
        before.end();
        usize::try_from(kept).map_err(|_| Error::Storage("too many records".into()))
    }

    // ---- outcomes

    /// The record need not be kept any more.
    pub(super) fn done(&self, id: u64) {
        if is_spooled(id) {
            self.done.lock().push(id);
        }
    }

    /// The outcome of a record that was handed over is known.
    pub(super) fn has_outcome(&self, id: u64) {
        if is_spooled(id) {
            self.handed.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// The record is to be handed over once more; false if it had to make room meanwhile.
    pub(super) fn come_back(&self, id: u64, refused_topic: Option<&str>) -> bool {
        let mut folders = self.folders.lock();
        let first = folders.get(folder_of(id)).map_or(u64::MAX, |folder| folder.log.first_offset());
        let there = id & OFFSET >= first;
        match refused_topic {
            Some(topic) if there => folders.park(topic, id),
            None if there => folders.to_do.insert(id..id + 1),
            _ => {}
        }
        there
    }

    /// Forgets records that are done, in memory and on disk.
    pub(super) fn collected(&self) {
        let done = std::mem::take(&mut *self.done.lock());
        if done.is_empty() {
            return;
        }
        let mut folders = self.folders.lock();
        let mut touched: Vec<u16> = Vec::new();
        for id in done {
            let number = folder_of(id);
            if let Some(folder) = folders.get(number) {
                folder.acks.done(id & OFFSET);
                if touched.last() != Some(&number) && !touched.contains(&number) {
                    touched.push(number);
                }
            }
        }
        for number in touched {
            if let Some(folder) = folders.get(number)
                && folder.forget().is_err()
            {
                self.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
        let finished = folders.adopted.iter().position(|folder| folder.pending() == 0);
        if let Some(folder) = finished.and_then(|place| folders.adopted.remove(place)) {
            folder.remove();
        }
    }

    pub(super) fn describe(&self, stats: &mut Stats) {
        let folders = self.folders.lock();
        stats.adopted = self.adopted;
        stats.spool_errors = self.errors.load(Ordering::Relaxed);
        let mut oldest = None;
        for folder in folders.adopted.iter().chain([&folders.own]) {
            stats.spooled += folder.pending();
            stats.spool_bytes += folder.log.bytes();
            oldest = oldest.or_else(|| folder.oldest_ms());
        }
        if let Some(oldest) = oldest {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            stats.spool_age_seconds = (now.as_secs_f64() - oldest as f64 / 1000.0).max(0.0);
        }
    }

    /// Lets go of the folders; the number of records that stay in them.
    pub(super) fn close(&self) -> u64 {
        self.collected();
        let mut folders = self.folders.lock();
        folders.closed = true;
        let adopted = std::mem::take(&mut folders.adopted);
        let left = adopted.iter().map(Folder::pending).sum::<u64>() + folders.own.pending();
        adopted.into_iter().for_each(Folder::leave);
        folders.own.end();
        left + self.before.load(Ordering::SeqCst)
    }
}
