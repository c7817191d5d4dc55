//! Functions: what each makes of a value, of a window, or of labels.

#![allow(clippy::unnecessary_wraps, reason = "functions over windows are called alike; few of them can fail")]

pub(super) mod changes;
pub(super) mod elementwise;
pub(super) mod extended_rate;
mod growth;
pub(super) mod histogram;
pub(super) mod instant_rate;
pub(super) mod label;
pub(super) mod over_time;
pub(super) mod range_call;
pub(super) mod rate;
pub(super) mod scalar;
pub(super) mod sort;
pub(super) mod time_of;
pub(super) mod trend;
