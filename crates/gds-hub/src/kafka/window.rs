//! How much librdkafka has in its hands at a time.
//!
//! With more than it can have under way it turns in circles: once the oldest record waits longer than `linger.ms`, its
//! broker thread polls without a pause until an answer makes room, and memory for the records is taken from the system
//! and given back all the time. What waits in our own queue costs nothing. So it gets two batches, one under way and
//! one to be filled, and more where answers take long, as on a wide network, where that would be the limit.

use std::time::{Duration, Instant};

/// A wait of this length is one for the network rather than for the broker's work.
const FAR: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Window {
    least: usize,
    now: usize,
    most: usize,
    full_since: Option<Instant>,
}

impl Window {
    /// For batches of `batch` bytes, and at most `most` bytes in all.
    pub(super) fn new(batch: usize, most: usize) -> Self {
        let least = batch.saturating_mul(2).min(most);
        Self { least, now: least, most, full_since: None }
    }

    /// Whether there is room for `more` bytes beside those under way. There is for one record of any size.
    pub(super) fn has_room(&mut self, under_way: usize, more: usize) -> bool {
        if under_way > 0 && under_way.saturating_add(more) > self.now {
            self.full_since.get_or_insert_with(Instant::now);
            return false;
        }
        if let Some(since) = self.full_since.take() {
            self.waited(since.elapsed());
        }
        true
    }

    fn waited(&mut self, time: Duration) {
        self.now = if time >= FAR {
            self.now.saturating_mul(2).min(self.most)
        } else {
            (self.now - self.now / 8).max(self.least)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_any_size_goes_alone_and_the_next_waits() {
        let mut window = Window::new(100, 1000);
        assert!(window.has_room(0, 5000));
        assert!(!window.has_room(5000, 1));
        assert!(window.has_room(199, 1));
        assert!(!window.has_room(199, 2));
    }

    #[test]
    fn it_grows_with_long_waits_to_its_most_and_shrinks_with_short_ones_to_its_least() {
        let mut window = Window::new(100, 1000);
        for expected in [400, 800, 1000, 1000] {
            window.waited(FAR);
            assert_eq!(window.now, expected);
        }
        window.waited(FAR / 2);
        assert_eq!(window.now, 875);
        for _ in 0..50 {
            window.waited(Duration::ZERO);
        }
        assert_eq!(window.now, 200);
    }

    #[test]
    fn batches_larger_than_all_there_is_get_all_there_is() {
        assert!(Window::new(usize::MAX, 1000).has_room(999, 1));
    }
}
