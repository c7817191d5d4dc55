//! Tests of rules: series as promtool writes them, what people do meanwhile, and the transitions and notifications that are
//! to come of it.
//!
//! ```yaml
//! rules_file: rules.yaml            # or `rules:` with the file itself
//! start: 2026-03-29T00:00:00Z       # 1970 unless said otherwise
//! interval: 1m
//! input_series:
//!   - {series: 'cpu_usage{instance_id="db-1"}', values: "90x5 10"}
//! expect:
//!   transitions: [firing@300 cpu_high:db-1:cpu_usage, resolved@360 cpu_high:db-1:cpu_usage]
//!   notifications: [firing@300 email-dba, resolved@360 email-dba]
//! ```
//!
//! Times are seconds since the start. Pending alerts are compared only where the expectation names one.

use std::sync::Arc;

use crate::effect::Effect;
use crate::engine::{Engine, Snapshot};
use crate::event::{Command, Event, Silence};
use crate::matcher::{Matcher, refuse_contradictions};
use crate::problem::{Problems, Sink};
use crate::replay::Input;
use crate::rules::{Fields, Rules};
use crate::sample::Sample;
use crate::series;
use crate::yaml::{self, Node};

const KEYS: [&str; 12] = [
    "description",
    "rules_file",
    "rules",
    "start",
    "interval",
    "tick",
    "caught_up",
    "until",
    "input_series",
    "samples",
    "actions",
    "expect",
];

/// What is done at a time beside what is measured.
#[derive(Clone, Debug)]
enum Action {
    /// Something is said.
    Event(Event),
    /// The process ends, and another goes on from its state.
    Restart,
    /// Another file is taken into use.
    Reload(Arc<Rules>),
}

/// A test of rules.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is about.
    pub description: String,
    rules: Arc<Rules>,
    start_ms: i64,
    /// In order: when, and what.
    script: Vec<(i64, Action)>,
    transitions: Option<Vec<String>>,
    notifications: Option<Vec<String>>,
    template_errors: Option<u32>,
    refused: Option<u32>,
    late: Option<u32>,
    firing: Option<u32>,
    resolved: Option<u32>,
}

/// What came of a case.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// All that was to be done.
    pub effects: Vec<Effect>,
    /// What is not as expected, a line each.
    pub differences: Vec<String>,
}

impl Case {
    /// Reads a case; `read_file` is asked for the rules file that it names.
    pub fn parse(text: &str, read_file: impl Fn(&str) -> Result<String, String>) -> Result<Self, Problems> {
        let sink = Sink::default();
        match yaml::read(text) {
            Ok(node) => {
                let case = Self::read(&sink, &node, &read_file);
                sink.finish(case)
            }
            Err((mark, message)) => {
                sink.put(mark, "", message);
                sink.finish(None)
            }
        }
    }

