//! What people do: acknowledge, resolve, silence. Each is kept with who did it before it is answered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gds_alerting::event::{Command, Event, Silence};
use gds_alerting::matcher::{Matcher, refuse_contradictions};
use gds_net::{RequestHead, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::answers::{self, Answer, problem};
use crate::asking::Asking;
use crate::error::Result;
use crate::now_ms;
use crate::store::Act;

/// Of a comment, a key or a name that is kept.
const LONGEST: usize = 1000;

/// What became of what somebody wanted.
pub(super) enum Outcome {
    Done,
    /// The engine did not do it; that is kept too.
    Refused(String),
    /// It was not tried.
    Invalid(String),
}

/// A name that no other silence has.
pub(super) fn new_id() -> String {
    format!("{:016x}", gds_process::random::random::<u64>())
}

pub(super) struct Actions<'a> {
    pub(super) asking: &'a Asking,
    pub(super) request: &'a RequestHead<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AboutAlert {
    key: String,
    #[serde(default)]
    by: Option<String>,
    #[serde(default, rename = "for")]
    lasts: Option<String>,
    #[serde(default)]
    comment: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSilence {
    matchers: Vec<String>,
    #[serde(rename = "for")]
    lasts: String,
    #[serde(default)]
    by: Option<String>,
    #[serde(default)]
    comment: String,
    #[serde(default)]
    preview: bool,
}

impl Actions<'_> {
    pub(super) fn acknowledge(&self) -> Answer {
        self.about_alert("acknowledge", Event::Acknowledge)
    }

    pub(super) fn resolve(&self) -> Answer {
        self.about_alert("resolve", Event::Resolve)
    }

    fn about_alert(&self, action: &str, event: fn(Command) -> Event) -> Answer {
        let about: AboutAlert = match self.body() {
            Ok(about) => about,
            Err((status, why)) => return Ok(problem(status, &why)),
        };
        let at_ms = now_ms();
        let until_ms = match about.lasts.as_deref().map(duration) {
            None => None,
            Some(Ok(lasts)) => Some(at_ms.saturating_add(lasts)),
            Some(Err(refusal)) => return Ok(refusal),
        };
        let by = self.who(about.by);
        let command = Command { key: about.key.clone(), by: by.clone(), at_ms, until_ms };
        Ok(answered(self.carry_out(event(command), by, action, about.key, about.comment)?))
    }

    pub(super) fn silence(&self) -> Answer {
        let new: NewSilence = match self.body() {
            Ok(new) => new,
            Err((status, why)) => return Ok(problem(status, &why)),
        };
        let matchers: Result<Vec<Matcher>, String> = new.matchers.iter().map(|text| Matcher::parse(text)).collect();
        let matchers = matchers.and_then(|matchers| refuse_contradictions(&matchers).map(|()| matchers));
        let matchers = match matchers {
            Ok(matchers) if matchers.is_empty() => {
                return Ok(problem(400, "matchers: expected one at least, such as severity=\"warning\""));
            }
            Ok(matchers) => matchers,
            Err(wrong) => return Ok(problem(400, &format!("matchers: {wrong}"))),
        };
        let lasts = match duration(&new.lasts) {
            Ok(lasts) => lasts,
            Err(refusal) => return Ok(refusal),
        };
        let about = matchers.clone();
        let mutes = self.asking.ask(move |evaluator| evaluator.engine.preview(&about))?;
        if new.preview {
            return Ok(answers::json(200, &json!({"mutes": mutes})));
        }
        let (starts_ms, by) = (now_ms(), self.who(new.by));
        let id = new_id();
        let silence = Silence {
            id: id.clone(),
            matchers,
            starts_ms,
            ends_ms: starts_ms.saturating_add(lasts),
            by: by.clone(),
            comment: new.comment.clone(),
            updated_ms: Some(starts_ms),
        };
        let detail = format!("{} for {}: {}", new.matchers.join(", "), new.lasts, new.comment);
        match self.carry_out(Event::Silence(silence), by, "silence", id.clone(), detail)? {
            Outcome::Done => Ok(answers::json(200, &json!({"id": id, "mutes": mutes}))),
            other => Ok(answered(other)),
        }
    }

    pub(super) fn unsilence(&self, id: &str) -> Answer {
        let by = self.who(None);
        let event = Event::Unsilence { id: id.to_owned(), by: by.clone() };
        Ok(answered(self.carry_out(event, by, "unsilence", id.to_owned(), String::new())?))
    }

    /// Does something, and keeps that it was done, by whom, before it is answered.
    pub(super) fn carry_out(
        &self,
        event: Event,
        by: String,
        action: &str,
        about: String,
        detail: String,
    ) -> Result<Outcome> {
        if about.len() > LONGEST || detail.len() > LONGEST || by.len() > LONGEST {
            return Ok(Outcome::Invalid(format!("a text is longer than {LONGEST} bytes")));
        }
        let act = Act { at_ms: now_ms(), by, action: action.to_owned(), about, detail, refused: None };
        Ok(self.asking.ask(move |evaluator| evaluator.act(event, act))??.map_or(Outcome::Done, Outcome::Refused))
    }

    /// The body; else a status and what is wrong.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, (u16, String)> {
        // What a page of a browser can send without being asked is of another type.
        let json = self.request.content_type.is_some_and(|kind| kind.trim_start().starts_with("application/json"));
        if !json {
            return Err((415, "expected a body of content-type application/json".to_owned()));
        }
        serde_json::from_slice(self.request.body).map_err(|error| (400, format!("the body: {error}")))
    }

    /// Who does it: who has shown a password, else who it is said to be.
    pub(super) fn who(&self, said: Option<String>) -> String {
        let shown = self.request.authorization.and_then(|header| {
            let (scheme, value) = header.split_once(' ')?;
            let text = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(value.trim()).ok()).flatten()?;
            Some(String::from_utf8(text).ok()?.split_once(':')?.0.to_owned())
        });
        shown.or(said).filter(|by| !by.trim().is_empty()).unwrap_or_else(|| "somebody".to_owned())
    }
}

fn answered(outcome: Outcome) -> Response {
    match outcome {
        Outcome::Done => answers::json(200, &json!({"done": true})),
        Outcome::Refused(why) => problem(409, &why),
        Outcome::Invalid(why) => problem(400, &why),
    }
}

fn duration(text: &str) -> Result<i64, Response> {
    let found = gds_alerting::duration::parse(text).filter(|ms| *ms > 0);
    found.ok_or_else(|| problem(400, &format!("for: {text:?} is no time; expected a form such as 30m or 2h")))
}
