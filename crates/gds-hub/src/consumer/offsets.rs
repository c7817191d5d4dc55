//! How far a program has come with the messages that were fetched for it.
//!
//! A program reads in loops. A message, or a list of them, that was given out is *open* until the loop asks for more, or
//! says that it is handled; then it is *finished*. Only what is finished is committed by itself. What a loop left open,
//! because its body raised or was left, comes again in the next loop, as it would after a restart.
//!
//! ```text
//! batch   | accounted | finished | open | not given yet |
//!                                ^start ^next
//! ```

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use crate::batch::{Batch, Message};
use crate::error::Result;
use crate::hub::{Position, TopicPartition};

/// The next offset to be read, by partition.
pub type Offsets = HashMap<TopicPartition, i64>;

/// A batch of messages, and which of them, and of those before, the program was given and has finished with.
///
/// It knows no hub: where partitions have to be read anew, the caller's `seek` is asked to, before anything is noted.
#[derive(Debug, Default)]
pub(super) struct OffsetTracker {
    batch: Batch,
    next: usize,
    /// Messages before this one are in `finished` as far as they are.
    accounted: usize,
    open: Option<UnfinishedOffset>,
    /// The places after a list that is open and whose messages are not kept any more.
    aside: Offsets,
    /// From which message of the batch on those of a partition are not given out: it was sought, paused or revoked.
    gone: HashMap<TopicPartition, usize>,
    /// Messages that are not given out, nor again: left out, or committed while they were open.
    done: BTreeSet<usize>,
    /// Offsets the hub was not told of yet.
    finished: Offsets,
    /// Offsets known to be finished, told or not.
    position: Offsets,
    /// Where partitions go on after a seek, until a message of theirs was given out.
    sought: Offsets,
}

/// What was given out and is not finished.
#[derive(Clone, Copy, Debug)]
struct UnfinishedOffset {
    by: u64,
    start: usize,
    list: bool,
}

