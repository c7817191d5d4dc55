//! What the hub refuses for who we are, and not for what a record is.
//!
//! A client without the right to write (yet), or one whose session the hub has ended, is refused with all it sends, and
//! a topic whose rights are granted a minute later refuses every record until then. None of these records is at fault:
//! they wait, and now and then one of them is tried. Topics wait each for itself.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::sync::{AtomicUsize, Mutex, Ordering};

/// The longest pause between two tries, in first pauses.
const LONGEST: u32 = 32;

/// Who is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scope {
    Client,
    Topic,
}

/// Whether an error refuses the client or its right to a topic, and not this record.
pub(super) fn refused(error: &Error) -> Option<Scope> {
    match error.code() {
        Some(29) => Some(Scope::Topic), // topic authorization
        // Group, cluster and transactional-id authorization, delegation tokens, and a session that SASL ended.
        Some(30 | 31 | 33 | 34 | 53 | 58 | 61 | 64 | 65 | 66) => Some(Scope::Client),
        // The end of the hub's client, or one that is not let in.
        _ if error.fatal() || (matches!(error, Error::Connection(_)) && !error.retriable()) => Some(Scope::Client),
        _ => None,
    }
}

/// What may be handed over now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Admission {
    Go,
    /// Not this topic's; others may.
    NotThisTopic,
    Nothing,
}

/// Which of the records that wait may be handed over now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Allowance {
    All,
    First,
    None,
}

#[derive(Debug)]
struct Gate {
    error: Error,
    pause: Duration,
    /// When the next record is let through to see.
    next: Instant,
    /// One was, and its outcome is not known.
    trying: bool,
}

impl Gate {
    fn lets_one_through(&mut self, now: Instant, is_first: impl FnOnce() -> bool) -> bool {
        let goes = now >= self.next && is_first();
        if goes {
            self.next = now + self.pause; // however long its outcome takes
            self.trying = true;
        }
        goes
    }

    fn refused_again(&mut self, error: &Error, now: Instant, first: Duration) {
        // Those that were under way when the first was refused are no tries.
        if std::mem::take(&mut self.trying) {
            self.pause = (self.pause * 2).min(first * LONGEST);
            self.next = now + self.pause;
        }
        self.error = error.clone();
    }
}

/// Gates are closed by refusals and opened by the first record that is delivered.
#[derive(Debug)]
pub(super) struct Gates {
    first_pause: Duration,
    /// Nearly always none are closed, so that looking costs nothing.
    count: AtomicUsize,
    closed: Mutex<Closed>,
}

#[derive(Debug, Default)]
struct Closed {
    client: Option<Gate>,
    topics: HashMap<Box<str>, Gate>,
}

impl Gates {
    pub(super) fn new(first_pause: Duration) -> Self {
        Self { first_pause, count: AtomicUsize::new(0), closed: Mutex::default() }
    }

