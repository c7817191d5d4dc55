//! What the engine wants done.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::matcher::Labels;

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is wrong.
    Inactive,
    /// The condition is true, but not for long enough.
    Pending,
    /// Somebody has to look.
    Firing,
    /// Somebody does.
    Acknowledged,
    /// Nothing is heard, so nothing is known.
    NoData,
    /// It comes and goes too often to be told each time.
    Flapping,
    /// It is over.
    Resolved,
}

impl State {
    /// Whether something is wrong that was, or is to be, told.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Firing | Self::Acknowledged | Self::NoData | Self::Flapping)
    }

    /// As it is written in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Acknowledged => "acknowledged",
            Self::NoData => "no_data",
            Self::Flapping => "flapping",
            Self::Resolved => "resolved",
        }
    }
}

/// What is to be done. In the order in which it is given; times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// An alert has changed: a line of the history.
    Transition(Transition),
    /// Somebody is to be told.
    Notify(Notification),
    /// A sample cannot be evaluated, and belongs to the dead letters.
    Rejected {
        /// Why.
        reason: String,
        /// Where it was read.
        partition: i32,
        /// Its place there.
        offset: Option<i64>,
    },
    /// What a person wanted was not done.
    Refused {
        /// The alert or silence that was meant.
        key: String,
        /// Why.
        reason: String,
    },
    /// A template failed; what there was of it is in the notification.
    TemplateFailed {
        /// Whose.
        rule: String,
        /// Which.
        template: String,
        /// What was wrong.
        reason: String,
    },
}

/// A change of an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Hash of key, episode and sequence number: the same in every replay.
    pub id: String,
    /// Hash of key and episode: the same for all that belongs to one trouble.
    pub correlation_id: String,
    /// Key of the alert.
    pub key: String,
    /// The rule.
    pub rule: String,
    /// When the trouble began; no two of a key are equal.
    pub episode: i64,
    /// The place of the change within its episode, from 1.
    pub sequence: u32,
    /// What it was.
    pub from: State,
    /// What it is.
    pub to: State,
    /// When, by the time of the samples; by the clock for what people do.
    pub at_ms: i64,
    /// The number that was looked at.
    pub value: String,
    /// Why.
    pub reason: String,
    /// Who did it, if a person did.
    pub by: Option<String>,
    /// Labels of the alert.
    pub labels: Labels,
}

/// Why somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    /// An alert fires.
    Firing,
    /// An alert has no data.
    NoData,
    /// An alert flaps.
    Flapping,
    /// All that was told is over.
    Resolved,
    /// It is still open.
    Reminder,
    /// Nobody has acknowledged.
    Escalation,
    /// A rule has more alerts than are told one by one.
    Limited,
}

impl NotificationKind {
    /// As it is written in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::NoData => "no_data",
            Self::Flapping => "flapping",
            Self::Resolved => "resolved",
            Self::Reminder => "reminder",
            Self::Escalation => "escalation",
            Self::Limited => "limited",
        }
    }
}

/// What one receiver is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// Hash of the newest transition, the channel and the kind: the same in every replay.
    pub id: String,
    /// Name of the channel.
    pub channel: String,
    /// Why.
    pub kind: NotificationKind,
    /// The group: a route and the labels its alerts share.
    pub group: String,
    /// The labels that all alerts of the group share.
    pub group_labels: Labels,
    /// When, by the clock.
    pub at_ms: i64,
    /// What is new first, then what else is open in the group.
    pub alerts: Vec<AlertView>,
    /// How many of them are new.
    pub news: usize,
}

/// An alert as a receiver sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertView {
    /// Its key.
    pub key: String,
    /// The rule.
    pub rule: String,
    /// Where it stands.
    pub state: State,
    /// Its newest transition.
    pub transition_id: String,
    /// The trouble it belongs to.
    pub correlation_id: String,
    /// How bad it is.
    pub severity: String,
    /// Whether somebody is to be woken.
    pub page: bool,
    /// The number that was looked at when it opened.
    pub value: String,
    /// When the trouble began.
    pub started_at_ms: i64,
    /// When it came to where it stands.
    pub since_ms: i64,
    /// Labels.
    pub labels: Labels,
    /// Texts of the rule, rendered.
    pub annotations: BTreeMap<String, String>,
    /// Where receivers are to route it.
    pub routing_key: Option<String>,
    /// What to do.
    pub runbook_url: Option<String>,
    /// What to look at.
    pub dashboard_url: Option<String>,
}
