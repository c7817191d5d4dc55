//! Silences, as Alertmanager's clients make, change and end them.

use gds_alerting::event::{Event, Silence};
use gds_alerting::matcher::{Labels, Matcher, refuse_contradictions};
use gds_events::Timestamp;
use gds_net::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::actions::{Actions, Outcome, new_id};
use super::super::answers::{Answer, json};
use super::{filters, problem};
use crate::asking::Asking;
use crate::delivery::text;
use crate::now_ms;

/// A matcher, as this API has it.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    name: String,
    value: String,
    #[serde(default)]
    is_regex: bool,
    #[serde(default = "yes")]
    is_equal: bool,
}

/// What clients send; what else they send, as they got it with a silence, is ours to know.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Posted {
    #[serde(default)]
    id: Option<String>,
    matchers: Vec<Part>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    created_by: String,
    comment: String,
}

fn yes() -> bool {
    true
}

fn shown(silence: &Silence, now_ms: i64) -> Value {
    let part = |matcher: &Matcher| Part {
        name: matcher.name.clone(),
        value: matcher.value.clone(),
        is_regex: matcher.is_regex,
        is_equal: matcher.is_equal,
    };
    let state = match now_ms {
        now if now < silence.starts_ms => "pending",
        now if now < silence.ends_ms => "active",
        _ => "expired",
    };
    json!({
        "id": silence.id,
        "matchers": silence.matchers.iter().map(part).collect::<Vec<_>>(),
        "startsAt": text::time(silence.starts_ms),
        "endsAt": text::time(silence.ends_ms),
        "updatedAt": text::time(silence.updated_ms.unwrap_or(silence.starts_ms)),
        "createdBy": silence.by,
        "comment": silence.comment,
        "status": {"state": state},
    })
}

pub(super) fn list(asking: &Asking, query: &str) -> Answer {
    let filters = match filters(query) {
        Ok(filters) => filters,
        Err(refusal) => return Ok(refusal),
    };
    let found = asking.ask(move |evaluator| {
        let now_ms = now_ms();
        // A filter is about what the matchers of a silence are written with.
        let written = |silence: &Silence| -> Labels {
            silence.matchers.iter().map(|matcher| (matcher.name.clone(), matcher.value.clone())).collect()
        };
        let silences = evaluator.engine.silences();
        let silences = silences.filter(|silence| {
            let written = written(silence);
            filters.iter().all(|filter| filter.matches(&written))
        });
        silences.map(|silence| shown(silence, now_ms)).collect::<Vec<_>>()
    })?;
    Ok(json(200, &found))
}

fn find(asking: &Asking, id: &str) -> crate::Result<Option<Silence>> {
    let id = id.to_owned();
    asking.ask(move |evaluator| evaluator.engine.silences().find(|silence| silence.id == id).cloned())
}

pub(super) fn show(asking: &Asking, id: &str) -> Answer {
    Ok(find(asking, id)?.map_or_else(unknown, |silence| json(200, &shown(&silence, now_ms()))))
}

fn unknown() -> Response {
    problem(404, "there is no such silence; one that is over is forgotten")
}

pub(super) fn end(actions: &Actions<'_>, id: &str) -> Answer {
    let by = actions.who(None);
    let event = Event::Unsilence { id: id.to_owned(), by: by.clone() };
    match actions.carry_out(event, by, "unsilence", id.to_owned(), String::new())? {
        Outcome::Done => Ok(json(200, &json!({}))),
        Outcome::Refused(_) => Ok(unknown()),
        Outcome::Invalid(why) => Ok(problem(400, &why)),
    }
}

pub(super) fn put(actions: &Actions<'_>) -> Answer {
    let posted: Posted = match actions.body() {
        Ok(posted) => posted,
        Err((status, why)) => return Ok(problem(status, &why)),
    };
    let matchers: Result<Vec<Matcher>, String> = posted
        .matchers
        .iter()
        .map(|part| Matcher::new(&part.name, &part.value, part.is_regex, part.is_equal))
        .collect();
    let matchers = matchers.and_then(|matchers| refuse_contradictions(&matchers).map(|()| matchers));
    let matchers = match matchers {
        Ok(matchers) if !matchers.is_empty() && matchers.iter().all(|matcher| !matcher.name.is_empty()) => matchers,
        Ok(_) => return Ok(problem(400, "matchers: expected one at least, each with a name")),
        Err(wrong) => return Ok(problem(400, &format!("matchers: {wrong}"))),
    };
    let (now_ms, ends_ms) = (now_ms(), posted.ends_at.millis());
    let known = match posted.id.as_deref().filter(|id| !id.is_empty()) {
        None => None,
        Some(id) => match find(actions.asking, id)? {
            None => return Ok(unknown()),
            known => known,
        },
    };
    // What is made new begins now at the earliest; what is changed may have begun.
    let earliest = known.as_ref().map_or(now_ms, |silence| silence.starts_ms.min(now_ms));
    let starts_ms = posted.starts_at.millis().max(earliest);
    if ends_ms <= now_ms || ends_ms <= starts_ms {
        return Ok(problem(400, "endsAt: expected a time to come, and after startsAt"));
    }
    let id = known.map_or_else(new_id, |silence| silence.id);
    let by = actions.who(Some(posted.created_by));
    let written: Vec<String> = matchers.iter().cloned().map(String::from).collect();
    let detail = format!("{} until {}: {}", written.join(", "), text::time(ends_ms), posted.comment);
    let silence = Silence {
        id: id.clone(),
        matchers,
        starts_ms,
        ends_ms,
        by: by.clone(),
        comment: posted.comment,
        updated_ms: Some(now_ms),
    };
    match actions.carry_out(Event::Silence(silence), by, "silence", id.clone(), detail)? {
        Outcome::Done => Ok(json(200, &json!({"silenceID": id}))),
        Outcome::Refused(why) | Outcome::Invalid(why) => Ok(problem(400, &why)),
    }
}
