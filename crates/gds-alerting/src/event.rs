//! What the engine is told.

use serde::{Deserialize, Serialize};

use crate::matcher::Matcher;
use crate::sample::Sample;

/// One thing that happened. Times are milliseconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A value was measured.
    Sample(Sample),
    /// Time went on: timers of notifications are looked at.
    Tick,
    /// A partition has been read to its end, so that silence in it is silence and not lag.
    CaughtUp {
        /// Which.
        partition: i32,
    },
    /// Somebody has taken an alert on.
    Acknowledge(Command),
    /// Somebody says that an alert is over.
    Resolve(Command),
    /// Somebody wants not to be told of some alerts for a while.
    Silence(Silence),
    /// A silence is over before its time.
    Unsilence {
        /// Which.
        id: String,
        /// Who says so.
        by: String,
    },
}

/// What a person does about an alert.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Command {
    /// Key of the alert.
    pub key: String,
    /// Who.
    pub by: String,
    /// When it was done; an alert that opened later is not meant.
    pub at_ms: i64,
    /// Until when an acknowledgement holds; without end where it does not say.
    #[serde(default)]
    pub until_ms: Option<i64>,
}

/// Alerts that nobody is told of for a while. It mutes what opens; ends are told all the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Silence {
    /// Its name.
    pub id: String,
    /// All have to match; a label that an alert lacks never does.
    pub matchers: Vec<Matcher>,
    /// The first moment.
    pub starts_ms: i64,
    /// The first moment after.
    pub ends_ms: i64,
    /// Who wants it.
    pub by: String,
    /// Why.
    #[serde(default)]
    pub comment: String,
    /// When somebody made it, or changed it last; not known of one that an older version made.
    #[serde(default)]
    pub updated_ms: Option<i64>,
}
