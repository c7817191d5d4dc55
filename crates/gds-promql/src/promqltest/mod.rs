//! Scripts that load series, ask queries and say what has to be answered: the language of Prometheus' own tests of PromQL.
//!
//! ```text
//! load 1m
//!     requests_total{job="api"} 0+10x5
//!
//! eval instant at 5m rate(requests_total[5m])
//!     expect no_warn
//!     {job="api"} 0.1666666
//! ```
//!
//! All of the language is known: `load` with native histograms, start times and `load_with_nhcb`, `clear`, `eval instant`
//! and `eval range` with `expect` lines, and the older forms such as `eval_fail`. An instant query is asked again with
//! `@` in all of its selectors at other times, and as a range query of three steps: the answer has to be the same.

mod compare;
mod load;
mod script;
mod series;

use std::sync::LazyLock;

use regex::Regex;

use self::script::{Command, Eval};
use crate::ast::{At, Expr, ExprKind};
use crate::engine::{Engine, EngineOptions, QueryResult};
use crate::error::Error;
use crate::labels::Labels;
use crate::memory::MemorySource;
use crate::parser;
use crate::source::Source;
use crate::value::{Sample, Value, VectorSample};

/// What an evaluation of a script came to.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The line of its command, counted from one.
    pub line: usize,
    /// The command.
    pub command: String,
    /// What is wrong with the answer, or with the script.
    pub failure: Option<String>,
}

/// A source that scripts load.
pub trait Loadable: Source {
    /// Forgets all series.
    fn clear(&mut self) -> Result<(), String>;
    /// Appends a sample to a series; `start` is when what it counts began, zero where that is not known.
    fn append(&mut self, labels: &Labels, time: i64, start: i64, value: Sample) -> Result<(), String>;
    /// A `load` is over.
    fn loaded(&mut self) -> Result<(), String>;
}

impl Loadable for MemorySource {
    fn clear(&mut self) -> Result<(), String> {
        *self = Self::new();
        Ok(())
    }

    fn append(&mut self, labels: &Labels, time: i64, start: i64, value: Sample) -> Result<(), String> {
        Self::append(self, labels, time, start, value);
        Ok(())
    }

    fn loaded(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// Runs a script on an engine such as that of [`engine`], in memory. Each `eval` is an evaluation, and so is each line that
/// is no command and each `load` that fails.
pub fn run(script: &str, engine: &Engine) -> Vec<Evaluation> {
    run_on(script, engine, &mut MemorySource::new())
}

/// As [`run`], on a source without series.
pub fn run_on(script: &str, engine: &Engine, source: &mut dyn Loadable) -> Vec<Evaluation> {
    let lines: Vec<&str> = script.lines().collect();
    let mut evaluations = Vec::new();
    for (line, command) in script::commands(script) {
        let failure = match &command {
            Command::Clear => match source.clear() {
                Ok(()) => continue,
                Err(error) => Some(error),
            },
            Command::Load(command) => match load::load(command, source).and_then(|()| source.loaded()) {
                Ok(()) => continue,
                Err(error) => Some(error),
            },
            Command::Eval(eval) => Runner { engine, source, eval }.run().err(),
            Command::Bad(error) => Some(error.clone()),
        };
        evaluations.push(Evaluation { line, command: lines[line - 1].trim().to_owned(), failure });
    }
    evaluations
}

/// The engine that scripts are written for: at most 10,000 samples a query, else as it is by default.
pub fn engine() -> Engine {
    Engine::new(EngineOptions { max_samples: 10_000, ..EngineOptions::default() })
}

/// Functions whose value depends on the time of the evaluation even where their arguments do not.
const TIMED: &[&str] = &[
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "end",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
    "year",
];

/// What is not the same in a range query.
static OF_THE_QUERY: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(start|end|range|step)\(\)").expect("it is one"));

const MINUTE: i64 = 60_000;

struct Runner<'a> {
    engine: &'a Engine,
    source: &'a dyn Source,
    eval: &'a Eval,
}

impl Runner<'_> {
    fn run(&self) -> Result<(), String> {
        let eval = self.eval;
        if eval.range {
            let answer = self.engine.range(&eval.query, self.source, eval.start, eval.end, eval.step);
            return self.check(answer).map(|_| ());
        }
        // The time of a range vector's query is that of its end.
        let time = eval.end;
        self.instant(&eval.query, time)?;
        for (query, time) in moved(&eval.query, time)? {
            self.instant(&query, time).map_err(|error| format!("{query} at {time} ms: {error}"))?;
        }
        Ok(())
    }

