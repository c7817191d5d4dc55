//! The key of a series *as the caller gave it*: kind, name and label pairs, borrowed.
//!
//! A hit must not allocate, sort or sanitise, so the look-up compares what was given with what was given before;
//! every other spelling of the same series (labels in another order) becomes one more entry for it.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

/// Ends every part of a stored key. It occurs in no UTF-8 text, so two different keys never store the same bytes.
const END: u8 = 0xFF;

/// Bytes of a stored scope.
const SCOPE_LEN: usize = 9;

/// What was reported, which decides how it adds up and how it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum MetricKind {
    /// A sum that only grows.
    Counter = 0,
    /// The last value set.
    Gauge = 1,
    /// A distribution in the caller's own unit.
    Histogram = 2,
    /// A distribution of durations, kept in seconds.
    Timing = 3,
}

/// How a value changes a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change {
    /// As its kind has it: added to a counter, set as the level of a gauge, observed by a distribution.
    #[default]
    Report,
    /// Added to the level of a gauge.
    Add,
    /// Set as the total of a counter that somebody else keeps.
    Total,
}

impl MetricKind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 4] = [Self::Counter, Self::Gauge, Self::Histogram, Self::Timing];

    /// The name of the method that reports this kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Timing => "timing",
        }
    }

    /// Whether a series of this kind holds buckets.
    pub const fn is_distribution(self) -> bool {
        matches!(self, Self::Histogram | Self::Timing)
    }

    /// The kind with this number, as [`MetricKind`] `as u8` gives it.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Counter),
            1 => Some(Self::Gauge),
            2 => Some(Self::Histogram),
            3 => Some(Self::Timing),
            _ => None,
        }
    }
}

/// A series as the caller names it, borrowed from the caller.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// Which view of a shared registry asks, and for which kind.
    pub scope: Scope,
    /// The metric's name as given.
    pub name: &'a str,
    /// Label names and values as given, in the order given.
    pub labels: &'a [(&'a str, &'a str)],
}

/// The part of a key that is not text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The number of the view (a collector's prefix and settings) within its registry; no two have the same.
    pub view: u64,
    /// What is reported.
    pub kind: MetricKind,
}

impl Scope {
    fn bytes(self) -> [u8; SCOPE_LEN] {
        let mut bytes = [self.kind as u8; SCOPE_LEN];
        bytes[1..].copy_from_slice(&self.view.to_le_bytes());
        bytes
    }

    /// What the hash of a key begins with; that some views share it costs a comparison.
    const fn seed(self) -> u64 {
        self.view << 2 | self.kind as u64
    }
}

impl Key<'_> {
    /// Hash of the key; the same for every process run, since nothing outside the process chooses names
    /// faster than `max_series` stops them.
    pub fn hash(&self) -> u64 {
        let mut hasher = hasher(self.scope.seed());
        hasher.write(self.name.as_bytes());
        for (name, value) in self.labels {
            hasher.write(name.as_bytes());
            hasher.write(value.as_bytes());
        }
        hasher.finish()
    }

    /// The key as stored bytes.
    pub fn to_stored(&self) -> StoredKey {
        let mut bytes = Vec::with_capacity(self.stored_len());
        bytes.extend_from_slice(&self.scope.bytes());
        for part in self.parts() {
            bytes.extend_from_slice(part.as_bytes());
            bytes.push(END);
        }
        StoredKey(bytes.into_boxed_slice())
    }

    fn parts(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name).chain(self.labels.iter().flat_map(|(name, value)| [*name, *value]))
    }

    fn stored_len(&self) -> usize {
        SCOPE_LEN + self.parts().map(|part| part.len() + 1).sum::<usize>()
    }
}

fn hasher(seed: u64) -> impl Hasher {
    FixedState::with_seed(seed).build_hasher()
}

/// A key kept by an index: scope, then each part followed by a byte that no text contains.
#[derive(Debug)]
pub struct StoredKey(Box<[u8]>);

impl StoredKey {
    /// Whether this is the key that `key` names.
    #[inline]
    pub fn matches(&self, key: &Key<'_>) -> bool {
        let Some(mut rest) = self.0.strip_prefix(&key.scope.bytes()) else { return false };
        for part in key.parts() {
            let part = part.as_bytes();
            if rest.len() <= part.len() || rest[part.len()] != END || &rest[..part.len()] != part {
                return false;
            }
            rest = &rest[part.len() + 1..];
        }
        rest.is_empty()
    }

    /// [`Key::hash`] of the key it was made from.
    pub fn hash(&self) -> u64 {
        let (scope, parts) = self.0.split_at(SCOPE_LEN);
        let view = scope[1..].iter().rev().fold(0, |view, byte| view << 8 | u64::from(*byte));
        let mut hasher = hasher(view << 2 | u64::from(scope[0]));
        // Every part ends with the byte, so what follows the last is not one more.
        for part in parts.strip_suffix(&[END]).unwrap_or(parts).split(|byte| *byte == END) {
            hasher.write(part);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: Scope = Scope { view: 0x0102_0304_0506_0708, kind: MetricKind::Gauge };

    #[test]
    fn a_stored_key_matches_itself_and_nothing_that_joins_to_the_same_text() {
        let key = Key { scope: SCOPE, name: "ab", labels: &[("c", "d")] };
        let stored = key.to_stored();
        assert!(stored.matches(&key));
        for (name, labels) in [
            ("ab", &[("cd", "")][..]),
            ("abc", &[("", "d")]),
            ("ab", &[]),
            ("abcd", &[]),
            ("ab", &[("c", "d"), ("", "")]),
        ] {
            let other = Key { scope: SCOPE, name, labels };
            assert!(!stored.matches(&other), "{name} {labels:?}");
            assert_eq!(other.to_stored().hash(), other.hash(), "{name} {labels:?}");
        }
    }

    #[test]
    fn view_and_kind_are_part_of_the_key() {
        let key = Key { scope: SCOPE, name: "x", labels: &[] };
        for scope in [Scope { view: SCOPE.view + (1 << 16), ..SCOPE }, Scope { kind: MetricKind::Counter, ..SCOPE }] {
            let other = Key { scope, ..key };
            assert!(!key.to_stored().matches(&other));
            assert_ne!(key.hash(), other.hash());
        }
    }

    #[test]
    fn kinds_survive_their_number() {
        for kind in MetricKind::ALL {
            assert_eq!(MetricKind::from_u8(kind as u8), Some(kind));
        }
        assert_eq!(MetricKind::from_u8(4), None);
    }
}
