//! The one condition of a rule.

use super::fields::Fields;
use super::model::{
    Anomaly, Baseline, Bounds, BurnRate, BurnWindows, ChangeUnit, Composite, Condition, Direction, Operator,
    RateOfChange, Threshold,
};
use super::selector::matchers;
use crate::decimal::Number;
use crate::duration::Millis;

/// The keys that are conditions.
pub(super) const KINDS: [&str; 6] = ["threshold", "rate_of_change", "absence", "slo", "anomaly", "composite"];

const OPERATORS: [(&str, Operator); 8] = [
    (">", Operator::Greater),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    ("<=", Operator::LessOrEqual),
    ("==", Operator::Equal),
    ("!=", Operator::Unequal),
    ("inside", Operator::Inside),
    ("outside", Operator::Outside),
];

/// A condition with the times that stand beside it.
pub(super) struct Timed {
    pub(super) condition: Condition,
    pub(super) for_ms: Millis,
    pub(super) keep_firing_for_ms: Millis,
    pub(super) no_data_after_ms: Option<Millis>,
    pub(super) expect: Vec<String>,
}

impl Timed {
    fn new(fields: &Fields<'_>, condition: Condition) -> Self {
        Self {
            condition,
            for_ms: fields.duration("for").unwrap_or(0),
            keep_firing_for_ms: fields.duration("keep_firing_for").unwrap_or(0),
            no_data_after_ms: None,
            expect: Vec::new(),
        }
    }
}

pub(super) fn read(rule: &Fields<'_>) -> Option<Timed> {
    let mut kinds = KINDS.iter().filter(|kind| rule.get(kind).is_some());
    let Some(kind) = kinds.next() else {
        rule.sink.put(rule.mark, &rule.path, format!("no condition; expected one of {}", KINDS.join(", ")));
        return None;
    };
    if let Some(second) = kinds.next() {
        let node = rule.get(second)?;
        rule.put(second, node, format!("a second condition beside `{kind}`; make it a rule of its own"));
    }
    let node = rule.get(kind)?;
    let path = rule.key(kind);
    let open = |known: &[&str]| Fields::open(rule.sink, &path, node, known);
    match *kind {
        "threshold" => {
            threshold(&open(&["op", "value", "low", "high", "clear", "overrides", "for", "keep_firing_for"])?)
        }
        "rate_of_change" => rate(&open(&[
            "op",
            "value",
            "low",
            "high",
            "clear",
            "window",
            "unit",
            "counter",
            "for",
            "keep_firing_for",
        ])?),
        "absence" => absence(&open(&["no_data_after", "expect"])?),
        "slo" => burn_rate(rule, &open(&["objective", "window", "burn_rate", "min_events", "for", "keep_firing_for"])?),
        "anomaly" => anomaly(&open(&[
            "method",
            "sensitivity",
            "span",
            "samples",
            "direction",
            "warm_up",
            "min_absolute",
            "min_relative",
            "k",
            "n",
            "for",
            "keep_firing_for",
        ])?),
        _ => composite(&open(&["all", "any", "none", "equal"])?),
    }
}

fn operator(fields: &Fields<'_>) -> Option<Operator> {
    if fields.get("op").is_none() {
        fields.missing("op", "one of >, >=, <, <=, ==, !=, inside, outside");
    }
    fields.choice("op", &OPERATORS)
}

/// `value`, or `low` and `high` of a range; and `clear`, which has to be on the other side.
fn bounds(fields: &Fields<'_>, operator: Operator) -> Option<Bounds> {
    let range = matches!(operator, Operator::Inside | Operator::Outside);
    for key in if range { ["value", "clear"].as_slice() } else { &["low", "high"] } {
        if let Some(node) = fields.get(key) {
            let remedy = if range { "expected `low` and `high`" } else { "expected `value`" };
            fields.put(key, node, format!("not for this operator; {remedy}"));
        }
    }
    if range {
        let (low, high) = (fields.required_number("low")?, fields.required_number("high")?);
        if low.to_float() > high.to_float() {
            fields.put("low", fields.get("low")?, format!("{low} is above `high`, which is {high}"));
        }
        return Some(Bounds { low, high, clear: None });
    }
    let value = fields.required_number("value")?;
    let clear = fields.number("clear");
    if let Some(clear) = clear {
        let wrong = match operator {
            Operator::Greater | Operator::GreaterOrEqual => (clear.to_float() > value.to_float()).then_some("above"),
            Operator::Less | Operator::LessOrEqual => (clear.to_float() < value.to_float()).then_some("below"),
            _ => Some("of no use beside"),
        };
        if let Some(wrong) = wrong {
            let message =
                format!("{clear} is {wrong} `value`, which is {value}; the alert ends there, so it has to be between");
            fields.put("clear", fields.get("clear")?, message);
        }
    }
    Some(Bounds { low: value, high: value, clear })
}