    fn read(sink: &Sink, node: &Node, read_file: &impl Fn(&str) -> Result<String, String>) -> Option<Self> {
        let fields = Fields::open(sink, "", node, &KEYS)?;
        let rules = Arc::new(rules(&fields, read_file)?);
        let start_ms = fields
            .read("start", "a time such as 2026-03-29T00:00:00Z", |node| node.scalar()?.parse::<jiff::Timestamp>().ok())
            .map_or(0, jiff::Timestamp::as_millisecond);
        let interval = fields.duration("interval").filter(|interval| *interval > 0).unwrap_or(60_000);
        let mut script = Vec::new();
        for (path, node) in fields.list("input_series") {
            let Some(inner) = Fields::open(sink, &path, node, &["series", "values", "start", "partition"]) else {
                continue;
            };
            let first = start_ms + seconds(&inner, "start").unwrap_or(0);
            let Some(name) = inner.required("series", "a series such as cpu_usage{instance_id=\"db-1\"}") else {
                continue;
            };
            let values = inner.required("values", "values such as 90x5 10").unwrap_or_default();
            let partition = inner.count("partition", 0, 1_000).unwrap_or(0).cast_signed();
            match series::name(&name).and_then(|sample| Ok((sample, series::values(&values)?))) {
                Ok((sample, values)) => {
                    for (number, value) in (0i64..).zip(values) {
                        let Some(value) = value else { continue };
                        let at_ms = first + number * interval;
                        script.push((at_ms, measured(&sample, partition, at_ms, &value.to_string())));
                    }
                }
                Err(message) => sink.put(node.mark, &path, message),
            }
        }
        arrivals(&fields, start_ms, &mut script);
        for (path, node) in fields.list("actions") {
            script.extend(action(sink, &path, node, start_ms, read_file));
        }
        let last = script.iter().map(|(at, _)| *at).max().unwrap_or(start_ms);
        let until = seconds(&fields, "until").map_or(last, |until| start_ms + until);
        let tick = fields.duration("tick").filter(|tick| *tick > 0).unwrap_or(interval.min(10_000));
        if (until - start_ms) / tick > 1_000_000 {
            sink.put(fields.mark, "tick", "more than a million ticks; take a longer one");
            return None;
        }
        // Samples before actions, and both before the clock.
        let caught_up = fields.boolean("caught_up", true);
        let mut partitions: Vec<i32> = script.iter().filter_map(|(_, action)| partition(action)).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let mut at_ms = start_ms;
        while at_ms <= until {
            if caught_up {
                let reached = |partition: &i32| (at_ms, Action::Event(Event::CaughtUp { partition: *partition }));
                script.extend(partitions.iter().map(reached));
            }
            script.push((at_ms, Action::Event(Event::Tick)));
            at_ms += tick;
        }
        script.sort_by_key(|(at_ms, _)| *at_ms);
        let expect = Fields::open(
            sink,
            "expect",
            fields.get("expect").or_else(|| {
                fields.missing("expect", "what is to come of it");
                None
            })?,
            &["transitions", "notifications", "template_errors", "refused", "late", "firing", "resolved"],
        )?;
        let list = |key| expect.get(key).map(|_| expect.texts(key).unwrap_or_default());
        let count = |key| expect.count(key, 0, u32::MAX);
        Some(Self {
            description: fields.text("description").unwrap_or_default(),
            rules,
            start_ms,
            script,
            transitions: list("transitions"),
            notifications: list("notifications"),
            template_errors: count("template_errors"),
            refused: count("refused"),
            late: count("late"),
            firing: count("firing"),
            resolved: count("resolved"),
        })
    }

    /// The events of the case, without restarts and new rules.
    pub fn history(&self) -> Vec<Input> {
        let event = |(now_ms, action): &(i64, Action)| match action {
            Action::Event(event) => Some(Input { now_ms: *now_ms, event: event.clone() }),
            Action::Restart | Action::Reload(_) => None,
        };
        self.script.iter().filter_map(event).collect()
    }

    /// Whether other rules are taken into use meanwhile.
    pub fn reloads(&self) -> bool {
        self.script.iter().any(|(_, action)| matches!(action, Action::Reload(_)))
    }

    /// The rules that the case begins with.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Runs it.
    pub fn run(&self) -> Outcome {
        self.run_restarted(usize::MAX)
    }

    /// Runs it with a restart before each so-many-th event, of which nothing may be seen.
    pub fn run_restarted(&self, every: usize) -> Outcome {
        let mut engine = Engine::new(Arc::clone(&self.rules));
        let mut outcome = Outcome::default();
        for (number, (now_ms, action)) in self.script.iter().enumerate() {
            if number % every == every - 1 {
                engine = restarted(&engine);
            }
            match action {
                Action::Event(event) => engine.step(event, *now_ms, &mut outcome.effects),
                Action::Reload(rules) => engine.reload(rules),
                Action::Restart => engine = restarted(&engine),
            }
        }
        self.compare(&mut outcome, engine.counters().late);
        outcome
    }