impl OffsetTracker {
    /// The loop `by` asks for more: it has finished with what it had. In the first question of a new loop, or of who
    /// asks without one (0), what another loop left open comes again.
    pub(super) fn ask(&mut self, by: u64, begins: bool, seek: impl FnMut(&Position) -> Result<()>) -> Result<()> {
        match self.open {
            Some(open) if open.by != by && open.by != 0 && (begins || by == 0) => self.go_back(open, seek),
            Some(open) if !open.list => {
                self.open = None;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Gives out again what is open.
    fn go_back(&mut self, open: UnfinishedOffset, mut seek: impl FnMut(&Position) -> Result<()>) -> Result<()> {
        self.account(open.start);
        // What was paused since then is read anew once it is resumed.
        let mut anew = Offsets::new();
        for index in (open.start..self.next).rev().filter(|index| !self.done.contains(index)) {
            let Some((topic, partition, offset)) = self.batch.place(index) else { continue };
            let place = (topic.clone(), partition);
            if self.gone.get(&place).is_some_and(|from| *from > index) {
                anew.insert(place, offset);
            }
        }
        for (place, offset) in anew {
            seek(&position(&place, offset))?;
            self.gone.insert(place, open.start);
        }
        self.next = open.start;
        self.open = None;
        Ok(())
    }

    /// The next message to be given out or left out.
    pub(super) fn peek(&mut self) -> Option<Message<'_>> {
        while let Some((topic, partition, _)) = self.batch.place(self.next) {
            let gone = !self.gone.is_empty()
                && self.gone.get(&(topic.clone(), partition)).is_some_and(|from| self.next >= *from);
            if !gone && (self.done.is_empty() || !self.done.contains(&self.next)) {
                break;
            }
            self.next += 1;
        }
        self.batch.get(self.next)
    }

    /// From here on, messages given out are those of one list of the loop `by`.
    pub(super) fn open_list(&mut self, by: u64) {
        match self.open {
            Some(open) if open.by != by => return,
            // The list before is open still, and told message by message.
            Some(_) => self.set_aside(),
            None => {}
        }
        self.open = Some(UnfinishedOffset { by, start: self.next, list: true });
    }

    /// There was nothing for the list: what was left out is all there was.
    pub(super) fn empty_list(&mut self) {
        self.open = None;
    }

    /// The list comes again as a whole.
    pub(super) fn take_list_back(&mut self) {
        if let Some(open) = self.open.take() {
            self.next = open.start;
        }
    }

    /// The current message is given out, by itself or in the list.
    pub(super) fn give(&mut self, by: u64) {
        if self.open.is_none() {
            self.open = Some(UnfinishedOffset { by, start: self.next, list: false });
        }
        if !self.sought.is_empty()
            && let Some((topic, partition, _)) = self.batch.place(self.next)
        {
            self.sought.remove(&(topic.clone(), partition));
        }
        self.next += 1;
    }

    /// The current message is left out; it is finished with what stands before it.
    pub(super) fn leave_out(&mut self) {
        self.done.insert(self.next);
        self.next += 1;
    }

    /// The last list of the loop `by` is handled.
    pub(super) fn handled_list(&mut self, by: u64) {
        if self.open.is_some_and(|open| open.list && open.by == by) {
            self.open = None;
        }
        for (place, offset) in std::mem::take(&mut self.aside) {
            self.finish(place, offset);
        }
    }

    /// What is before these offsets is handled.
    pub(super) fn handled(&mut self, places: impl IntoIterator<Item = (TopicPartition, i64)>) {
        for (place, offset) in places {
            self.finish(place, offset);
        }
    }

    fn finish(&mut self, place: TopicPartition, offset: i64) {
        self.position.insert(place.clone(), offset);
        self.finished.insert(place, offset);
    }

    /// The places after these messages, without those that were sought, paused or revoked since.
    fn after(&self, range: Range<usize>) -> Offsets {
        let mut places = Offsets::new();
        let mut last: Option<(TopicPartition, i64)> = None;
        for index in range {
            let Some((topic, partition, offset)) = self.batch.place(index) else { break };
            if let Some(((known, number), after)) = &mut last
                && *number == partition
                && Arc::ptr_eq(known, topic)
                && self.gone.is_empty()
            {
                *after = offset + 1;
                continue;
            }
            places.extend(last.take());
            let place = (topic.clone(), partition);
            if self.gone.get(&place).is_none_or(|from| *from > index) {
                last = Some((place, offset + 1));
            }
        }
        places.extend(last);
        places
    }

    /// The places after what is open.
    fn after_open(&self) -> Offsets {
        self.open.map_or_else(Offsets::new, |open| self.after(open.start..self.next))
    }

    /// Takes in what is finished before the message `end`.
    fn account(&mut self, end: usize) {
        if self.accounted < end {
            for (place, offset) in self.after(self.accounted..end) {
                self.finish(place, offset);
            }
            self.accounted = end;
        }
    }

    fn account_finished(&mut self) {
        self.account(self.open.map_or(self.next, |open| open.start));
    }

    /// Keeps what is open in mind, whose messages go.
    fn set_aside(&mut self) {
        self.account_finished();
        let places = self.after_open();
        if self.open.take().is_some() {
            self.aside.extend(places);
            self.accounted = self.next;
        }
    }

    /// The batch, empty, to be filled anew.
    pub(super) fn refill(&mut self) -> &mut Batch {
        self.set_aside();
        self.clear();
        &mut self.batch
    }

    /// Forgets what was fetched; what is open of it is not finished.
    pub(super) fn clear(&mut self) {
        self.open = None;
        self.batch.clear();
        (self.next, self.accounted) = (0, 0);
        self.gone.clear();
        self.done.clear();
    }

    /// What there is of these partitions came after they did.
    pub(super) fn assigned(&mut self, places: &[TopicPartition]) {
        self.gone.retain(|place, _| !places.contains(place));
    }

    /// What was fetched of these partitions is for their next owner.
    pub(super) fn leave_to_others(&mut self, places: &[TopicPartition]) {
        for place in places {
            self.gone.insert(place.clone(), 0);
        }
    }

    /// These partitions are another member's: nothing is known of them any more.
    pub(super) fn revoked(&mut self, places: &[TopicPartition]) {
        self.leave_to_others(places);
        for place in places {
            for known in [&mut self.finished, &mut self.position, &mut self.aside, &mut self.sought] {
                known.remove(place);
            }
        }
    }

    /// The partition goes on at another offset, whatever of it was finished.
    pub(super) fn sought(&mut self, place: TopicPartition, offset: i64) {
        self.account_finished();
        for known in [&mut self.finished, &mut self.position, &mut self.aside] {
            known.remove(&place);
        }
        self.sought.insert(place.clone(), offset);
        self.gone.insert(place, 0);
    }

    /// What was fetched of these partitions and not given out is to be read anew, once they are resumed.
    pub(super) fn paused(
        &mut self,
        places: &[TopicPartition],
        mut seek: impl FnMut(&Position) -> Result<()>,
    ) -> Result<()> {
        self.account_finished();
        let start = self.open.map_or(self.next, |open| open.start);
        for place in places {
            let of = |index: &usize| {
                let found = self.batch.place(*index);
                found.is_some_and(|(topic, partition, _)| partition == place.1 && **topic == *place.0)
            };
            if self.gone.contains_key(place) || !(start..self.batch.len()).any(|index| of(&index)) {
                continue;
            }
            let first = (self.next..self.batch.len()).find(of).and_then(|index| self.batch.place(index));
            if let Some((_, _, offset)) = first {
                seek(&position(place, offset))?;
            }
            self.gone.insert(place.clone(), self.next);
        }
        Ok(())
    }

    /// Finishes with what is no message behind the last one: the subscriber's [`passed`](crate::Subscriber::passed).
    pub(super) fn pass(&mut self, passed: impl IntoIterator<Item = Position>) {
        self.account_finished();
        for Position { topic, partition, offset } in passed {
            let place = (topic, partition);
            let known = self.position.get(&place);
            if !self.sought.contains_key(&place) && known.is_none_or(|known| *known < offset) {
                self.finish(place, offset);
            }
        }
    }

    /// Whether all that was given out is finished, and nothing was fetched beyond it.
    pub(super) fn is_caught_up(&self) -> bool {
        self.open.is_none() && self.aside.is_empty() && self.is_used_up()
    }

    /// What is finished and was not committed.
    pub(super) fn finished(&mut self) -> &Offsets {
        self.account_finished();
        &self.finished
    }

    /// The same, and what is open.
    pub(super) fn given(&mut self) -> Offsets {
        self.account_finished();
        let mut places = self.finished.clone();
        places.extend(self.aside.clone());
        places.extend(self.after_open());
        places
    }

    /// All that was [`finished`](Self::finished) is committed, or nobody's to commit any more.
    pub(super) fn finished_committed(&mut self) {
        self.finished.clear();
    }

    /// What was [`given`](Self::given) is committed: it does not come again.
    pub(super) fn given_committed(&mut self, places: &Offsets) {
        self.open = None;
        self.account(self.next);
        self.aside.clear();
        self.forget_up_to(places);
    }

    /// These offsets are committed: what is open before them does not come again.
    pub(super) fn committed(&mut self, places: &Offsets) {
        self.account_finished();
        if let Some(open) = self.open {
            for index in open.start..self.next {
                let Some((topic, partition, offset)) = self.batch.place(index) else { break };
                if places.get(&(topic.clone(), partition)).is_some_and(|next| offset < *next) {
                    self.done.insert(index);
                }
            }
        }
        self.forget_up_to(places);
    }

    fn forget_up_to(&mut self, places: &Offsets) {
        self.finished.retain(|place, offset| places.get(place).is_none_or(|kept| kept < offset));
    }

    /// Where partitions go on for the program, which was not given all that was fetched of them.
    pub(super) fn next_offsets(&self) -> Offsets {
        let mut next = self.sought.clone();
        for index in (self.next..self.batch.len()).rev() {
            if let Some((topic, partition, offset)) = self.batch.place(index) {
                let place = (topic.clone(), partition);
                if !self.gone.contains_key(&place) {
                    next.insert(place, offset);
                }
            }
        }
        next
    }

    /// Messages fetched and not given out.
    pub(super) fn prefetched(&self) -> usize {
        self.batch.len().saturating_sub(self.next)
    }

    /// Whether there is none of them.
    pub(super) fn is_used_up(&self) -> bool {
        self.next >= self.batch.len()
    }
}

fn position(place: &TopicPartition, offset: i64) -> Position {
    Position { topic: place.0.clone(), partition: place.1, offset }
}
