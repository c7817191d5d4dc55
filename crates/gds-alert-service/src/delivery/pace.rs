//! When a channel may be tried: backoff, what receivers ask for, a circuit breaker, a rate.

use std::time::Duration;

use gds_process::sync::Mutex;
use tokio::time::Instant;

/// The first pause after a failure; then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Failures in a row, over all of a channel, after which it is left alone ...
const BREAKS_AFTER: u32 = 5;
/// ... for this time; then one message tries it.
const OPEN_FOR: Duration = Duration::from_secs(15);
/// What a receiver may ask for at most.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// How long to wait after so many failures of one message: between half of a time that doubles and the whole.
pub(crate) fn backoff(failures: u32) -> Duration {
    let pause = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    let share: f64 = f64::from(gds_process::random::random::<u32>()) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + share / 2.0)
}

/// What the workers of a channel have in common.
#[derive(Debug)]
pub(crate) struct Pace {
    state: Mutex<State>,
    /// The least time between two messages.
    interval: Duration,
}

#[derive(Debug)]
struct State {
    /// Failures in a row.
    failures: u32,
    /// Nobody tries before.
    not_before: Option<Instant>,
    /// Somebody tries whether the receiver is back, since then.
    probing: Option<Instant>,
    /// When the next message may go by the rate.
    next: Option<Instant>,
}

/// Whether a message may go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Now,
    At(Instant),
}

impl Pace {
    pub(crate) fn new(per_minute: Option<u32>) -> Self {
        let interval = per_minute.map_or(Duration::ZERO, |count| Duration::from_secs(60) / count.max(1));
        Self { state: Mutex::new(State { failures: 0, not_before: None, probing: None, next: None }), interval }
    }

    /// Asks for a turn; one that is given is followed by [`succeeded`](Self::succeeded) or [`failed`](Self::failed).
    pub(crate) fn turn(&self, now: Instant) -> Turn {
        let mut state = self.state.lock();
        if let Some(at) = state.not_before.filter(|at| *at > now) {
            return Turn::At(at);
        }
        if state.failures >= BREAKS_AFTER {
            // One at a time, until one succeeds. Whoever was to tell of it may have been ended.
            if let Some(until) = state.probing.map(|since| since + OPEN_FOR).filter(|until| *until > now) {
                return Turn::At(until);
            }
            state.probing = Some(now);
        }
        if let Some(at) = state.next.filter(|at| *at > now) {
            state.probing = None;
            return Turn::At(at);
        }
        state.next = Some(now + self.interval);
        Turn::Now
    }

    /// The receiver has answered. Whether it was away before.
    pub(crate) fn succeeded(&self) -> bool {
        let mut state = self.state.lock();
        let was_away = state.failures >= BREAKS_AFTER;
        (state.failures, state.probing) = (0, None);
        was_away
    }

    /// The receiver has not, or wants to be left alone for a time. Whether the channel is given a pause from now on.
    pub(crate) fn failed(&self, asked: Option<Duration>, now: Instant) -> bool {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        state.probing = None;
        let breaks = state.failures >= BREAKS_AFTER;
        let pause = asked.map(|asked| asked.min(LONGEST_ASKED)).into_iter().chain(breaks.then_some(OPEN_FOR)).max();
        if let Some(pause) = pause {
            state.not_before = state.not_before.max(Some(now + pause));
        }
        state.failures == BREAKS_AFTER
    }

    /// Whether the channel is given a pause.
    pub(crate) fn is_open(&self) -> bool {
        self.state.lock().failures >= BREAKS_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        for (failures, longest) in [(1, 500), (2, 1000), (3, 2000), (20, 300_000), (u32::MAX, 300_000)] {
            for _ in 0..50 {
                let pause = backoff(failures).as_millis();
                assert!(pause >= longest / 2 && pause <= longest, "{failures}: {pause}");
            }
        }
    }

    #[test]
    fn a_receiver_that_is_away_is_left_alone_and_tried_by_one() {
        let pace = Pace::new(None);
        let start = Instant::now();
        for failure in 1..=BREAKS_AFTER {
            assert_eq!(pace.turn(start), Turn::Now);
            assert_eq!(pace.failed(None, start), failure == BREAKS_AFTER);
        }
        assert_eq!(pace.turn(start), Turn::At(start + OPEN_FOR));
        let later = start + OPEN_FOR;
        assert_eq!(pace.turn(later), Turn::Now);
        assert_eq!(pace.turn(later), Turn::At(later + OPEN_FOR), "a second one while the first tries");
        assert!(!pace.failed(None, later), "it was said before");
        assert_eq!(pace.turn(later), Turn::At(later + OPEN_FOR));
        let back = later + OPEN_FOR;
        assert_eq!(pace.turn(back), Turn::Now);
        assert!(pace.succeeded());
        assert_eq!((pace.turn(back), pace.turn(back)), (Turn::Now, Turn::Now));
    }

    #[test]
    fn what_a_receiver_asks_for_holds_for_the_whole_channel() {
        let pace = Pace::new(None);
        let start = Instant::now();
        assert_eq!(pace.turn(start), Turn::Now);
        pace.failed(Some(Duration::from_secs(7)), start);
        assert_eq!(pace.turn(start), Turn::At(start + Duration::from_secs(7)));
        pace.failed(Some(Duration::MAX), start);
        assert_eq!(pace.turn(start), Turn::At(start + LONGEST_ASKED));
    }

    #[test]
    fn a_rate_spreads_messages() {
        let pace = Pace::new(Some(60));
        let start = Instant::now();
        assert_eq!(pace.turn(start), Turn::Now);
        assert_eq!(pace.turn(start), Turn::At(start + Duration::from_secs(1)));
        assert_eq!(pace.turn(start + Duration::from_secs(1)), Turn::Now);
    }
}
