//! One series between two flushes: a sum, a last value, or values that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use gds_process::sync::Mutex;
use rand::Rng;

use crate::key::Change;
use crate::key::MetricKind;

use super::{Outcome, Reason};
use crate::cells;
use crate::index::Spelling;
use crate::key::Key;

impl Spelling for Series {
    // Its text is made for the wire: every key is kept.
    fn has_spelling(&self, _: &Key<'_>) -> bool {
        false
    }

    fn hash(&self) -> u64 {
        0
    }
}

/// A name with tags, rendered once, and what was reported since the last flush.
pub(super) struct Series {
    /// `prefix.name:`
    pub(super) name: Arc<str>,
    /// `|#tag:value`, or nothing.
    pub(super) tags: Arc<str>,
    /// Number of keys that lead here; written under the registry's lock.
    pub(super) aliases: AtomicUsize,
    pub(super) state: State,
}

pub(super) enum State {
    Counter(Sum),
    Gauge(Last),
    Samples { code: &'static str, waiting: Mutex<Reservoir> },
}

impl Series {
    pub(super) fn new(kind: MetricKind, name: Arc<str>, tags: Arc<str>) -> Self {
        let state = match kind {
            MetricKind::Counter => State::Counter(Sum::default()),
            MetricKind::Gauge => State::Gauge(Last::default()),
            MetricKind::Histogram => State::Samples { code: "|h", waiting: Mutex::default() },
            MetricKind::Timing => State::Samples { code: "|ms", waiting: Mutex::default() },
        };
        Self { name, tags, aliases: AtomicUsize::new(0), state }
    }

    /// Takes a finite value, for a counter one that is not negative.
    #[inline]
    pub(super) fn observe(&self, value: f64, change: Change, buffer: &Buffer) -> Outcome {
        match &self.state {
            State::Counter(sum) if sum.add(value) => Outcome::Counted,
            State::Counter(_) => Outcome::Dropped(Reason::SumNotFinite),
            State::Gauge(last) => {
                match change {
                    Change::Add => last.add(value),
                    _ => last.set(value),
                }
                Outcome::Counted
            }
            State::Samples { waiting, .. } => waiting.lock().observe(value, buffer),
        }
    }

    /// Puts back a value that was not sent.
    pub(super) fn restore_sample(&self, value: f64, weight: u64) {
        if let State::Samples { waiting, .. } = &self.state {
            waiting.lock().restore(value, weight);
        }
    }

    /// Whether a flush would send something.
    pub(super) fn is_due(&self, resend: Resend) -> bool {
        match &self.state {
            State::Counter(sum) => sum.0.load(Ordering::Relaxed) != 0,
            State::Gauge(last) => last.is_due(resend),
            State::Samples { waiting, .. } => !waiting.lock().values.is_empty(),
        }
    }
}

/// A sum of increments as the bits of an `f64`; zero bits are zero.
#[derive(Default)]
pub(super) struct Sum(AtomicU64);

impl Sum {
    /// Adds, unless the sum would be infinite: then nothing of it could be sent.
    fn add(&self, value: f64) -> bool {
        let added = |bits| {
            let sum = f64::from_bits(bits) + value;
            sum.is_finite().then_some(sum.to_bits())
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added).is_ok()
    }

    /// What was added since the last time.
    pub(super) fn take(&self) -> f64 {
        f64::from_bits(self.0.swap(0, Ordering::Relaxed))
    }

    /// Puts back what was not sent.
    pub(super) fn restore(&self, delta: f64) {
        let added = |bits| Some((f64::from_bits(bits) + delta).min(f64::MAX).to_bits());
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
    }
}

/// Now, and after how long a gauge is sent without having been set.
#[derive(Clone, Copy)]
pub(super) struct Resend {
    pub(super) now_millis: u64,
    pub(super) after_millis: Option<u64>,
}

/// The last value set.
pub(super) struct Last {
    bits: AtomicU64,
    unsent: AtomicBool,
    ever_set: AtomicBool,
    /// Written by the flush alone.
    sent_at_millis: AtomicU64,
}

impl Default for Last {
    fn default() -> Self {
        Self {
            bits: AtomicU64::new(0),
            unsent: AtomicBool::new(false),
            ever_set: AtomicBool::new(false),
            sent_at_millis: AtomicU64::new(0),
        }
    }
}

impl Last {
    fn set(&self, value: f64) {
        self.bits.store(value.to_bits(), Ordering::Relaxed);
        self.was_set();
    }