fn threshold(fields: &Fields<'_>) -> Option<Timed> {
    let operator = operator(fields)?;
    let bounds = self::bounds(fields, operator)?;
    let mut overrides = Vec::new();
    for (path, node) in fields.list("overrides") {
        let Some(inner) = Fields::open(fields.sink, &path, node, &["match", "value", "low", "high", "clear"]) else {
            continue;
        };
        let matchers = matchers(&inner, "match");
        if matchers.is_empty() {
            inner.missing("match", "tags such as {environment: test}");
        }
        overrides.extend(self::bounds(&inner, operator).map(|bounds| (matchers, bounds)));
    }
    Some(Timed::new(fields, Condition::Threshold(Threshold { operator, bounds, overrides })))
}

fn rate(fields: &Fields<'_>) -> Option<Timed> {
    let operator = operator(fields)?;
    let bounds = bounds(fields, operator)?;
    let window_ms = positive(fields, "window", "a duration such as 5m")?;
    let units =
        [("per_second", ChangeUnit::PerSecond), ("absolute", ChangeUnit::Absolute), ("percent", ChangeUnit::Percent)];
    let unit = fields.choice("unit", &units).unwrap_or(ChangeUnit::PerSecond);
    let counter = fields.boolean("counter", false);
    Some(Timed::new(fields, Condition::RateOfChange(RateOfChange { operator, bounds, window_ms, unit, counter })))
}

fn positive(fields: &Fields<'_>, key: &str, expected: &str) -> Option<Millis> {
    let Some(node) = fields.get(key) else {
        fields.missing(key, expected);
        return None;
    };
    let duration = fields.duration(key)?;
    if duration == 0 {
        fields.put(key, node, "0 is too short; expected a longer duration");
    }
    (duration > 0).then_some(duration)
}

fn absence(fields: &Fields<'_>) -> Option<Timed> {
    let after = positive(fields, "no_data_after", "a duration such as 3m")?;
    let expect = fields.texts("expect").unwrap_or_default();
    let condition = Condition::Absence;
    Some(Timed { condition, for_ms: 0, keep_firing_for_ms: 0, no_data_after_ms: Some(after), expect })
}

const DAY: Millis = 86_400_000;
const HOUR: Millis = 3_600_000;
const MINUTE: Millis = 60_000;

/// Sloth's: percent of the budget, short and long window; the first two page.
const SLOTH: [(i64, Millis, Millis); 4] =
    [(2, 5 * MINUTE, HOUR), (5, 30 * MINUTE, 6 * HOUR), (10, 2 * HOUR, DAY), (10, 6 * HOUR, 3 * DAY)];

