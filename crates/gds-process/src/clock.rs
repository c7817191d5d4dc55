//! The time of the system, as messages and files carry it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time since the epoch; none of it on a machine whose clock stands before that.
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A time since the epoch in whole milliseconds.
pub fn milliseconds(since: Duration) -> i64 {
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    milliseconds(since_epoch())
}