    fn add(&self, delta: f64) {
        cells::add_f64(&self.bits, delta);
        self.was_set();
    }

    fn was_set(&self) {
        self.ever_set.store(true, Ordering::Relaxed);
        // Released after the value: a flush that misses this one leaves the mark for the next.
        self.unsent.store(true, Ordering::Release);
    }

    fn is_due(&self, resend: Resend) -> bool {
        // A clock that was set back makes a gauge due at once rather than never.
        let is_old = |after| self.sent_at_millis.load(Ordering::Relaxed).abs_diff(resend.now_millis) >= after;
        self.unsent.load(Ordering::Acquire)
            || (self.ever_set.load(Ordering::Relaxed) && resend.after_millis.is_some_and(is_old))
    }

    /// The value, if it is to be sent now.
    pub(super) fn take(&self, resend: Resend) -> Option<f64> {
        if !self.is_due(resend) {
            return None;
        }
        self.unsent.swap(false, Ordering::Acquire);
        self.sent_at_millis.store(resend.now_millis, Ordering::Relaxed);
        Some(f64::from_bits(self.bits.load(Ordering::Relaxed)))
    }

    /// Has the value of that time, which may be a newer one, sent again.
    pub(super) fn restore(&self) {
        self.unsent.store(true, Ordering::Release);
    }
}

/// The places that values of all series share while they wait.
pub(super) struct Buffer {
    taken: AtomicUsize,
    places: usize,
    places_per_series: usize,
    /// Values that no line stands for.
    pub(super) dropped: AtomicU64,
    /// Values that another value's sample rate stands for.
    pub(super) thinned: AtomicU64,
}

impl Buffer {
    pub(super) fn new(places: usize) -> Self {
        Self {
            taken: AtomicUsize::new(0),
            places,
            places_per_series: places.div_ceil(2),
            dropped: AtomicU64::new(0),
            thinned: AtomicU64::new(0),
        }
    }