fn burn_rate(rule: &Fields<'_>, slo: &Fields<'_>) -> Option<Timed> {
    let objective = slo.required_number("objective")?;
    let share = objective.to_float();
    if !(share > 0.0 && share < 100.0) {
        let message = format!("{objective} is no objective; expected percent between 0 and 100, such as 99.9");
        slo.put("objective", slo.get("objective")?, message);
        return None;
    }
    let hundredth = Number::parse("0.01")?;
    let budget = Number::parse("100")?.subtract(objective).multiply(hundredth);
    let window_ms = if slo.get("window").is_some() { positive(slo, "window", "a duration")? } else { 30 * DAY };
    let limit = |factor: Number| factor.multiply(budget).to_decimal();
    // Beside `slo`, or within it.
    let holder = if slo.get("burn_rate").is_some() { slo } else { rule };
    let mut windows = Vec::new();
    let nodes = match holder.get("burn_rate") {
        Some(node) if matches!(node.kind, crate::yaml::NodeKind::Map(_)) => vec![(holder.key("burn_rate"), node)],
        Some(_) => holder.list("burn_rate"),
        None => {
            let pairs = if rule.boolean("page", false) { &SLOTH[..2] } else { &SLOTH[2..] };
            for (percent, short_ms, long_ms) in pairs.iter().copied() {
                let factor = Number::Float((percent * window_ms) as f64 / (100 * long_ms) as f64);
                windows.push(BurnWindows { factor, limit: limit(factor)?, short_ms, long_ms, both: true });
            }
            Vec::new()
        }
    };
    for (path, node) in nodes {
        let known = ["factor", "short_window", "long_window", "trigger_if_both"];
        let Some(fields) = Fields::open(rule.sink, &path, node, &known) else { continue };
        let factor = fields.required_number("factor");
        let short = positive(&fields, "short_window", "a duration such as 5m");
        let long = positive(&fields, "long_window", "a duration such as 1h");
        let both = fields.boolean("trigger_if_both", true);
        let (Some(factor), Some(short_ms), Some(long_ms)) = (factor, short, long) else { continue };
        if short_ms >= long_ms {
            fields.put("short_window", fields.get("short_window")?, "not shorter than `long_window`; swap them");
        }
        let Some(limit) = limit(factor) else {
            fields.put("factor", fields.get("factor")?, format!("{factor} has too many digits"));
            continue;
        };
        windows.push(BurnWindows { factor, limit, short_ms, long_ms, both });
    }
    let min_events = slo.count("min_events", 1, u32::MAX).unwrap_or(1);
    Some(Timed::new(slo, Condition::BurnRate(BurnRate { objective, window_ms, windows, min_events })))
}

fn anomaly(fields: &Fields<'_>) -> Option<Timed> {
    if fields.get("method").is_none() {
        fields.missing("method", "one of ewma, robust, hour_of_week");
    }
    let methods = [
        ("ewma", Baseline::Ewma { span: fields.count("span", 2, 1_000_000).unwrap_or(60) }),
        ("robust", Baseline::Robust { samples: fields.count("samples", 8, 480).unwrap_or(120) }),
        ("hour_of_week", Baseline::HourOfWeek),
    ];
    let baseline = fields.choice("method", &methods)?;
    for (key, used) in
        [("span", matches!(baseline, Baseline::Ewma { .. })), ("samples", matches!(baseline, Baseline::Robust { .. }))]
    {
        if let (Some(node), false) = (fields.get(key), used) {
            fields.put(key, node, "not of this method; leave it out");
        }
    }
    let directions = [("up", Direction::Up), ("down", Direction::Down), ("both", Direction::Both)];
    let least = |key: &str, default: f64, above: f64| {
        let expected = format!("a number above {above}");
        let found = fields.read(key, &expected, |node| {
            Number::parse(node.scalar()?).map(Number::to_float).filter(|number| *number > above && number.is_finite())
        });
        found.unwrap_or(default)
    };
    let n = fields.count("n", 1, 32).unwrap_or(1);
    let k = fields.count("k", 1, n).unwrap_or(n);
    let robust = matches!(baseline, Baseline::Robust { .. });
    let anomaly = Anomaly {
        baseline,
        sensitivity: least("sensitivity", if robust { 3.5 } else { 3.0 }, 0.0),
        direction: fields.choice("direction", &directions).unwrap_or(Direction::Both),
        warm_up: fields.count("warm_up", 2, 1_000_000).unwrap_or(if baseline == Baseline::HourOfWeek {
            12
        } else {
            30
        }),
        min_absolute: least("min_absolute", 0.0, -f64::MIN_POSITIVE),
        min_relative: least("min_relative", 0.0, -f64::MIN_POSITIVE),
        k,
        n,
    };
    if let Baseline::Robust { samples } = baseline
        && anomaly.warm_up > samples
    {
        fields.put(
            "warm_up",
            fields.get("warm_up").or_else(|| fields.get("samples"))?,
            "more than `samples`, so never over",
        );
    }
    Some(Timed::new(fields, Condition::Anomaly(anomaly)))
}

fn composite(fields: &Fields<'_>) -> Option<Timed> {
    let of = |key: &str| fields.texts(key).unwrap_or_default();
    let equal = fields.texts("equal").unwrap_or_else(|| vec!["instance_id".to_owned()]);
    let composite = Composite { all: of("all"), any: of("any"), none: of("none"), equal };
    if composite.all.is_empty() && composite.any.is_empty() {
        fields.missing("all", "rules that have to be firing, in `all` or `any`");
        return None;
    }
    Some(Timed::new(fields, Condition::Composite(composite)))
}
