//! The HTTP interface of Prometheus as functions: form values in, status and JSON out. Who serves them decides on paths,
//! on who may ask, and on how long.
//!
//! | path | function |
//! | --- | --- |
//! | `/api/v1/query` | [`query`] |
//! | `/api/v1/query_range` | [`query_range`] |
//! | `/api/v1/format_query` | [`format_query`] |
//! | `/api/v1/parse_query` | [`parse_query`] |
//! | `/api/v1/series` | [`series`] |
//! | `/api/v1/labels` | [`labels`] |
//! | `/api/v1/label/<name>/values` | [`label_values`] |
//! | `/api/v1/metadata` | [`metadata`] |

mod encode;
mod params;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use self::encode::{LabelsJson, QueryData};
pub use self::params::Params;
use self::params::{Invalid, MAX_TIME, MIN_TIME};
use crate::engine::{Cancel, Engine, EngineOptions, QueryResult, When};
use crate::error::Error;
use crate::labels::Labels;
use crate::matcher::Matcher;
use crate::parser;
use crate::printer::pretty;
use crate::source::{Source, SourceError, find_labels};
use crate::value::Value;

/// The most steps of a range query.
const MOST_STEPS: i64 = 11_000;

const TRUNCATED: &str = "results truncated due to limit";

/// What is sent back, with the content type `application/json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status of HTTP.
    pub status: u16,
    /// The JSON.
    pub body: Vec<u8>,
}

#[derive(Serialize)]
struct Success<D> {
    status: &'static str,
    data: D,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    infos: Vec<String>,
}

fn success<D: Serialize>(data: D, warnings: Vec<String>, infos: Vec<String>) -> Response {
    match serde_json::to_vec(&Success { status: "success", data, warnings, infos }) {
        Ok(body) => Response { status: 200, body },
        Err(error) => failure(500, "internal", &error.to_string()),
    }
}

fn failure(status: u16, kind: &str, error: &str) -> Response {
    let body = json!({"status": "error", "errorType": kind, "error": error});
    Response { status, body: body.to_string().into_bytes() }
}

impl From<Invalid> for Response {
    fn from(invalid: Invalid) -> Self {
        failure(400, "bad_data", &invalid.to_string())
    }
}

impl From<SourceError> for Response {
    fn from(error: SourceError) -> Self {
        failure(500, "internal", &error.to_string())
    }
}

fn failed(error: &Error) -> Response {
    let (status, kind) = match error {
        Error::Cancelled => (499, "canceled"),
        Error::Timeout => (503, "timeout"),
        Error::Source(_) => (500, "internal"),
        _ => (422, "execution"),
    };
    failure(status, kind, &error.to_string())
}

/// Both ways to answer are answers.
fn answered(answer: Result<Response, Response>) -> Response {
    answer.unwrap_or_else(|refused| refused)
}

// ------------------------------------------------------------------ queries
/// The value of `query` at `time`, in seconds or as RFC 3339; at `now`, in milliseconds, where there is none. `limit` is
/// how many series of it are sent, `timeout` is how long it may take where that is less than the engine's own.
pub fn query(engine: &Engine, source: &dyn Source, params: &Params<'_>, now: i64, cancel: &Cancel) -> Response {
    answered((|| {
        let time = params.time("time", Some(now))?;
        evaluate(engine, source, params, When::Instant(time), cancel)
    })())
}

/// The values of `query` from `start` to `end` at a distance of `step`, which is seconds or a duration; `limit` and
/// `timeout` as in [`query`].
pub fn query_range(engine: &Engine, source: &dyn Source, params: &Params<'_>, cancel: &Cancel) -> Response {
    answered((|| {
        let (start, end) = (params.time("start", None)?, params.time("end", None)?);
        if end < start {
            return Err(Invalid::new("end", "end timestamp must not be before start time").into());
        }
        let step = params.duration("step")?;
        if step <= 0 {
            let message = "zero or negative query resolution step widths are not accepted. Try a positive integer";
            return Err(Invalid::new("step", message).into());
        }
        if end.saturating_sub(start) / step > MOST_STEPS {
            let message = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query \
                           resolution (?step=XX)";
            return Err(failure(400, "bad_data", message));
        }
        evaluate(engine, source, params, When::Range { start, end, step }, cancel)
    })())
}

fn evaluate(
    engine: &Engine,
    source: &dyn Source,
    params: &Params<'_>,
    when: When,
    cancel: &Cancel,
) -> Result<Response, Response> {
    let limit = params.limit("limit")?;
    let text = params.get("query").unwrap_or_default();
    let expr = parser::parse(text).map_err(|error| Invalid::new("query", error))?;
    let answer = if params.get("timeout").is_none_or(str::is_empty) {
        engine.evaluate(&expr, source, when, cancel)
    } else {
        let timeout = Duration::from_millis(params.duration("timeout")?.try_into().unwrap_or(0));
        let timeout = timeout.min(engine.options().timeout);
        let options = EngineOptions { timeout, ..engine.options().clone() };
        Engine::new(options).evaluate(&expr, source, when, cancel)
    };
    Ok(respond(text, answer.map_err(|error| failed(&error))?, limit))
}