    pub(super) fn all_open(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Whether a record of this topic may be handed over. Where the topic is refused, only one that `is_first` of those
    /// that wait is tried: others would overtake it when the gate opens. `aside` is called before another thread can open
    /// the gate.
    pub(super) fn admit(&self, topic: &str, is_first: impl FnOnce() -> bool, aside: impl FnOnce()) -> Admission {
        if self.all_open() {
            return Admission::Go;
        }
        let now = Instant::now();
        let mut closed = self.closed.lock();
        if let Some(gate) = closed.client.as_mut() {
            return if gate.lets_one_through(now, || true) { Admission::Go } else { Admission::Nothing };
        }
        if closed.topics.get_mut(topic).is_none_or(|gate| gate.lets_one_through(now, is_first)) {
            return Admission::Go;
        }
        aside();
        Admission::NotThisTopic
    }

    /// Whether nothing may be handed over now.
    pub(super) fn nothing_goes(&self) -> bool {
        !self.all_open() && self.closed.lock().client.as_ref().is_some_and(|gate| Instant::now() < gate.next)
    }

    /// A refusal; what to say of it, if it is the first one. `aside` is called before another thread can open the gate.
    pub(super) fn close(&self, scope: Scope, topic: &str, error: &Error, aside: impl FnOnce()) -> Option<String> {
        let (now, pause) = (Instant::now(), self.first_pause);
        let gate = || Gate { error: error.clone(), pause, next: now + pause, trying: false };
        let mut closed = self.closed.lock();
        aside();
        let known = match scope {
            Scope::Client => closed.client.as_mut(),
            Scope::Topic => closed.topics.get_mut(topic),
        };
        if let Some(known) = known {
            known.refused_again(error, now, pause);
            return None;
        }
        match scope {
            Scope::Client => closed.client = Some(gate()),
            Scope::Topic => drop(closed.topics.insert(topic.into(), gate())),
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        Some(match scope {
            Scope::Client => {
                format!("the hub refuses this client, and its messages wait until it may send again: {error}")
            }
            Scope::Topic => {
                format!(
                    "the hub refuses what is sent to topic {topic:?}, and messages for it wait until they may go: {error}"
                )
            }
        })
    }

    /// Something was delivered; what to say of the gates that this opens. `opened` is called for the topic before
    /// anything else of it passes.
    pub(super) fn open(&self, topic: &str, opened: impl FnOnce()) -> Vec<String> {
        let mut said = Vec::new();
        if self.all_open() {
            return said;
        }
        let mut closed = self.closed.lock();
        if closed.client.take().is_some() {
            said.push("the hub lets this client send again".to_owned());
        }
        if closed.topics.remove(topic).is_some() {
            opened();
            said.push(format!("the hub takes messages for topic {topic:?} again"));
        }
        self.count.fetch_sub(said.len(), Ordering::SeqCst);
        said
    }

    /// Which records of this topic [`admit`](Self::admit) would let go.
    pub(super) fn may_go(&self, topic: &str) -> Allowance {
        if self.all_open() {
            return Allowance::All;
        }
        let (now, closed) = (Instant::now(), self.closed.lock());
        match closed.client.as_ref().or_else(|| closed.topics.get(topic)) {
            None => Allowance::All,
            Some(gate) if now >= gate.next => Allowance::First,
            Some(_) => Allowance::None,
        }
    }

    /// Whether something that is refused may be tried now.
    pub(super) fn is_due(&self) -> bool {
        self.until_next().is_some_and(|next| next.is_zero())
    }

    /// Why a record of this topic waits.
    pub(super) fn reason(&self, topic: &str) -> Option<Error> {
        if self.all_open() {
            return None;
        }
        let closed = self.closed.lock();
        closed.client.as_ref().or_else(|| closed.topics.get(topic)).map(|gate| gate.error.clone())
    }

    /// The topics of which a record may be tried now.
    pub(super) fn due(&self) -> Vec<Box<str>> {
        if self.all_open() {
            return Vec::new();
        }
        let now = Instant::now();
        let closed = self.closed.lock();
        if closed.client.is_some() {
            return Vec::new();
        }
        closed.topics.iter().filter(|(_, gate)| now >= gate.next).map(|(topic, _)| topic.clone()).collect()
    }

    /// How long until something may be tried; none if all are open.
    pub(super) fn until_next(&self) -> Option<Duration> {
        if self.all_open() {
            return None;
        }
        let closed = self.closed.lock();
        let next = closed.client.iter().chain(closed.topics.values()).map(|gate| gate.next).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    fn error(code: i32) -> Error {
        Error::Message(Failure::new("no").with_code(code))
    }

    #[test]
    fn a_refused_client_is_told_from_a_refused_record() {
        for (code, scope) in
            [(29, Some(Scope::Topic)), (31, Some(Scope::Client)), (53, Some(Scope::Client)), (10, None)]
        {
            assert_eq!(refused(&error(code)), scope, "{code}");
        }
        assert_eq!(refused(&Error::Connection(Failure::new("").fatal())), Some(Scope::Client));
        assert_eq!(refused(&Error::Connection(Failure::new("").retriable())), None, "it is away");
    }

    #[test]
    fn a_gate_lets_one_through_now_and_then_and_is_told_of_twice() {
        let gates = Gates::new(Duration::ZERO);
        assert!(gates.close(Scope::Topic, "t", &error(29), || ()).is_some_and(|said| said.contains("\"t\"")));
        assert_eq!(gates.close(Scope::Topic, "t", &error(29), || ()), None);
        assert_eq!(gates.admit("t", || false, || ()), Admission::NotThisTopic, "an older one waits");
        assert_eq!(gates.admit("t", || true, || ()), Admission::Go, "the pause is over");
        let gates = Gates::new(Duration::from_secs(3600));
        assert!(gates.close(Scope::Topic, "t", &error(29), || ()).is_some());
        assert_eq!(gates.admit("t", || true, || ()), Admission::NotThisTopic);
        assert_eq!(gates.admit("u", || false, || ()), Admission::Go);
        assert!(gates.close(Scope::Client, "u", &error(31), || ()).is_some());
        assert_eq!(gates.admit("u", || true, || ()), Admission::Nothing);
        assert!(gates.nothing_goes());
        assert_eq!(gates.open("t", || ()).len(), 2);
        assert!(gates.all_open() && gates.open("t", || ()).is_empty());
    }

    #[test]
    fn pauses_grow_once_for_the_records_of_a_try() {
        let first = Duration::from_secs(1);
        let now = Instant::now();
        let mut gate = Gate { error: error(29), pause: first, next: now, trying: false };
        for _ in 0..100 {
            gate.refused_again(&error(29), now, first);
        }
        assert_eq!(gate.pause, first);
        for _ in 0..10 {
            let due = gate.next;
            assert!(gate.lets_one_through(due, || true));
            gate.refused_again(&error(29), due, first);
        }
        assert_eq!(gate.pause, first * LONGEST);
    }
}
