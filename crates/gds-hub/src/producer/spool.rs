//! Records on disk, until the hub has them.
//!
//! Each process has a folder of its own in the folder of the spool, locked while it lives. In it is a [log](crate::log)
//! of records in the order they were sent, and the mark: below it everything is done. Whoever opens the spool takes over
//! the folders of processes that ended, delivers them first and removes them. A record is handed over again after the
//! end of a process if it was done but the mark was not written yet; its message id tells readers so.

mod acks;
mod folder;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{Durability, SpoolOptions, Stats};
use crate::codec;
use crate::error::{Error, Kind, Result};
use crate::log::Reader;
use crate::record::Record;
use folder::Folder;

/// Marks the ids of records that are on disk; then comes the number of the folder, then the offset.
const SPOOLED: u64 = 1 << 63;
const OFFSET_BITS: u32 = 48;
const OFFSET: u64 = (1 << OFFSET_BITS) - 1;

/// Room made for a record beyond its own bytes, when old ones are dropped.
const MARGIN: u64 = 4096;

/// Read from disk at a time.
const READ_BYTES: usize = 256 * 1024;

/// Whether a record's id is one of a spool.
pub(super) fn is_spooled(id: u64) -> bool {
    id & SPOOLED != 0
}

fn id_of(folder: u16, offset: u64) -> u64 {
    SPOOLED | u64::from(folder) << OFFSET_BITS | offset
}

/// What became of a record that was to be appended.
#[derive(Debug)]
pub(super) enum Appended {
    /// It is in the spool; the ids of older ones that had to go.
    Kept { dropped: Range<u64> },
    /// It could not be written, since the spool is as large as it may be or for what the disk says; its id is void.
    Failed { id: u64, error: Error, dropped: Range<u64> },
    /// It is in the spool, but the disk does not say that it is safe.
    Unsafe(Error),
    /// The spool takes no more.
    Closed,
}

#[derive(Debug)]
pub(super) struct Spool {
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
    lost: AtomicU64,
    /// The log is on disk up to this offset.
    synced: Mutex<u64>,
}

#[derive(Debug)]
struct Folders {
    own: Folder,
    /// Those of processes that ended, oldest first.
    adopted: VecDeque<Folder>,
    again: Vec<u64>,
    closed: bool,
}

impl Folders {
    fn get(&mut self, number: u16) -> Option<&mut Folder> {
        if self.own.number == number {
            return Some(&mut self.own);
        }
        self.adopted.iter_mut().find(|folder| folder.number == number)
    }

    /// The folder whose records come next, if there are any that were not read yet.
    fn unread(&mut self) -> Option<&mut Folder> {
        let adopted = self.adopted.iter_mut().find(|folder| folder.has_unread());
        adopted.or(if self.own.has_unread() { Some(&mut self.own) } else { None })
    }
}

/// The sender's place.
#[derive(Debug, Default)]
struct Reading {
    reader: Option<(u16, Reader)>,
    frames: Vec<u8>,
    ends: Vec<(u64, usize)>,
}

