//! What a rules file says, compiled.

use std::collections::BTreeMap;

use crate::decimal::{Decimal, Number};
use crate::duration::Millis;
use crate::expression::Expression;
use crate::matcher::{Labels, Matcher};
use crate::schedule::Schedule;
use crate::template::Template;

/// One rule.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are the switches of the file, none of which excludes another")]
pub struct Rule {
    /// Its name, which is the `alertname` of its alerts.
    pub id: String,
    /// What it is about.
    pub description: String,
    /// The metric whose samples it looks at; none for a composite.
    pub metric: Option<String>,
    /// Which series.
    pub filter: Option<Expression>,
    /// The number that is looked at.
    pub evaluate: Option<Expression>,
    /// When it is true.
    pub condition: Condition,
    /// How long it has to be true before the alert fires.
    pub for_ms: Millis,
    /// How long it has to be false before the alert is resolved.
    pub keep_firing_for_ms: Millis,
    /// After how much silence of a series its alert is `no_data`.
    pub no_data_after_ms: Option<Millis>,
    /// Instances that have to report.
    pub expect: Vec<String>,
    /// `info`, `warning`, `critical`, ...
    pub severity: String,
    /// Whether somebody is to be woken.
    pub page: bool,
    /// Labels for its alerts, above the tags of samples.
    pub labels: Labels,
    /// What to do.
    pub runbook_url: Option<String>,
    /// What to look at.
    pub dashboard_url: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Who feels it.
    pub impact: Option<String>,
    /// Where receivers are to route it.
    pub routing_key: Option<String>,
    /// Texts for its notifications.
    pub annotations: Vec<(String, Template)>,
    /// Whether it is evaluated.
    pub enabled: bool,
    /// Whether it is evaluated and nobody notified.
    pub shadow: bool,
    /// Whose alerts are notified of; the others are as in shadow.
    pub canary: Canary,
    /// Whether an alert is resolved when its condition is false, or only by a person.
    pub auto_resolve: bool,
    /// When an alert that comes and goes is one that flaps.
    pub flapping: Option<Flapping>,
    /// How many of its alerts are notified of one by one.
    pub limit: Option<Limit>,
}

/// The part of instances for which a new rule notifies.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Canary {
    /// All of them.
    #[default]
    Off,
    /// These.
    Instances(Vec<String>),
    /// A share of them in percent, chosen by their names.
    Percent(u32),
}

/// Changes between firing and resolved within a time that make an alert flap.
#[derive(Clone, Copy, Debug)]
pub struct Flapping {
    /// How many.
    pub changes: u32,
    /// Within which time; as long without a change ends it.
    pub within_ms: Millis,
}

/// Alerts of a rule within a time that are notified of one by one.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// How many.
    pub alerts: u32,
    /// Within which time.
    pub within_ms: Millis,
}

/// When a rule is true.
#[derive(Clone, Debug)]
pub enum Condition {
    /// The number is above, below, at, in or out of something.
    Threshold(Threshold),
    /// The number changes too fast.
    RateOfChange(RateOfChange),
    /// Nothing is heard.
    Absence,
    /// An error budget is used up too fast.
    BurnRate(BurnRate),
    /// The number is unlike what it was.
    Anomaly(Anomaly),
    /// Other rules are firing.
    Composite(Composite),
}

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
    /// Within a range, its ends included.
    Inside,
    /// Out of a range.
    Outside,
}

/// What a number is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The value, or the lower end of a range.
    pub low: Number,
    /// The upper end of a range; else the same.
    pub high: Number,
    /// Where the alert ends, if not where it began.
    pub clear: Option<Number>,
}

/// A comparison with fixed values.
#[derive(Clone, Debug)]
pub struct Threshold {
    /// How.
    pub operator: Operator,
    /// With what.
    pub bounds: Bounds,
    /// With what for some series: the first whose tags match.
    pub overrides: Vec<(Vec<Matcher>, Bounds)>,
}

/// What a change is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeUnit {
    /// Units a second.
    PerSecond,
    /// Units within the window.
    Absolute,
    /// Percent of the value at the beginning of the window.
    Percent,
}

/// A comparison of how fast a number changes.
#[derive(Clone, Debug)]
pub struct RateOfChange {
    /// How.
    pub operator: Operator,
    /// With what.
    pub bounds: Bounds,
    /// Over which time.
    pub window_ms: Millis,
    /// In what.
    pub unit: ChangeUnit,
    /// Whether a smaller value means that counting began anew.
    pub counter: bool,
}

/// Two windows in which a budget burns.
#[derive(Clone, Debug)]
pub struct BurnWindows {
    /// Times the budget.
    pub factor: Number,
    /// The share of errors above which it burns this fast.
    pub limit: Decimal,
    /// Ends the alert soon after the trouble.
    pub short_ms: Millis,
    /// Keeps a blip from being one.
    pub long_ms: Millis,
    /// Whether both windows have to be above, or one is enough.
    pub both: bool,
}

/// How fast an error budget may burn.
#[derive(Clone, Debug)]
pub struct BurnRate {
    /// Percent that has to be good.
    pub objective: Number,
    /// The time in which it has to be.
    pub window_ms: Millis,
    /// Any of these pairs makes the rule true.
    pub windows: Vec<BurnWindows>,
    /// Samples that have to be in a window before it counts.
    pub min_events: u32,
}

