//! The HTTP API: what is open, what people do about it, what has happened, and whether all is well.
//!
//! | | |
//! | --- | --- |
//! | `GET /healthz`, `GET /readyz` | whether it runs; whether hub, state and channels do |
//! | `GET /metrics` | what was counted, as Prometheus reads it |
//! | `GET /api/v1/alerts` | alerts that are not over, with what mutes them |
//! | `POST /api/v1/alerts/acknowledge` | `{"key": ..., "for": "2h"}`; without `for` until it is over |
//! | `POST /api/v1/alerts/resolve` | `{"key": ...}` |
//! | `GET /api/v1/silences` | silences that are not over |
//! | `POST /api/v1/silences` | `{"matchers": [...], "for": "2h", "comment": ...}`; with `"preview": true` only what it would mute |
//! | `DELETE /api/v1/silences/{id}` | ends one |
//! | `GET /api/v1/history` | transitions, the newest first; `?key=` of one alert, `?limit=` so many |
//! | `GET /api/v1/audit` | what people did, the newest first; `?limit=` so many |
//! | `GET /api/v1/dead` | what was given up, the newest first; `?limit=` so many |
//! | `/api/v2/...` | [what `amtool` asks](alertmanager) |
//!
//! Who does something is the user of basic authentication, else who the request says (`"by"`).

mod actions;
mod alertmanager;
mod answers;

use std::fmt::Write as _;
use std::sync::Arc;

use gds_net::{Auth, Handler, Limits, RequestHead, Response};

use crate::api::actions::Actions;
use crate::api::answers::{Answer, json, problem};
use crate::asking::Asking;
use crate::store::Store;

/// Of a request's body; a silence is a few hundred.
const BODY_BYTES: usize = 64 * 1024;
/// Lines of a history, unless somebody asks for another number.
const LINES: usize = 100;

/// Limits of a server with this API.
pub const LIMITS: Limits = Limits { body_bytes: BODY_BYTES, ..Limits::DEFAULT };

/// Answers requests about a running service.
#[derive(Debug)]
pub struct Api {
    asking: Asking,
    store: Arc<Store>,
    auth: Auth,
    /// When this process began to answer, in milliseconds since 1970.
    began_ms: i64,
}

impl Api {
    pub(crate) fn new(asking: Asking, store: Arc<Store>, auth: Auth) -> Self {
        Self { asking, store, auth, began_ms: crate::now_ms() }
    }

    fn answer(&self, request: &RequestHead<'_>) -> Answer {
        let path = request.path.trim_end_matches('/');
        let actions = || Actions { asking: &self.asking, request };
        if let Some(path) = alertmanager::below(path) {
            return self.alertmanager(path, &actions());
        }
        match (request.method, path) {
            ("GET" | "HEAD", "/readyz") => self.ready(),
            ("GET" | "HEAD", "/metrics") => self.metrics(),
            ("GET" | "HEAD", "/api/v1/alerts") => self.alerts(),
            ("GET" | "HEAD", "/api/v1/silences") => {
                let silences = self.asking.ask(|evaluator| evaluator.engine.silences().cloned().collect::<Vec<_>>())?;
                Ok(json(200, &silences))
            }
            ("GET" | "HEAD", "/api/v1/history") => {
                let key = parameter(request.query, "key");
                let mut lines = self.store.history()?;
                lines.retain(|line| key.as_ref().is_none_or(|key| line.key == *key));
                Ok(newest(lines, request.query))
            }
            ("GET" | "HEAD", "/api/v1/audit") => Ok(newest(self.store.audit()?, request.query)),
            ("GET" | "HEAD", "/api/v1/dead") => Ok(newest(self.store.dead()?, request.query)),
            ("POST", "/api/v1/alerts/acknowledge") => actions().acknowledge(),
            ("POST", "/api/v1/alerts/resolve") => actions().resolve(),
            ("POST", "/api/v1/silences") => actions().silence(),
            ("DELETE", path) if path.starts_with("/api/v1/silences/") => {
                actions().unsilence(&decoded(&path["/api/v1/silences/".len()..]))
            }
            (_, path) if PATHS.contains(&path) || path.starts_with("/api/v1/silences/") => {
                Ok(problem(405, "this path is not asked in this way: see docs/alerting.md"))
            }
            _ => Ok(problem(404, "there is nothing here: see docs/alerting.md")),
        }
    }

    fn ready(&self) -> Answer {
        let health = self.asking.ask(|evaluator| evaluator.health())?;
        Ok(json(if health.ready { 200 } else { 503 }, &health))
    }

    fn metrics(&self) -> Answer {
        let counts = self.asking.ask(|evaluator| evaluator.counts())?;
        let mut page = String::new();
        for (name, count) in counts {
            let _ = writeln!(page, "gds_alerting_{name} {count}"); // text takes everything
        }
        Ok(Response::new(200, gds_net::PLAIN_TEXT, page.into_bytes()))
    }

    fn alerts(&self) -> Answer {
        let alerts = self.asking.ask(|evaluator| {
            let now_ms = crate::now_ms();
            let engine = &evaluator.engine;
            let shown = engine.alerts().map(|alert| {
                let muted = engine.muted(&alert.key, now_ms);
                let mut shown = serde_json::to_value(alert).unwrap_or_default();
                shown["muted"] = muted.into();
                shown
            });
            shown.collect::<Vec<_>>()
        })?;
        Ok(json(200, &alerts))
    }
}

const PATHS: [&str; 9] = [
    "/readyz",
    "/metrics",
    "/api/v1/alerts",
    "/api/v1/alerts/acknowledge",
    "/api/v1/alerts/resolve",
    "/api/v1/silences",
    "/api/v1/history",
    "/api/v1/audit",
    "/api/v1/dead",
];

impl Handler for Api {
    fn respond(&self, request: &RequestHead<'_>) -> Response {
        // Who asks whether it runs need not be let in.
        if request.path == "/healthz" {
            return Response::text(200, "ok\n");
        }
        if !self.auth.allows(request.authorization) {
            let refusal = problem(401, "who asks is not known: send the credentials of this server");
            return match self.auth.challenge() {
                Some(challenge) => refusal.with("www-authenticate", challenge),
                None => refusal,
            };
        }
        let mut response = self.answer(request).unwrap_or_else(|error| problem(503, &error.to_string()));
        if request.method == "HEAD" {
            response.body.clear();
        }
        response
    }
}

fn newest<T: serde::Serialize>(mut lines: Vec<T>, query: &str) -> Response {
    let limit = match parameter(query, "limit").map(|text| text.parse::<usize>()) {
        None => LINES,
        Some(Ok(limit)) => limit,
        Some(Err(_)) => return problem(400, "limit: expected a whole number"),
    };
    lines.reverse();
    lines.truncate(limit);
    json(200, &lines)
}

/// A parameter of a query, decoded; the first of that name.
fn parameter(query: &str, name: &str) -> Option<String> {
    parameters(query, name).next()
}

/// All parameters of a name, decoded.
fn parameters<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(move |(known, _)| *known == name).map(|(_, value)| decoded(&value.replace('+', " ")))
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        assert_eq!(parameter("limit=5&key=a%3Ab+c", "key").as_deref(), Some("a:b c"));
        assert_eq!(parameter("limit=5", "key"), None);
        assert_eq!(parameter("key=", "key").as_deref(), Some(""));
    }
}
