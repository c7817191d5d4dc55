use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::*;
use crate::histogram::{Buckets, FloatHistogram};
use crate::memory::MemorySource;
use crate::source::{LabelsIter, Select, SeriesIter, SourceError};
use crate::value::Sample;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn source() -> MemorySource {
    let mut source = MemorySource::new();
    for (job, value) in [("api", 1.0), ("db", 0.5)] {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", job)]);
        source.append(&labels, 0, 0, Sample::Float(value));
        source.append(&labels, 60_000, 0, Sample::Float(value * 2.0));
    }
    let histogram = FloatHistogram {
        count: 3.0,
        sum: 4.5,
        positive: Buckets::from_offset(0, vec![1.0, 0.0, 2.0]),
        ..FloatHistogram::default()
    };
    let labels = Labels::from_pairs([("__name__", "seconds"), ("path", "/")]);
    source.append(&labels, 0, 0, Sample::Histogram(Arc::new(histogram)));
    source
}

fn body(response: &Response) -> Json {
    serde_json::from_slice(&response.body).unwrap()
}

fn instant(values: &[(&str, &str)]) -> Response {
    query(&Engine::new(EngineOptions::default()), &source(), &Params(&pairs(values)), 60_000, &Cancel::new())
}

fn range(values: &[(&str, &str)]) -> Response {
    query_range(&Engine::new(EngineOptions::default()), &source(), &Params(&pairs(values)), &Cancel::new())
}

#[test]
fn an_instant_query_answers_at_its_time() {
    assert_eq!(
        body(&instant(&[("query", "up{job=\"db\"}"), ("time", "0.5")])),
        json!({"status": "success", "data": {"resultType": "vector", "result": [
            {"metric": {"__name__": "up", "job": "db"}, "value": [0.5, "0.5"]},
        ]}})
    );
    assert_eq!(
        body(&instant(&[("query", "sum(up) * 1e21"), ("time", "1970-01-01T00:01:00Z")]))["data"]["result"][0]["value"],
        json!([60, "3e+21"])
    );
    assert_eq!(body(&instant(&[("query", "-1/0")]))["data"], json!({"resultType": "scalar", "result": [60, "-Inf"]}));
    assert_eq!(body(&instant(&[("query", "'a'")]))["data"], json!({"resultType": "string", "result": [60, "a"]}));
}

#[test]
fn a_native_histogram_has_its_buckets() {
    assert_eq!(
        body(&instant(&[("query", "seconds"), ("time", "0")]))["data"]["result"][0]["histogram"],
        json!([0, {"count": "3", "sum": "4.5", "buckets": [[0, "0.5", "1", "1"], [0, "2", "4", "2"]]}])
    );
}

#[test]
fn a_range_query_answers_at_each_step() {
    let asked = [("query", "up"), ("start", "0"), ("end", "1970-01-01T00:01:00Z"), ("step", "1m"), ("limit", "1")];
    let answer = body(&range(&asked));
    assert_eq!(answer["warnings"], json!(["results truncated due to limit"]));
    assert_eq!(
        answer["data"],
        json!({"resultType": "matrix", "result": [
            {"metric": {"__name__": "up", "job": "api"}, "values": [[0, "1"], [60, "2"]]},
        ]})
    );
}