    fn take(&self) -> bool {
        let next = |taken| (taken < self.places).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Gives places back once their values are sent or given up.
    pub(super) fn release(&self, places: usize) {
        self.taken.fetch_sub(places, Ordering::Relaxed);
    }

    /// Places in use.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Values that wait, and how many they stand for: a uniform sample (Vitter's algorithm R) once places run out.
#[derive(Default)]
pub(super) struct Reservoir {
    values: Vec<f64>,
    seen: u64,
}

impl Reservoir {
    fn observe(&mut self, value: f64, buffer: &Buffer) -> Outcome {
        // Once a value was passed over, taking a free place would favour the values that come late.
        let is_complete = self.seen == self.values.len() as u64;
        if is_complete && self.values.len() < buffer.places_per_series && buffer.take() {
            self.seen += 1;
            self.values.push(value);
            return Outcome::Counted;
        }
        if self.values.is_empty() {
            buffer.dropped.fetch_add(1, Ordering::Relaxed);
            return Outcome::Dropped(Reason::BufferFull);
        }
        self.seen += 1;
        buffer.thinned.fetch_add(1, Ordering::Relaxed);
        let place = usize::try_from(gds_process::random::rng().random_range(0..self.seen));
        if let Some(kept) = place.ok().and_then(|place| self.values.get_mut(place)) {
            *kept = value;
        }
        Outcome::Counted
    }

    /// Everything that waits, each value with the number of values it stands for. The numbers are whole and add up
    /// to what was seen, which keeps the totals right on servers that cut `1 / rate` to a whole number.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (f64, u64)> + use<> {
        let Self { mut values, seen } = std::mem::take(self);
        let count = values.len().max(1) as u64;
        let (weight, one_more) = (seen / count, seen % count);
        if one_more > 0 {
            // The early places hold early values more often, so those that weigh more start anywhere.
            let start = gds_process::random::rng().random_range(0..values.len());
            values.rotate_left(start);
        }
        values.into_iter().zip(0_u64..).map(move |(value, at)| (value, weight + u64::from(at < one_more)))
    }

    /// Puts back a value that was not sent; it never gave up its place.
    fn restore(&mut self, value: f64, weight: u64) {
        self.values.push(value);
        self.seen += weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGES_ONLY: Resend = Resend { now_millis: 0, after_millis: None };

    #[test]
    fn a_sum_gives_each_increment_once() {
        let sum = Sum::default();
        assert!(sum.add(2.5) && sum.add(1.0));
        let delta = sum.take();
        sum.add(1.0);
        sum.restore(delta);
        assert_eq!((sum.take().to_bits(), sum.take().to_bits()), (4.5_f64.to_bits(), 0));
    }

    #[test]
    fn a_sum_stays_finite() {
        let sum = Sum::default();
        assert!(sum.add(f64::MAX) && !sum.add(f64::MAX));
        sum.restore(f64::MAX);
        assert_eq!(sum.take().to_bits(), f64::MAX.to_bits());
    }

    #[test]
    fn a_gauge_is_due_when_set_and_when_its_time_is_over() {
        let last = Last::default();
        let at = |now_millis| Resend { now_millis, after_millis: Some(10) };
        assert_eq!(last.take(at(100)), None);
        last.set(3.0);
        assert_eq!(last.take(at(100)), Some(3.0));
        assert_eq!(last.take(at(109)), None);
        assert_eq!(last.take(at(110)), Some(3.0));
        assert_eq!(last.take(at(90)), Some(3.0), "the clock was set back");
        assert_eq!(last.take(CHANGES_ONLY), None);
        last.restore();
        assert_eq!(last.take(CHANGES_ONLY), Some(3.0));
    }

    #[test]
    fn a_full_reservoir_keeps_a_fair_share_and_the_total() {
        let buffer = Buffer::new(200);
        let mut reservoir = Reservoir::default();
        let (mut late, mut kept) = (0, 0);
        for _ in 0..50 {
            for n in 0..1050_u32 {
                assert_eq!(reservoir.observe(f64::from(n), &buffer), Outcome::Counted);
            }
            assert_eq!(buffer.taken(), 100);
            let taken: Vec<_> = reservoir.take().collect();
            assert_eq!(taken.iter().map(|(_, weight)| weight).sum::<u64>(), 1050);
            assert!(taken.iter().all(|(_, weight)| matches!(weight, 10 | 11)));
            late += taken.iter().filter(|(value, _)| *value >= 525.0).count();
            kept += taken.len();
            buffer.release(taken.len());
        }
        // Half of 5000, seven standard deviations wide.
        assert_eq!(kept, 5000);
        assert!((2250..2750).contains(&late), "{late}");
        assert_eq!(buffer.thinned.load(Ordering::Relaxed), 50 * 950);
    }

    #[test]
    fn a_series_without_a_value_cannot_be_thinned_and_counts_the_drop() {
        let buffer = Buffer::new(1);
        let (mut hot, mut cold) = (Reservoir::default(), Reservoir::default());
        assert_eq!(hot.observe(1.0, &buffer), Outcome::Counted);
        assert_eq!(cold.observe(1.0, &buffer), Outcome::Dropped(Reason::BufferFull));
        assert_eq!(hot.observe(1.0, &buffer), Outcome::Counted);
        assert_eq!(buffer.dropped.load(Ordering::Relaxed), 1);
        assert_eq!(buffer.thinned.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_place_that_becomes_free_amid_thinning_does_not_favour_late_values() {
        let buffer = Buffer::new(4);
        let (mut one, mut other) = (Reservoir::default(), Reservoir::default());
        for n in 0..2 {
            let _ = other.observe(f64::from(n), &buffer);
        }
        let _ = one.observe(1.0, &buffer);
        assert!(buffer.take());
        let _ = one.observe(2.0, &buffer);
        buffer.release(1);
        let _ = one.observe(3.0, &buffer);
        let taken: Vec<_> = one.take().collect();
        assert!(matches!(taken[..], [(_, 3)]), "{taken:?}");
    }

    #[test]
    fn what_comes_back_joins_what_came_meanwhile() {
        let buffer = Buffer::new(10);
        let mut reservoir = Reservoir::default();
        reservoir.observe(1.0, &buffer);
        reservoir.observe(2.0, &buffer);
        let taken: Vec<_> = reservoir.take().collect();
        reservoir.observe(3.0, &buffer);
        for (value, weight) in taken {
            reservoir.restore(value, weight);
        }
        let mut all: Vec<_> = reservoir.take().collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert_eq!(all, [(1.0, 1), (2.0, 1), (3.0, 1)]);
    }
}
