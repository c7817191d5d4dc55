//! Taking records from callers: into memory, into the spool, or not at all.

use super::queue::{CHUNK, Memory};
use super::spool::{Appended, Spool};
use super::state::{ProducerState, Queue};
use super::{Durability, Linger, OnFull};
use crate::codec;
use crate::error::{Error, Failure, Result};
use crate::sync::{MutexGuard, Ordering};

/// What a token is taken to need of the memory that records may take, where the record itself is on disk.
const TOKEN_BYTES: usize = 128;

/// What became of a record that was sent.
#[derive(Debug)]
#[must_use]
pub enum Sent<T> {
    /// Accepted.
    Queued,
    /// There is no room, and the caller is to wait for some and send it again. Not counted.
    Full(Option<T>),
    /// There is no room; it was dropped, and counted so.
    Dropped(Option<T>, Error),
}

impl<T: Send + 'static> ProducerState<T> {
    pub(super) fn send(&self, frame: &[u8], token: Option<T>, linger: Linger) -> Result<Sent<T>> {
        fits_any(frame)?;
        let sent = match &self.spool {
            Some(spool) if token.is_some() && !self.may_wait(spool) => {
                let limit = self.options.buffer_bytes;
                let why = format!("of those on disk, as many wait for an outcome as {limit} bytes of memory allow");
                self.no_room(token, &why)
            }
            Some(spool) if self.writes_ahead() => self.append(spool, frame, token),
            _ => self.send_in_memory(self.queue.lock(), frame, token),
        };
        self.urge(linger);
        sent
    }

    /// As [`send`](Self::send), where that need not wait for the disk, nor for another thread that does; else the token.
    pub(super) fn send_at_once(
        &self,
        frame: &[u8],
        token: Option<T>,
        linger: Linger,
    ) -> Result<Result<Sent<T>>, Option<T>> {
        if self.spool.is_none() || fits_any(frame).is_err() {
            return Ok(self.send(frame, token, linger));
        }
        if self.writes_ahead() {
            return Err(token);
        }
        let Some(queue) = self.queue.try_lock() else { return Err(token) };
        let waits = token.is_some() && self.too_many_wait();
        if waits || !queue.has_room(Memory::cost(frame), self.options.buffer_bytes) {
            return Err(token);
        }
        let sent = self.send_in_memory(queue, frame, token);
        self.urge(linger);
        Ok(sent)
    }

    #[cfg(test)]
    pub(super) fn while_locked(&self, call: impl FnOnce()) {
        let _queue = self.queue.lock();
        call();
    }

    fn urge(&self, linger: Linger) {
        // After it is queued: the sender forgets about it before it takes what is there.
        if linger == Linger::Short && !self.urgent.load(Ordering::SeqCst) && !self.urgent.swap(true, Ordering::SeqCst) {
            self.hurry.notify();
        }
    }

    /// Whether as many tokens wait for records on disk as may. Those of records in memory are bounded as these are, and may
    /// come on top when all of memory goes to disk at once.
    fn too_many_wait(&self) -> bool {
        self.tokens.spooled() >= (self.options.buffer_bytes / TOKEN_BYTES).max(1)
    }

    /// Whether another token may wait, where need be in place of the oldest ones.
    fn may_wait(&self, spool: &Spool) -> bool {
        while self.too_many_wait() {
            let dropped = if self.options.on_full == OnFull::DropOldest { spool.drop_oldest() } else { None };
            let Some(dropped) = dropped else { return false };
            self.note_dropped(&[dropped]);
        }
        true
    }

    fn writes_ahead(&self) -> bool {
        self.options.spool.as_ref().is_some_and(|spool| spool.durability != Durability::Memory)
    }

    /// What is in memory is newer than all in the spool, always. So what finds no room in memory goes to the spool only
    /// behind all that is in memory, and under the lock that says what came first.
    fn send_in_memory(&self, mut queue: MutexGuard<'_, Queue>, frame: &[u8], token: Option<T>) -> Result<Sent<T>> {
        let cost = Memory::cost(frame);
        let limit = self.options.buffer_bytes;
        if queue.closed {
            return Err(Error::closed());
        }
        if cost > limit {
            return Err(too_large(cost, limit));
        }
        if let Some(spool) = &self.spool
            && !queue.has_room(cost, limit)
        {
            self.spill(&mut queue, spool);
            if queue.memory.is_empty() && !queue.has_room(cost, limit) {
                return self.append(spool, frame, token); // the rest is in the sender's hands
            }
        }
        if self.options.on_full == OnFull::DropOldest {
            let mut oldest = Vec::new();
            while !queue.has_room(cost, limit) {
                if let Some(id) = queue.returned.drop_first() {
                    oldest.push(id);
                } else if !queue.memory.drop_first(|id, _| oldest.push(id)) {
                    break;
                }
            }
            self.note_dropped(&oldest);
        }
        if !queue.has_room(cost, limit) {
            drop(queue);
            return self.no_room(token, &format!("{limit} bytes of memory wait for the hub"));
        }
        let id = queue.next_id;
        queue.next_id += 1;
        if let Some(token) = token {
            self.tokens.insert(id, token);
        }
        self.counts.accepted.fetch_add(1, Ordering::SeqCst);
        let before = queue.memory.bytes();
        queue.memory.push(id, frame);
        let much = before / CHUNK != queue.memory.bytes() / CHUNK;
        drop(queue);
        self.work.notify();
        if much {
            self.hurry.notify();
        }
        Ok(Sent::Queued)
    }

    fn append(&self, spool: &Spool, frame: &[u8], token: Option<T>) -> Result<Sent<T>> {
        let drops_oldest = self.options.on_full == OnFull::DropOldest;
        let mut token = token;
        let appended = spool.append(frame, drops_oldest, |id| {
            self.counts.accepted.fetch_add(1, Ordering::SeqCst);
            if let Some(token) = token.take() {
                self.tokens.insert(id, token);
            }
        });
        match appended {
            Appended::Kept { dropped } => {
                self.note_dropped_spooled(dropped);
                self.work.notify();
                Ok(Sent::Queued)
            }
            Appended::Failed { id, error, dropped } => {
                // Counted as accepted before it was written; now it is not.
                self.counts.accepted.fetch_sub(1, Ordering::SeqCst);
                self.note_dropped_spooled(dropped);
                let token = self.tokens.remove(id);
                // Waiting for room is of no use, and dropping another one neither.
                if error.fatal() { Err(error) } else { self.no_room(token, error.message()) }
            }
            Appended::Refused(error) => Err(error),
        }
    }

    fn no_room(&self, token: Option<T>, why: &str) -> Result<Sent<T>> {
        let error =
            |advice: &str| Error::Full(Failure::new(format!("no room for the record: {why}; {advice}")).retriable());
        match self.options.on_full {
            OnFull::Block => Ok(Sent::Full(token)),
            OnFull::Raise => Err(error("send it again later, or choose another on_full")),
            OnFull::DropNewest | OnFull::DropOldest => {
                self.counts.accepted.fetch_add(1, Ordering::SeqCst);
                self.count_dropped("buffer_full", 1);
                Ok(Sent::Dropped(token, error("it was dropped, as on_full says")))
            }
        }
    }

    /// Counts a record that waited for room in vain.
    pub(super) fn gave_up_waiting(&self) {
        self.counts.accepted.fetch_add(1, Ordering::SeqCst);
        self.count_dropped("buffer_full", 1);
    }

    pub(super) fn refuse_more(&self) {
        self.queue.lock().closed = true;
        if let Some(spool) = &self.spool {
            spool.refuse_more();
        }
    }
}

/// Whether a record is not larger than any hub and any file of ours takes.
fn fits_any(frame: &[u8]) -> Result<()> {
    let (length, most) = (frame.len(), codec::MAX_RECORD);
    if length <= most {
        return Ok(());
    }
    Err(Error::Message(Failure::new(format!("the record takes {length} bytes: expected at most {most}")).with_code(10)))
}

fn too_large(cost: usize, limit: usize) -> Error {
    Error::Message(
        Failure::new(format!("the record takes {cost} bytes, more than buffer_memory={limit} holds")).with_code(10),
    )
}