#[test]
fn what_cannot_be_answered_says_why() {
    let error = |response: &Response| {
        let body = body(response);
        assert_eq!(body["status"], "error");
        format!("{} {} {}", response.status, body["errorType"].as_str().unwrap(), body["error"].as_str().unwrap())
    };
    for (values, expected) in [
        (
            vec![("query", "up +")],
            "400 bad_data invalid parameter \"query\": 1:5: parse error: unexpected end of input, expected an expression",
        ),
        (vec![("time", "x")], "400 bad_data invalid parameter \"time\": cannot parse \"x\" to a valid timestamp"),
        (vec![("query", "up"), ("timeout", "0")], "503 timeout query timed out in expression evaluation"),
        (
            vec![("query", "up"), ("timeout", "x")],
            "400 bad_data invalid parameter \"timeout\": cannot parse \"x\" to a valid duration",
        ),
        (vec![("limit", "-1")], "400 bad_data invalid parameter \"limit\": expected a count, got \"-1\""),
        (vec![("query", "up * ignoring (job) up")], "422 execution found duplicate series for the match group"),
    ] {
        let found = error(&instant(&values));
        assert!(found.starts_with(expected), "{found}");
    }
    let times = |start, end, step| error(&range(&[("query", "up"), ("start", start), ("end", end), ("step", step)]));
    for (found, expected) in [
        (times("1", "0", "1"), "400 bad_data invalid parameter \"end\": end timestamp must not be before start time"),
        (times("0", "1", "0"), "400 bad_data invalid parameter \"step\": zero or negative query resolution step"),
        (times("0", "1", "x"), "400 bad_data invalid parameter \"step\": cannot parse \"x\" to a valid duration"),
        (times("", "1", "1"), "400 bad_data invalid parameter \"start\": cannot parse \"\" to a valid timestamp"),
        (times("0", "11001", "1"), "400 bad_data exceeded maximum resolution of 11,000 points per timeseries."),
        (error(&series(&source(), &Params(&[]))), "400 bad_data no match[] parameter provided"),
        (error(&label_values(&source(), "", &Params(&[]))), "400 bad_data invalid label name: \"\""),
    ] {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn series_and_labels_are_listed() {
    let data = |response: Response| body(&response)["data"].clone();
    let matched = pairs(&[("match[]", "up{job=\"db\"}"), ("match[]", "seconds")]);
    assert_eq!(
        data(series(&source(), &Params(&matched))),
        json!([{"__name__": "seconds", "path": "/"}, {"__name__": "up", "job": "db"}])
    );
    assert_eq!(data(labels(&source(), &Params(&[]))), json!(["__name__", "job", "path"]));
    assert_eq!(data(labels(&source(), &Params(&pairs(&[("start", "30")])))), json!(["__name__", "job"]));
    assert_eq!(data(label_values(&source(), "job", &Params(&[]))), json!(["api", "db"]));
    let limited = pairs(&[("limit", "1")]);
    let response = body(&label_values(&source(), "job", &Params(&limited)));
    assert_eq!(
        (&response["data"], &response["warnings"]),
        (&json!(["api"]), &json!(["results truncated due to limit"]))
    );
}

#[test]
fn metadata_is_told_by_metric() {
    let known = |help: &str| Metadata { r#type: "gauge".to_owned(), help: help.to_owned(), unit: String::new() };
    let all = [("up", known("a")), ("up", known("b")), ("up", known("a")), ("x", known("c"))];
    let told = |values: &[(&str, &str)]| body(&metadata(all.clone(), &Params(&pairs(values))))["data"].clone();
    let one = |help: &str| json!({"type": "gauge", "help": help, "unit": ""});
    assert_eq!(told(&[]), json!({"up": [one("a"), one("b")], "x": [one("c")]}));
    assert_eq!(told(&[("limit", "1"), ("limit_per_metric", "1")]), json!({"up": [one("a")]}));
    assert_eq!(told(&[("metric", "x")]), json!({"x": [one("c")]}));
}

#[test]
fn queries_are_formatted_and_parsed() {
    let asked = |text: &str| pairs(&[("query", text)]);
    assert_eq!(body(&format_query(&Params(&asked("sum(x)by(y)"))))["data"], "sum by (y) (x)");
    assert_eq!(format_query(&Params(&asked("sum("))).status, 400);
    assert_eq!(parse_query(&Params(&asked("sum(x[5m])"))).status, 400);
    let tree =
        body(&parse_query(&Params(&asked("round(x{a=~'b'} @ 1 offset 5m) > bool on (a) fill(0) y"))))["data"].clone();
    let matcher = |name: &str, op: &str, value: &str| json!({"name": name, "type": op, "value": value});
    let selector = |name: &str, offset: i64, at: Json, matchers: Json| {
        json!({"type": "vectorSelector", "name": name, "offset": offset, "offsetExpr": null, "timestamp": at,
            "startOrEnd": null, "matchers": matchers, "anchored": false, "smoothed": false})
    };
    assert_eq!(
        tree,
        json!({
            "type": "binaryExpr",
            "op": ">",
            "bool": true,
            "lhs": {
                "type": "call",
                "func": {"name": "round", "argTypes": ["vector", "scalar"], "variadic": 1, "returnType": "vector"},
                "args": [selector(
                    "x", 300_000, json!(1000), json!([matcher("a", "=~", "b"), matcher("__name__", "=", "x")])
                )],
            },
            "rhs": selector("y", 0, Json::Null, json!([matcher("__name__", "=", "y")])),
            "matching": {"card": "one-to-one", "labels": ["a"], "on": true, "include": [],
                "fillValues": {"lhs": 0.0, "rhs": 0.0}},
        })
    );
    let range = body(&parse_query(&Params(&asked("y[(5) + step()]"))))["data"]["rangeExpr"].clone();
    assert_eq!(
        range,
        json!({"type": "durationExpr", "op": "+", "wrapped": false,
            "lhs": {"type": "durationExpr", "op": "+", "lhs": null, "wrapped": true,
                "rhs": {"type": "numberLiteral", "val": "5", "duration": false}},
            "rhs": {"type": "durationExpr", "op": "step", "lhs": null, "rhs": null, "wrapped": false}})
    );
}

/// Has an index, and cannot read a sample.
struct Index;

impl Source for Index {
    fn select<'a>(&'a self, _request: &Select<'_>) -> Result<SeriesIter<'a>, SourceError> {
        Err(SourceError { message: "the samples are away".to_owned(), retriable: true })
    }

    fn select_labels<'a>(&'a self, request: &Select<'_>) -> Result<LabelsIter<'a>, SourceError> {
        let all = ["api", "db"].map(|job| Labels::from_pairs([("__name__", "up"), ("job", job)]));
        let matches = |labels: &Labels| request.matchers.iter().all(|own| own.matches(labels.get(own.name())));
        Ok(Box::new(all.into_iter().filter(matches).map(Ok).collect::<Vec<_>>().into_iter()))
    }
}

#[test]
fn what_series_there_are_is_answered_without_their_samples() {
    let asked = pairs(&[("match[]", "up{job=\"db\"}")]);
    let params = Params(&asked);
    assert_eq!(body(&series(&Index, &params))["data"], json!([{"__name__": "up", "job": "db"}]));
    assert_eq!(body(&labels(&Index, &params))["data"], json!(["__name__", "job"]));
    assert_eq!(body(&label_values(&Index, "job", &Params(&[])))["data"], json!(["api", "db"]));
}
