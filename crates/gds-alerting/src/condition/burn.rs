//! Error budgets: sums over windows, exact to twelve places.

use serde::{Deserialize, Serialize};

use crate::decimal::{Decimal, Number};
use crate::rules::{BurnRate, BurnWindows};

/// Parts of a window; the oldest leaves as a whole.
const BUCKETS: i64 = 30;
const LENGTH: usize = 30;
/// Places after the point that sums keep.
const PLACES: u32 = 12;
const UNIT: f64 = 1e12;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Burn {
    /// Short and long, pair by pair.
    windows: Vec<Window>,
}

impl Burn {
    pub(super) fn new(burn: &BurnRate) -> Self {
        let both = |pair: &BurnWindows| [Window::new(pair.short_ms), Window::new(pair.long_ms)];
        Self { windows: burn.windows.iter().flat_map(both).collect() }
    }

    pub(super) fn fits(&self, burn: &BurnRate) -> bool {
        let lengths = burn.windows.iter().flat_map(|pair| [pair.short_ms, pair.long_ms]);
        self.windows.iter().map(|window| window.bucket_ms).eq(lengths.map(bucket_ms))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.windows.capacity() * size_of::<Window>()
            + self.windows.len() * LENGTH * (size_of::<Sum>() + size_of::<u32>())
    }

    pub(super) fn add(&mut self, at_ms: i64, errors: Number) {
        let scaled = errors.to_decimal().and_then(scaled).unwrap_or_else(|| rounded(errors.to_float()));
        for window in &mut self.windows {
            window.add(at_ms, scaled);
        }
    }

    pub(super) fn burns(&self, burn: &BurnRate) -> bool {
        burn.windows.iter().zip(self.windows.chunks_exact(2)).any(|(pair, windows)| {
            let limit = scaled(pair.limit).unwrap_or_else(|| rounded(pair.limit.to_float()));
            let mut above = windows.iter().map(|window| window.is_above(limit, burn.min_events));
            if pair.both { above.all(|above| above) } else { above.any(|above| above) }
        })
    }
}

fn scaled(number: Decimal) -> Option<i128> {
    number.scaled(PLACES)
}

#[expect(clippy::cast_possible_truncation, reason = "clamped before; what is beyond is no share of errors")]
fn rounded(number: f64) -> i128 {
    (number.clamp(-1e15, 1e15) * UNIT).round() as i128
}

fn bucket_ms(length_ms: i64) -> i64 {
    (length_ms / BUCKETS).max(1)
}

/// A sum; in files as text, which other readers do not round.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Sum(i128);

impl From<Sum> for String {
    fn from(sum: Sum) -> Self {
        sum.0.to_string()
    }
}

impl TryFrom<String> for Sum {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Window {
    bucket_ms: i64,
    /// The newest part, counted from 1970.
    newest: i64,
    sums: Box<[Sum]>,
    counts: Box<[u32]>,
}

impl Window {
    fn new(length_ms: i64) -> Self {
        Self {
            bucket_ms: bucket_ms(length_ms),
            newest: i64::MIN,
            sums: vec![Sum::default(); LENGTH].into(),
            counts: vec![0; LENGTH].into(),
        }
    }

    fn place(bucket: i64) -> usize {
        usize::try_from(bucket.rem_euclid(BUCKETS)).unwrap_or(0)
    }

    fn add(&mut self, at_ms: i64, errors: i128) {
        let bucket = at_ms.div_euclid(self.bucket_ms);
        if bucket > self.newest {
            let oldest_free = self.newest.saturating_add(1).max(bucket - BUCKETS + 1);
            for free in oldest_free..=bucket {
                self.sums[Self::place(free)] = Sum::default();
                self.counts[Self::place(free)] = 0;
            }
            self.newest = bucket;
        } else if bucket <= self.newest - BUCKETS {
            return;
        }
        let place = Self::place(bucket);
        self.sums[place].0 = self.sums[place].0.saturating_add(errors);
        self.counts[place] = self.counts[place].saturating_add(1);
    }

    /// Whether the mean is above a limit. What is not there yet does not count: a partial window is one from the first
    /// sample on.
    fn is_above(&self, limit: i128, min_events: u32) -> bool {
        let count: i128 = self.counts.iter().map(|count| i128::from(*count)).sum();
        let sum = self.sums.iter().fold(0i128, |total, sum| total.saturating_add(sum.0));
        count >= i128::from(min_events) && sum > limit.saturating_mul(count)
    }
}