    fn compare(&self, outcome: &mut Outcome, late: u64) {
        let mut differ = |what: &str, expected: &[String], found: &[String]| {
            if expected != found {
                let line = format!("{what}: expected {expected:?}, found {found:?}");
                outcome.differences.push(line);
            }
        };
        let second = |at_ms: i64| (at_ms - self.start_ms) as f64 / 1000.0;
        let transitions: Vec<(String, String)> = outcome
            .effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Transition(transition) => {
                    let line = format!("{}@{} {}", transition.to.name(), second(transition.at_ms), transition.key);
                    Some((transition.to.name().to_owned(), line))
                }
                _ => None,
            })
            .collect();
        if let Some(expected) = &self.transitions {
            let named = |name: &str| expected.iter().any(|line| line.starts_with(name));
            let quiet = ["pending", "inactive"];
            let shown = |(state, _): &&(String, String)| !quiet.contains(&state.as_str()) || named(state);
            let found: Vec<String> = transitions.iter().filter(shown).map(|(_, line)| line.clone()).collect();
            differ("transitions", expected, &found);
        }
        if let Some(expected) = &self.notifications {
            let line = |effect: &Effect| match effect {
                Effect::Notify(said) => Some(format!("{}@{} {}", said.kind.name(), second(said.at_ms), said.channel)),
                _ => None,
            };
            let found: Vec<String> = outcome.effects.iter().filter_map(line).collect();
            differ("notifications", expected, &found);
        }
        let of = |wanted: fn(&Effect) -> bool| outcome.effects.iter().filter(|effect| wanted(effect)).count() as u64;
        let notified = |kind: &str| transitions.iter().filter(|(state, _)| state == kind).count() as u64;
        let counts = [
            ("template_errors", self.template_errors, of(|effect| matches!(effect, Effect::TemplateFailed { .. }))),
            ("refused", self.refused, of(|effect| matches!(effect, Effect::Refused { .. }))),
            ("late", self.late, late),
            ("firing", self.firing, notified("firing")),
            ("resolved", self.resolved, notified("resolved")),
        ];
        for (what, expected, found) in counts {
            if expected.is_some_and(|expected| u64::from(expected) != found) {
                differ(what, &[expected.unwrap_or_default().to_string()], &[found.to_string()]);
            }
        }
    }
}

/// What another process makes of the state of one that ended.
fn restarted(engine: &Engine) -> Engine {
    let kept = serde_json::to_string(&engine.snapshot()).expect("state is written as JSON");
    let kept: Snapshot = serde_json::from_str(&kept).expect("state that was written is read");
    Engine::restore(engine.rules(), kept)
}

fn partition(action: &Action) -> Option<i32> {
    match action {
        Action::Event(Event::Sample(sample)) => Some(sample.partition),
        _ => None,
    }
}

fn measured(series: &Sample, partition: i32, at_ms: i64, value: &str) -> Action {
    let sample = Sample {
        value: value.parse().unwrap_or(f64::NAN),
        text: Some(value.to_owned()),
        time_ms: Some(at_ms),
        partition,
        ..series.clone()
    };
    Action::Event(Event::Sample(sample))
}

/// A time in seconds, as milliseconds.
fn seconds(fields: &Fields<'_>, key: &str) -> Option<i64> {
    fields.read(key, "seconds since the start", |node| node.scalar()?.parse::<i64>().ok()?.checked_mul(1000))
}

fn rules(fields: &Fields<'_>, read_file: &impl Fn(&str) -> Result<String, String>) -> Option<Rules> {
    if let Some(node) = fields.get("rules") {
        return Rules::read(fields.sink, node);
    }
    let name = fields.required("rules_file", "the name of a rules file, or `rules` with the file itself")?;
    let read = read_file(&name).and_then(|text| {
        Rules::parse(&text)
            .map_err(|problems| problems.0.iter().map(|p| format!("{name}:{p}")).collect::<Vec<_>>().join("; "))
    });
    read.map_err(|message| fields.sink.put(fields.mark, "rules_file", message)).ok()
}