impl Spool {
    pub(super) fn open(options: &SpoolOptions) -> Result<Self> {
        let own = Folder::create(&options.dir, options.max_bytes)?;
        let adopted = folder::adopt(&options.dir, options.max_bytes, &own)?;
        let prefix = own.name.clone();
        Ok(Self {
            durability: options.durability,
            max_bytes: options.max_bytes,
            adopted: adopted.iter().map(Folder::pending).sum(),
            folders: Mutex::new(Folders { own, adopted, again: Vec::new(), closed: false }),
            done: Mutex::default(),
            reading: Mutex::default(),
            errors: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            prefix,
            lost: AtomicU64::new(0),
            synced: Mutex::new(0),
        })
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

    /// Appends a record. `before` gets its id before the sender can see it.
    pub(super) fn append(&self, frame: &[u8], drop_oldest: bool, before: impl FnOnce(u64)) -> Appended {
        let mut folders = self.folders.lock();
        if folders.closed {
            return Appended::Closed;
        }
        let appended = self.append_to(&mut folders.own, frame, drop_oldest, before);
        let written = folders.own.log.next_offset();
        drop(folders);
        if self.durability == Durability::Disk && matches!(appended, Appended::Kept { .. }) {
            return self.sync(written).err().map_or(appended, Appended::Unsafe);
        }
        appended
    }

    fn append_to(&self, own: &mut Folder, frame: &[u8], drop_oldest: bool, before: impl FnOnce(u64)) -> Appended {
        let id = id_of(own.number, own.log.next_offset());
        before(id);
        let mut dropped = 0..0;
        let mut appended = own.log.append([frame]);
        if drop_oldest && appended.as_ref().is_err_and(|error| error.kind == Kind::Full && error.retriable) {
            let room = self.max_bytes.saturating_sub(frame.len() as u64 + MARGIN);
            appended = own.drop_oldest(room).and_then(|offsets| {
                dropped = id_of(own.number, offsets.start)..id_of(own.number, offsets.end);
                own.log.append([frame])
            });
        }
        match appended {
            Ok(_) => Appended::Kept { dropped },
            Err(error) => {
                if error.kind != Kind::Full {
                    self.errors.fetch_add(1, Ordering::Relaxed);
                }
                Appended::Failed { id, error, dropped }
            }
        }
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
    pub(super) fn append_last(&self, frame: &[u8]) -> Appended {
        self.append_to(&mut self.folders.lock().own, frame, false, |_| ())
    }

    // ---- the sender thread

    /// Whether there is something to hand over.
    pub(super) fn has_work(&self) -> bool {
        let mut folders = self.folders.lock();
        !folders.again.is_empty() || folders.unread().is_some()
    }

    /// Whether this process's own records were not all handed over yet.
    pub(super) fn has_unread(&self) -> bool {
        self.folders.lock().unread().is_some()
    }

    /// Gives all records that were not handed over yet to `publish`, in order, until that says no.
    pub(super) fn send_unread(&self, mut publish: impl FnMut(u64, &Record<'_>) -> bool) {
        let mut reading = self.reading.lock();
        while let Some(number) = self.read(&mut reading) {
            let Reading { frames, ends, .. } = &*reading;
            let mut start = 0;
            for (place, (offset, end)) in ends.iter().enumerate() {
                let frame = &frames[start..*end];
                start = *end;
                let id = id_of(number, *offset);
                let Ok((record, _)) = codec::read(frame) else {
                    self.done(id); // the checksum held, so this is no record of ours
                    continue;
                };
                if !publish(id, &record) {
                    if let Some(folder) = self.folders.lock().get(number) {
                        folder.read_to = ends[place].0;
                    }
                    return;
                }
            }
        }
    }

    /// Reads the next records into memory; the number of their folder.
    fn read(&self, reading: &mut Reading) -> Option<u16> {
        let mut folders = self.folders.lock();
        let folder = folders.unread()?;
        if reading.reader.as_ref().is_none_or(|(number, _)| *number != folder.number) {
            reading.reader = Some((folder.number, folder.log.reader(folder.read_to)));
        }
        let Some((number, reader)) = &mut reading.reader else { return None };
        reader.seek(folder.read_to);
        reading.frames.clear();
        reading.ends.clear();
        let (frames, ends) = (&mut reading.frames, &mut reading.ends);
        let from = folder.read_to;
        let progress = reader.next_batch(folder.log.next_offset(), READ_BYTES, |entry| {
            frames.extend_from_slice(entry.payload);
            ends.push((entry.offset, frames.len()));
        });
        if let Ok(progress) = progress {
            folder.read_to = reader.position();
            if progress.damaged + progress.trimmed > 0 {
                // What cannot be read is done, and counted.
                let read: std::collections::HashSet<u64> = ends.iter().map(|(offset, _)| *offset).collect();
                let lost = (from..folder.read_to).filter(|offset| !read.contains(offset));
                let lost: Vec<u64> = lost.filter(|offset| folder.acks.is_open(*offset)).collect();
                self.done.lock().extend(lost.iter().map(|offset| id_of(*number, *offset)));
                self.lost.fetch_add(lost.len() as u64, Ordering::Relaxed);
            }
            Some(*number)
        } else {
            self.errors.fetch_add(1, Ordering::Relaxed);
            None
        }
    }

    /// Hands failed records over once more; how many.
    pub(super) fn send_again(&self, mut publish: impl FnMut(u64, &Record<'_>) -> bool) -> usize {
        let mut again = std::mem::take(&mut self.folders.lock().again);
        again.sort_unstable();
        for id in &again {
            let mut frame = Vec::new();
            if let Some(folder) = self.folders.lock().get(folder_of(*id)) {
                let offset = id & OFFSET;
                let read = folder.log.reader(offset).next_batch(offset + 1, 1, |entry| frame.extend(entry.payload));
                if read.is_err() {
                    self.errors.fetch_add(1, Ordering::Relaxed);
                }
            }
            if let Ok((record, _)) = codec::read(&frame) {
                if !publish(*id, &record) {
                    break; // it is still in the spool
                }
            } else {
                self.lost.fetch_add(1, Ordering::Relaxed);
                self.done(*id);
            }
        }
        again.len()
    }

    /// How many records could not be read since the last call of this.
    pub(super) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    // ---- outcomes

    /// The record need not be kept any more.
    pub(super) fn done(&self, id: u64) {
        if is_spooled(id) {
            self.done.lock().push(id);
        }
    }

    /// The record is to be handed over once more.
    pub(super) fn again(&self, id: u64) {
        self.folders.lock().again.push(id);
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
        left
    }
}

fn folder_of(id: u64) -> u16 {
    // 15 bits are left.
    #[allow(clippy::cast_possible_truncation)]
    let number = ((id & !SPOOLED) >> OFFSET_BITS) as u16;
    number
}
