//! Time as the core sees it, so that tests can hold it still.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Wall-clock time in milliseconds since the Unix epoch.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The operating system's.
    #[default]
    System,
    /// One that a test moves.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// A clock that stands at `millis` until [`Clock::advance`].
    pub fn manual(millis: u64) -> Self {
        Self::Manual(Arc::new(AtomicU64::new(millis)))
    }

    /// Milliseconds since the Unix epoch, within a few milliseconds and for the price of a memory read:
    /// this stamps updates on the hot path.
    #[inline]
    pub fn coarse_millis(&self) -> u64 {
        match self {
            Self::System => coarse_system_millis(),
            Self::Manual(millis) => millis.load(Ordering::Relaxed),
        }
    }

    /// Nanoseconds since the Unix epoch.
    pub fn now_nanos(&self) -> u64 {
        match self {
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
            }
            Self::Manual(millis) => millis.load(Ordering::Relaxed) * 1_000_000,
        }
    }

    /// Moves a manual clock forward; the system's cannot be moved.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(millis) = self {
            millis.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}

#[cfg(target_os = "linux")]
fn coarse_system_millis() -> u64 {
    // CLOCK_REALTIME_COARSE is read from the vDSO page without a timer access: a few nanoseconds, 1-4 ms old.
    let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

#[cfg(not(target_os = "linux"))]
fn coarse_system_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coarse_and_fine_time_agree() {
        let clock = Clock::System;
        let fine = clock.now_nanos() / 1_000_000;
        assert!(clock.coarse_millis().abs_diff(fine) < 100);
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(5);
        clock.advance(Duration::from_secs(2));
        assert_eq!((clock.coarse_millis(), clock.now_nanos()), (2005, 2_005_000_000));
    }
}
