//! Numbers that are unlike what they were. What is normal is learnt from all samples; one that is not moves it little.

use serde::{Deserialize, Serialize};

use crate::rules::{Anomaly, Baseline, Direction};

/// Turns a median of distances into a standard deviation, were the values normally distributed.
const MAD_TO_SIGMA: f64 = 1.4826;
const HOUR_MS: i64 = 3_600_000;
const HOURS: usize = 168;
const WEEK_HOURS: i64 = 168;
/// An hour of the week forgets over about so many samples.
const HOUR_SPAN: u16 = 500;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    normal: Normal,
    /// Whether the last samples were anomalous, the newest in the lowest bit.
    recent: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Normal {
    Ewma {
        mean: f64,
        variance: f64,
        count: u32,
    },
    Robust {
        last: Vec<f64>,
        next: usize,
        size: u32,
    },
    /// Mean and variance of each hour, and from how many samples.
    HourOfWeek {
        moments: Vec<[f32; 2]>,
        counts: Vec<u16>,
    },
}

impl Memory {
    pub(super) fn new(anomaly: &Anomaly) -> Self {
        let normal = match anomaly.baseline {
            Baseline::Ewma { .. } => Normal::Ewma { mean: 0.0, variance: 0.0, count: 0 },
            Baseline::Robust { samples } => Normal::Robust { last: Vec::new(), next: 0, size: samples },
            Baseline::HourOfWeek => Normal::HourOfWeek { moments: vec![[0.0; 2]; HOURS], counts: vec![0; HOURS] },
        };
        Self { normal, recent: 0 }
    }

    pub(super) fn fits(&self, anomaly: &Anomaly) -> bool {
        match (&self.normal, anomaly.baseline) {
            (Normal::Ewma { .. }, Baseline::Ewma { .. }) => true,
            (Normal::Robust { size, .. }, Baseline::Robust { samples }) => *size == samples,
            (Normal::HourOfWeek { moments, counts }, Baseline::HourOfWeek) => {
                moments.len() == HOURS && counts.len() == HOURS
            }
            _ => false,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match &self.normal {
            Normal::Ewma { .. } => 0,
            Normal::Robust { last, .. } => last.capacity() * size_of::<f64>(),
            Normal::HourOfWeek { .. } => HOURS * (size_of::<[f32; 2]>() + size_of::<u16>()),
        }
    }

    /// Takes a value; whether enough of the last ones were anomalous.
    pub(super) fn add(&mut self, anomaly: &Anomaly, at_ms: i64, value: f64) -> bool {
        let normal = self.normal.expect(at_ms);
        let strange = normal.is_some_and(|(centre, sigma, count)| {
            count >= anomaly.warm_up && is_strange(anomaly, value - centre, centre, sigma)
        });
        self.normal.learn(anomaly, at_ms, value);
        self.recent = self.recent << 1 | u32::from(strange);
        let mask = u32::MAX >> (32 - anomaly.n.clamp(1, 32));
        (self.recent & mask).count_ones() >= anomaly.k
    }
}

fn is_strange(anomaly: &Anomaly, deviation: f64, centre: f64, sigma: f64) -> bool {
    let wrong_way = match anomaly.direction {
        Direction::Up => deviation <= 0.0,
        Direction::Down => deviation >= 0.0,
        Direction::Both => deviation == 0.0,
    };
    let size = deviation.abs();
    !wrong_way
        && size > anomaly.sensitivity * sigma
        && size >= anomaly.min_absolute
        && size >= anomaly.min_relative * centre.abs()
}

/// Mean and variance with a value more; `share` is its weight. A value far off counts as one at the limit, so that what is
/// wrong does not become normal at once.
fn moved(mean: f64, variance: f64, value: f64, share: f64, limit: Option<f64>) -> (f64, f64) {
    let mut difference = value - mean;
    if let Some(limit) = limit.map(|sigmas| sigmas * variance.sqrt()).filter(|limit| *limit > 0.0) {
        difference = difference.clamp(-limit, limit);
    }
    let step = share * difference;
    (mean + step, (1.0 - share) * (variance + difference * step))
}

impl Normal {
    fn hour(at_ms: i64) -> usize {
        usize::try_from(at_ms.div_euclid(HOUR_MS).rem_euclid(WEEK_HOURS)).unwrap_or(0)
    }

    /// Centre, standard deviation, and from how many samples.
    fn expect(&self, at_ms: i64) -> Option<(f64, f64, u32)> {
        match self {
            Self::Ewma { mean, variance, count } => Some((*mean, variance.sqrt(), *count)),
            Self::Robust { last, .. } => {
                let centre = median(last.clone())?;
                let distance = median(last.iter().map(|value| (value - centre).abs()).collect())?;
                Some((centre, MAD_TO_SIGMA * distance, u32::try_from(last.len()).unwrap_or(u32::MAX)))
            }
            Self::HourOfWeek { moments, counts } => {
                let [mean, variance] = *moments.get(Self::hour(at_ms))?;
                Some((f64::from(mean), f64::from(variance).sqrt(), u32::from(*counts.get(Self::hour(at_ms))?)))
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "an hour keeps seven digits, which is enough for a baseline")]
    fn learn(&mut self, anomaly: &Anomaly, at_ms: i64, value: f64) {
        match self {
            Self::Ewma { mean, variance, count } => {
                let Baseline::Ewma { span } = anomaly.baseline else { return };
                *count = count.saturating_add(1);
                let limit = (*count > anomaly.warm_up).then_some(anomaly.sensitivity);
                let share = (2.0 / (f64::from(span) + 1.0)).max(1.0 / f64::from(*count));
                (*mean, *variance) = moved(*mean, *variance, value, share, limit);
            }
            Self::Robust { last, next, size } => {
                if last.len() < *size as usize {
                    last.push(value);
                } else {
                    last[*next] = value;
                    *next = (*next + 1) % last.len();
                }
            }
            Self::HourOfWeek { moments, counts } => {
                let hour = Self::hour(at_ms);
                let (Some([mean, variance]), Some(count)) = (moments.get_mut(hour), counts.get_mut(hour)) else {
                    return;
                };
                *count = (*count + 1).min(HOUR_SPAN);
                let limit = (u32::from(*count) > anomaly.warm_up).then_some(anomaly.sensitivity);
                let share = 1.0 / f64::from(*count);
                let moved = moved(f64::from(*mean), f64::from(*variance), value, share, limit);
                (*mean, *variance) = (moved.0 as f32, moved.1 as f32);
            }
        }
    }
}

/// The upper of two in the middle: a baseline does not need the mean of them.
fn median(mut values: Vec<f64>) -> Option<f64> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f64::total_cmp).1)
}
