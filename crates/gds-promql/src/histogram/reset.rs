//! Whether a counter was reset between two histograms.

use super::arithmetic::reduced;
use super::{Buckets, CounterResetHint, FloatHistogram};

impl FloatHistogram {
    /// Whether the counter was reset between `previous` and this one: what its hint says, else whether any count is
    /// smaller than before, or a bucket is missing that had observations, or resolution or zero bucket changed as only a
    /// reset changes them.
    pub fn detect_reset(&self, previous: &Self) -> bool {
        match self.counter_reset_hint {
            CounterResetHint::Reset => return true,
            CounterResetHint::NotReset => return false,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        self.is_below(previous)
    }

    /// Likewise, whatever the hint says.
    pub(crate) fn is_below(&self, previous: &Self) -> bool {
        if self.count < previous.count {
            return true;
        }
        if self.uses_custom_buckets() {
            if !previous.uses_custom_buckets() {
                return true;
            }
            if self.custom_values != previous.custom_values {
                return self.is_below_at_common_bounds(previous);
            }
            return side_is_below(&self.positive, &previous.positive);
        }
        if previous.uses_custom_buckets()
            || self.schema > previous.schema
            || self.zero_threshold < previous.zero_threshold
        {
            return true;
        }
        let (zero_count, threshold) = previous.zero_count_for(self.zero_threshold);
        if threshold > self.zero_threshold || self.zero_count < zero_count {
            return true;
        }
        [(&self.positive, &previous.positive), (&self.negative, &previous.negative)].into_iter().any(|(own, before)| {
            let before = reduced(before, previous.schema, self.schema);
            let beyond = |index: i32| {
                self.zero_threshold <= 0.0 || super::bounds::exponential(index, self.schema) > self.zero_threshold
            };
            let first = before.index.partition_point(|index| !beyond(*index));
            let before = Buckets { index: before.index[first..].to_vec(), count: before.count[first..].to_vec() };
            side_is_below(own, &before)
        })
    }

    /// Whether what is up to a bound that both have, and above the last such bound, is less than before.
    fn is_below_at_common_bounds(&self, previous: &Self) -> bool {
        let up_to = |histogram: &Self, from: usize, bound: f64| -> (f64, usize) {
            let bounds = &histogram.custom_values;
            let end = bounds.partition_point(|own| *own <= bound);
            let end = if bound.is_infinite() { bounds.len() + 1 } else { end };
            let within = histogram
                .positive
                .iter()
                .filter(|(index, _)| usize::try_from(*index).is_ok_and(|index| (from..end).contains(&index)));
            (within.map(|(_, count)| count).sum(), end)
        };
        let (mut own_from, mut previous_from) = (0, 0);
        let common = self.custom_values.iter().filter(|bound| previous.custom_values.contains(bound)).copied();
        for bound in common.chain([f64::INFINITY]) {
            let (own, own_end) = up_to(self, own_from, bound);
            let (before, previous_end) = up_to(previous, previous_from, bound);
            if own < before {
                return true;
            }
            (own_from, previous_from) = (own_end, previous_end);
        }
        false
    }
}

fn side_is_below(own: &Buckets, before: &Buckets) -> bool {
    let mut at = 0;
    before.iter().any(|(index, count)| {
        at += own.index[at..].partition_point(|other| *other < index);
        match own.index.get(at) {
            Some(other) if *other == index => own.count[at] < count,
            _ => count != 0.0,
        }
    })
}
