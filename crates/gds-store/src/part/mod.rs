//! Parts: immutable folders with the samples of one day and one class of retention. `data` has blocks of samples, `index`
//! says which series there are and where their blocks stand. Each block and each section has its checksum.

pub(crate) mod index;
pub(crate) mod page;
pub(crate) mod read;
pub(crate) mod write;

use serde::{Deserialize, Serialize};

use crate::samples::Range;

/// The file of a part with its samples.
pub(crate) const DATA: &str = "data";
/// The file of a part that says where they are.
pub(crate) const INDEX: &str = "index";

/// What is known of a part without opening it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartInfo {
    /// Its number, which no other part ever has.
    pub(crate) id: u64,
    /// The newest generation of the log that is in it. Of samples at the same time that of the newest part counts.
    pub(crate) generation: u64,
    /// Days since 1970.
    pub(crate) day: i64,
    /// The name of its class of retention.
    pub(crate) class: String,
    /// The first time of a sample.
    pub(crate) oldest: i64,
    /// The last time of a sample.
    pub(crate) newest: i64,
    /// How many series it has.
    pub(crate) series: u64,
    /// How many samples it has.
    pub(crate) samples: u64,
    /// Bytes of its files.
    pub(crate) bytes: u64,
    /// The last deletion that is carried out in it.
    pub(crate) deletion: u64,
}

impl PartInfo {
    /// The name of its folder.
    pub(crate) fn folder(&self) -> String {
        format!("{:012}", self.id)
    }

    /// Whether a sample may be within a time.
    pub(crate) fn overlaps(&self, (start, end): Range) -> bool {
        self.oldest <= end && self.newest >= start
    }
}

/// Milliseconds of a day.
pub(crate) const DAY: i64 = 86_400_000;

/// The day of a time.
pub(crate) fn day_of(time: i64) -> i64 {
    time.div_euclid(DAY)
}

/// The first and the last millisecond of a day.
pub(crate) fn range_of(day: i64) -> Range {
    let start = day.saturating_mul(DAY);
    (start, start.saturating_add(DAY - 1))
}