/// How normal is learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// Mean and variance that forget, over about so many samples.
    Ewma {
        /// Samples.
        span: u32,
    },
    /// Median, and median of distances to it, of the last samples.
    Robust {
        /// How many.
        samples: u32,
    },
    /// Mean and variance of each hour of the week, in UTC.
    HourOfWeek,
}

/// Which way a number may not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Up.
    Up,
    /// Down.
    Down,
    /// Neither.
    Both,
}

/// A comparison with what was normal.
#[derive(Clone, Debug)]
pub struct Anomaly {
    /// What is normal.
    pub baseline: Baseline,
    /// Standard deviations that are too many.
    pub sensitivity: f64,
    /// Which way.
    pub direction: Direction,
    /// Samples before anything is said; for hours of the week, of that hour.
    pub warm_up: u32,
    /// Deviation below which nothing is one.
    pub min_absolute: f64,
    /// The same as a part of what is normal: 0.1 is a tenth.
    pub min_relative: f64,
    /// So many of the last samples have to be anomalous ...
    pub k: u32,
    /// ... of so many.
    pub n: u32,
}

/// Other rules, and which of them are firing for the same labels.
#[derive(Clone, Debug)]
pub struct Composite {
    /// All of these.
    pub all: Vec<String>,
    /// And one at least of these, if there are any.
    pub any: Vec<String>,
    /// And none of these.
    pub none: Vec<String>,
    /// Labels that have to be the same.
    pub equal: Vec<String>,
}

/// Where notifications go.
#[derive(Clone, Debug, Default)]
pub struct Routing {
    /// By name.
    pub channels: BTreeMap<String, Channel>,
    /// The root, which matches all.
    pub root: Route,
    /// Who hears that rules are evaluated.
    pub heartbeat: Option<Heartbeat>,
}

/// A sign of life that goes out while rules are evaluated: who hears it no more knows that nobody watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Name of a channel, of a type that people do not read.
    pub channel: String,
    /// How often.
    pub every_ms: Millis,
}

/// A receiver.
#[derive(Clone, Debug)]
pub struct Channel {
    /// `email`, `slack`, ...
    pub kind: String,
    /// What it needs to know, without credentials.
    pub settings: BTreeMap<String, serde_json::Value>,
}

/// A route and those within it. Times and labels are inherited by those that do not say.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// What leads to the route: its place in the file, as `0.2`.
    pub id: String,
    /// All have to match.
    pub matchers: Vec<Matcher>,
    /// Receivers.
    pub channels: Vec<String>,
    /// Whether later siblings are looked at too.
    pub continues: bool,
    /// The first of these that matches is taken instead.
    pub routes: Vec<Route>,
    /// Labels that alerts of one notification share; none: each alert is notified of by itself.
    pub group_by: Vec<String>,
    /// How long a new group waits for more.
    pub group_wait_ms: Millis,
    /// The least time between notifications of a group.
    pub group_interval_ms: Millis,
    /// When an open alert is told again; 0 for never.
    pub repeat_interval_ms: Millis,
    /// Who is told next when nobody acknowledges.
    pub escalation: Vec<EscalationStep>,
}

impl Route {
    /// The routes that labels lead to: the deepest that match, and later siblings where one says `continue`.
    pub fn leading(&self, labels: &Labels) -> Vec<&Self> {
        let mut found = Vec::new();
        for inner in &self.routes {
            if inner.matchers.iter().all(|matcher| matcher.matches(labels)) {
                found.extend(inner.leading(labels));
                if !inner.continues {
                    break;
                }
            }
        }
        if found.is_empty() { vec![self] } else { found }
    }
}

/// A step of an escalation.
#[derive(Clone, Debug)]
pub struct EscalationStep {
    /// Time since the alert fired.
    pub after_ms: Millis,
    /// Who is told.
    pub channels: Vec<String>,
}

/// What holds for all rules.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How soon an alert that fires again is told again.
    pub cooldown: Cooldown,
    /// Labels whose alerts nobody is told of: present, or with this value.
    pub silence_labels: Vec<(String, Option<String>)>,
    /// Alerts that make others needless.
    pub inhibition: Vec<Inhibition>,
    /// Planned work.
    pub maintenance: Vec<Maintenance>,
    /// How far behind the newest time of its partition a sample may be.
    pub lateness_ms: Millis,
    /// How far ahead of the clock a sample may be.
    pub max_ahead_ms: Millis,
}

/// The least time between two firings of a key that are told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cooldown {
    /// After the first.
    pub initial_ms: Millis,
    /// Times as long after each further one.
    pub factor: f64,
    /// At most.
    pub max_ms: Millis,
    /// Up to this part more, so that not all come at once.
    pub jitter: f64,
}

/// Alerts that make others needless.
#[derive(Clone, Debug)]
pub struct Inhibition {
    /// While one that matches is firing ...
    pub suppress_if: Vec<Matcher>,
    /// ... those that match are not told ...
    pub suppresses: Vec<Matcher>,
    /// ... if these labels are the same.
    pub equal: Vec<String>,
}

/// A window of planned work.
#[derive(Clone, Debug)]
pub struct Maintenance {
    /// What it is called.
    pub name: String,
    /// Whose alerts are muted; none: all.
    pub matchers: Vec<Matcher>,
    /// When.
    pub schedule: Schedule,
}