fn respond(text: &str, mut answer: QueryResult, limit: Option<usize>) -> Response {
    let (mut warnings, mut infos) = (Vec::new(), Vec::new());
    for annotation in answer.annotations.iter() {
        let list = if annotation.is_warning() { &mut warnings } else { &mut infos };
        list.push(annotation.render(text));
    }
    let truncated = match (&mut answer.value, limit) {
        (Value::Vector(samples), Some(limit)) if samples.len() > limit => {
            samples.truncate(limit);
            true
        }
        (Value::Matrix(series), Some(limit)) if series.len() > limit => {
            series.truncate(limit);
            true
        }
        _ => false,
    };
    if truncated {
        warnings.push(TRUNCATED.to_owned());
    }
    success(QueryData(&answer.value), warnings, infos)
}

/// `query` on as many lines as it needs.
pub fn format_query(params: &Params<'_>) -> Response {
    match parser::parse(params.get("query").unwrap_or_default()) {
        Ok(expr) => success(pretty(&expr), Vec::new(), Vec::new()),
        Err(error) => Invalid::new("query", error).into(),
    }
}

/// `query` as a tree.
pub fn parse_query(params: &Params<'_>) -> Response {
    match parser::parse(params.get("query").unwrap_or_default()) {
        Ok(expr) => success(tree::expr(&expr), Vec::new(), Vec::new()),
        Err(error) => Invalid::new("query", error).into(),
    }
}

// ------------------------------------------------------------------ what there is
/// The labels of the series that one of `match[]` chooses and that have a sample from `start` to `end`.
pub fn series(source: &dyn Source, params: &Params<'_>) -> Response {
    answered((|| {
        let limit = params.limit("limit")?;
        if params.all("match[]").next().is_none() {
            return Err(failure(400, "bad_data", "no match[] parameter provided"));
        }
        let found = found(source, params)?;
        let labels: Vec<LabelsJson<'_>> = found.iter().take(limit.unwrap_or(usize::MAX)).map(LabelsJson).collect();
        let warnings = truncation(labels.len() < found.len());
        Ok(success(labels, warnings, Vec::new()))
    })())
}

/// The names of the labels of such series, or of all of them where there is no `match[]`.
pub fn labels(source: &dyn Source, params: &Params<'_>) -> Response {
    answered((|| {
        let limit = params.limit("limit")?;
        let found = found(source, params)?;
        let names: BTreeSet<&str> = found.iter().flat_map(Labels::iter).map(|(name, _)| name).collect();
        Ok(list(&names, limit))
    })())
}

/// The values of one label of such series.
pub fn label_values(source: &dyn Source, name: &str, params: &Params<'_>) -> Response {
    answered((|| {
        if name.is_empty() {
            return Err(failure(400, "bad_data", "invalid label name: \"\""));
        }
        let limit = params.limit("limit")?;
        let found = found(source, params)?;
        let values: BTreeSet<&str> =
            found.iter().map(|labels| labels.get(name)).filter(|value| !value.is_empty()).collect();
        Ok(list(&values, limit))
    })())
}

fn list(texts: &BTreeSet<&str>, limit: Option<usize>) -> Response {
    let sent: Vec<&str> = texts.iter().copied().take(limit.unwrap_or(usize::MAX)).collect();
    let warnings = truncation(sent.len() < texts.len());
    success(sent, warnings, Vec::new())
}

fn truncation(truncated: bool) -> Vec<String> {
    if truncated { vec![TRUNCATED.to_owned()] } else { Vec::new() }
}

/// The labels of the series that one of `match[]` chooses within `start` and `end`, by labels.
fn found(source: &dyn Source, params: &Params<'_>) -> Result<BTreeSet<Labels>, Response> {
    let (start, end) = (params.time("start", Some(MIN_TIME))?, params.time("end", Some(MAX_TIME))?);
    let mut sets: Vec<Vec<Matcher>> = params
        .all("match[]")
        .map(|text| parser::parse_selector(text).map_err(|error| Invalid::new("match[]", error)))
        .collect::<Result<_, _>>()?;
    if sets.is_empty() {
        sets.push(Vec::new());
    }
    Ok(find_labels(source, &sets, start, end)?)
}

/// What a metric is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Metadata {
    /// `counter`, `gauge`, `histogram`, `gaugehistogram`, `summary`, `info`, `stateset` or `unknown`.
    pub r#type: String,
    /// What it says.
    pub help: String,
    /// In what it is measured.
    pub unit: String,
}

/// What the metrics are that `metric` names, or all of them: at most `limit` of them, with at most `limit_per_metric`
/// each.
pub fn metadata<'a>(known: impl IntoIterator<Item = (&'a str, Metadata)>, params: &Params<'_>) -> Response {
    answered((|| {
        let limit = params.count("limit")?.unwrap_or(usize::MAX);
        let each = params.count("limit_per_metric")?.filter(|count| *count > 0).unwrap_or(usize::MAX);
        let wanted = params.get("metric").unwrap_or_default();
        let mut metrics: BTreeMap<&str, BTreeSet<Metadata>> = BTreeMap::new();
        for (name, metadata) in known {
            if wanted.is_empty() || wanted == name {
                metrics.entry(name).or_default().insert(metadata);
            }
        }
        let sent: BTreeMap<&str, Vec<Metadata>> = metrics
            .into_iter()
            .take(limit)
            .map(|(name, metadata)| (name, metadata.into_iter().take(each).collect()))
            .collect();
        Ok(success(sent, Vec::new(), Vec::new()))
    })())
}

#[cfg(test)]
mod tests;
