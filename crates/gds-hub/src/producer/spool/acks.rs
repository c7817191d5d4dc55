//! Which records of a folder are done: all below a mark, and some above it.

use std::collections::VecDeque;

#[derive(Debug)]
pub(in crate::producer) struct Acks {
    mark: u64,
    /// Whether the record at the mark, the one after it and so on is done; the first is not.
    above: VecDeque<bool>,
    done_above: u64,
}

impl Acks {
    pub(super) fn new(mark: u64) -> Self {
        Self { mark, above: VecDeque::new(), done_above: 0 }
    }

    /// Everything below is done.
    pub(super) fn mark(&self) -> u64 {
        self.mark
    }

    /// How many of the records below `next` are not done.
    pub(super) fn open(&self, next: u64) -> u64 {
        next.saturating_sub(self.mark).saturating_sub(self.done_above)
    }

    pub(super) fn is_open(&self, offset: u64) -> bool {
        offset >= self.mark
            && !usize::try_from(offset - self.mark).is_ok_and(|place| self.above.get(place).is_some_and(|done| *done))
    }

    pub(super) fn done(&mut self, offset: u64) {
        if !self.is_open(offset) {
            return;
        }
        let Ok(place) = usize::try_from(offset - self.mark) else { return };
        if self.above.len() <= place {
            self.above.resize(place + 1, false);
        }
        self.above[place] = true;
        self.done_above += 1;
        while self.above.front() == Some(&true) {
            self.above.pop_front();
            self.done_above -= 1;
            self.mark += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_mark_is_the_lowest_open_record(start in 0..5_u64, offsets in vec(0..60_u64, 0..120)) {
            let mut acks = Acks::new(start);
            let mut open: BTreeSet<u64> = (start..60).collect();
            for offset in offsets {
                acks.done(offset);
                open.remove(&offset);
                prop_assert_eq!(acks.mark(), open.first().copied().unwrap_or(60));
                prop_assert_eq!(acks.open(60), open.len() as u64);
                prop_assert_eq!(acks.is_open(offset), false);
            }
        }
    }
}