/// Samples one by one: `90@240` was measured at 240, and comes when the list has come to it; `arrive` says when all come.
fn arrivals(fields: &Fields<'_>, start_ms: i64, script: &mut Vec<(i64, Action)>) {
    for (path, node) in fields.list("samples") {
        let known = ["series", "values", "arrive", "partition"];
        let Some(inner) = Fields::open(fields.sink, &path, node, &known) else { continue };
        let (Some(name), Some(values)) =
            (inner.required("series", "a series"), inner.required("values", "samples such as 90@0 10@60"))
        else {
            continue;
        };
        let partition = inner.count("partition", 0, 1_000).unwrap_or(0).cast_signed();
        let arrive = seconds(&inner, "arrive").map(|arrive| start_ms + arrive);
        let series = match series::name(&name) {
            Ok(series) => series,
            Err(message) => {
                inner.sink.put(node.mark, &path, message);
                continue;
            }
        };
        let mut now_ms = arrive.unwrap_or(start_ms);
        for word in values.split_whitespace() {
            let parsed = word.split_once('@').and_then(|(value, at)| {
                crate::decimal::Number::parse(value)?;
                Some((value, start_ms + at.parse::<i64>().ok()?.checked_mul(1000)?))
            });
            let Some((value, at_ms)) = parsed else {
                inner.sink.put(node.mark, &path, format!("{word:?} is no sample; expected a form such as 90@240"));
                continue;
            };
            now_ms = now_ms.max(if arrive.is_some() { now_ms } else { at_ms });
            script.push((now_ms, measured(&series, partition, at_ms, value)));
        }
    }
}

fn action(
    sink: &Sink,
    path: &str,
    node: &Node,
    start_ms: i64,
    read_file: &impl Fn(&str) -> Result<String, String>,
) -> Option<(i64, Action)> {
    let known = [
        "at",
        "restart",
        "reload",
        "reload_file",
        "acknowledge",
        "resolve",
        "silence",
        "unsilence",
        "by",
        "said",
        "until",
        "match",
    ];
    let fields = Fields::open(sink, path, node, &known)?;
    let Some(at) = seconds(&fields, "at") else {
        fields.missing("at", "seconds since the start");
        return None;
    };
    let at_ms = start_ms + at;
    let by = fields.text("by").unwrap_or_else(|| "somebody".to_owned());
    let until_ms = seconds(&fields, "until").map(|until| start_ms + until);
    let said_ms = seconds(&fields, "said").map_or(at_ms, |said| start_ms + said);
    let command = |key| Command { key, by: by.clone(), at_ms: said_ms, until_ms };
    let action = if let Some(key) = fields.text("acknowledge") {
        Action::Event(Event::Acknowledge(command(key)))
    } else if let Some(key) = fields.text("resolve") {
        Action::Event(Event::Resolve(command(key)))
    } else if let Some(id) = fields.text("unsilence") {
        Action::Event(Event::Unsilence { id, by })
    } else if let Some(id) = fields.text("silence") {
        let matchers: Result<Vec<Matcher>, String> =
            fields.texts("match").unwrap_or_default().iter().map(|text| Matcher::parse(text)).collect();
        let matchers = matchers.and_then(|matchers| refuse_contradictions(&matchers).map(|()| matchers));
        let matchers = matchers.map_err(|message| sink.put(node.mark, path, message)).ok()?;
        let (starts_ms, ends_ms) = (at_ms, until_ms.unwrap_or(i64::MAX));
        Action::Event(Event::Silence(Silence {
            id,
            matchers,
            starts_ms,
            ends_ms,
            by,
            comment: String::new(),
            updated_ms: None,
        }))
    } else if let Some(node) = fields.get("reload") {
        Action::Reload(Arc::new(Rules::read(sink, node)?))
    } else if fields.get("reload_file").is_some() {
        let name = fields.text("reload_file")?;
        let read = read_file(&name).and_then(|text| Rules::parse(&text).map_err(|problems| problems.to_string()));
        Action::Reload(Arc::new(read.map_err(|message| sink.put(node.mark, path, message)).ok()?))
    } else if fields.boolean("restart", false) {
        Action::Restart
    } else {
        sink.put(
            node.mark,
            path,
            "no action; expected one of restart, reload, acknowledge, resolve, silence, unsilence",
        );
        return None;
    };
    Some((at_ms, action))
}