    /// The value of an answer that is as expected; nothing of an expected failure.
    fn check(&self, answer: Result<QueryResult, Error>) -> Result<Option<Value>, String> {
        let answer = match answer {
            Err(error) => return compare::failure(&self.eval.expected, &error).map(|()| None),
            Ok(_) if self.eval.expected.fail.is_some() => return Err("expected an error, got none".to_owned()),
            Ok(answer) => answer,
        };
        compare::annotations(&self.eval.expected, &answer.annotations)?;
        compare::value(self.eval, &answer.value)?;
        Ok(Some(answer.value))
    }

    fn instant(&self, query: &str, time: i64) -> Result<(), String> {
        let Some(value) = self.check(self.engine.instant(query, self.source, time))? else { return Ok(()) };
        let expected = &self.eval.expected;
        if expected.range_vector || expected.text.is_some() || OF_THE_QUERY.is_match(query) {
            return Ok(());
        }
        self.as_range(query, time, &value).map_err(|error| format!("as a range query: {error}"))
    }

    /// The same query at three steps, the middle one of which is compared.
    fn as_range(&self, query: &str, time: i64, value: &Value) -> Result<(), String> {
        let answer = self.engine.range(query, self.source, time - MINUTE, time + MINUTE, MINUTE);
        let series = match answer.map_err(|error| error.to_string())?.value {
            _ if self.eval.expected.ordered => return Ok(()),
            Value::Matrix(series) => series,
            other => return Err(format!("expected a range vector, got {other:?}")),
        };
        compare::sorted(&series)?;
        let samples: Vec<VectorSample> = series
            .into_iter()
            .filter_map(|series| {
                let point = series.points.into_iter().find(|point| point.t == time)?;
                Some(VectorSample { labels: series.labels, t: time, value: point.value })
            })
            .collect();
        let found = match (value, samples.first()) {
            (Value::Scalar { .. }, Some(VectorSample { value: Sample::Float(v), .. })) => {
                Value::Scalar { t: time, v: *v }
            }
            (Value::Scalar { .. }, _) => return Err("expected a number".to_owned()),
            _ => Value::Vector(samples),
        };
        compare::value(self.eval, &found)
    }
}

/// The query with the time in all of its selectors, and other times at which it is to have the same answer; nothing where
/// it depends on the time by itself.
fn moved(query: &str, time: i64) -> Result<Vec<(String, i64)>, String> {
    let mut expr = parser::parse(query).map_err(|error| error.to_string())?;
    if !fix(&mut expr, time) {
        return Ok(Vec::new());
    }
    let times = if time == 0 { vec![-1_000, 0, 1_000] } else { vec![-10 * time, 0, time / 5, time, 10 * time] };
    let query = expr.to_string();
    Ok(times.into_iter().map(|time| (query.clone(), time)).collect())
}

/// Sets `@` where no time is set; whether no function depends on the time of the evaluation.
fn fix(expr: &mut Expr, time: i64) -> bool {
    let set = |at: &mut Option<At>| {
        if !matches!(at, Some(At::Timestamp(_))) {
            *at = Some(At::Timestamp(time));
        }
    };
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Vector(selector) => {
            set(&mut selector.at);
            true
        }
        ExprKind::Matrix(matrix) => {
            set(&mut matrix.selector.at);
            true
        }
        // What is in it is evaluated at the times that it has now.
        ExprKind::Subquery(subquery) => {
            set(&mut subquery.at);
            true
        }
        ExprKind::Paren(inner) => fix(inner, time),
        ExprKind::Unary(unary) => fix(&mut unary.expr, time),
        ExprKind::Binary(binary) => fix(&mut binary.lhs, time) & fix(&mut binary.rhs, time),
        ExprKind::Aggregate(aggregate) => {
            let param = aggregate.param.as_mut().is_none_or(|param| fix(param, time));
            fix(&mut aggregate.expr, time) & param
        }
        ExprKind::Call(call) => {
            let timed = TIMED.contains(&call.function.name);
            call.args.iter_mut().fold(!timed, |fixed, arg| fix(arg, time) & fixed)
        }
    }
}
