//! The parts of Alertmanager's API v2 that `amtool` uses, below `/api/v2`.
//!
//! | | |
//! | --- | --- |
//! | `GET status` | version, when this process began, and the rules file that is in use |
//! | `GET receivers` | names of channels |
//! | `GET alerts`, `GET alerts/groups` | alerts that are open; with `filter`, `receiver`, `active`, `silenced`, `inhibited` |
//! | `GET silences`, `POST silences` | silences that are not over; `filter` |
//! | `GET silence/{id}`, `DELETE silence/{id}` | one of them |
//!
//! As there, an error is a text in JSON, and a label that an alert lacks is empty text for a `filter`. What is different:
//! alerts come of rules and are not posted; a silence that is over is forgotten rather than listed as expired; what mutes
//! an alert beside silences and inhibition is in `status.mutedBy`, and hides it where `silenced=false` does.

mod alerts;
mod silences;

use gds_alerting::matcher::Matcher;
use gds_net::Response;
use serde_json::json;

use super::actions::Actions;
use super::answers::{Answer, json};
use super::{Api, decoded};
use crate::delivery::text;

const PREFIX: &str = "/api/v2/";
const SILENCE: &str = "silence/";

/// The path below the prefix, if it is there.
pub(super) fn below(path: &str) -> Option<&str> {
    path.strip_prefix(PREFIX)
}

/// What is wrong, as clients of this API read it.
pub(super) fn problem(status: u16, what: &str) -> Response {
    json(status, &what)
}

impl Api {
    pub(super) fn alertmanager(&self, path: &str, actions: &Actions<'_>) -> Answer {
        let query = actions.request.query;
        match (actions.request.method, path) {
            ("GET" | "HEAD", "status") => self.status(),
            ("GET" | "HEAD", "receivers") => {
                let receivers = self.asking.ask(|evaluator| {
                    let channels = evaluator.engine.rules().routing.channels.keys();
                    channels.map(|name| json!({"name": name})).collect::<Vec<_>>()
                })?;
                Ok(json(200, &receivers))
            }
            ("GET" | "HEAD", "alerts") => alerts::list(&self.asking, query),
            ("GET" | "HEAD", "alerts/groups") => alerts::groups(&self.asking, query),
            ("GET" | "HEAD", "silences") => silences::list(&self.asking, query),
            ("POST", "silences") => silences::put(actions),
            ("GET" | "HEAD", path) if path.starts_with(SILENCE) => {
                silences::show(&self.asking, &decoded(&path[SILENCE.len()..]))
            }
            ("DELETE", path) if path.starts_with(SILENCE) => silences::end(actions, &decoded(&path[SILENCE.len()..])),
            ("POST", "alerts") => {
                Ok(problem(405, "alerts come of the samples of the hub and the rules file; none can be posted"))
            }
            (_, "status" | "receivers" | "alerts" | "alerts/groups" | "silences") => {
                Ok(problem(405, "this path is not asked in this way: see docs/alerting.md"))
            }
            (_, path) if path.starts_with(SILENCE) => {
                Ok(problem(405, "this path is not asked in this way: see docs/alerting.md"))
            }
            _ => Ok(problem(404, "there is nothing here: see docs/alerting.md")),
        }
    }

    fn status(&self) -> Answer {
        let rules = self.asking.ask(|evaluator| evaluator.rules_text().to_owned())?;
        let version = env!("CARGO_PKG_VERSION");
        Ok(json(
            200,
            &json!({
                // One process has the state; there are no others that it talks to.
                "cluster": {"name": "", "status": "disabled", "peers": []},
                "config": {"original": rules},
                "uptime": text::time(self.began_ms),
                "versionInfo": {
                    "version": version, "branch": "", "buildDate": "", "buildUser": "", "goVersion": "", "revision": "",
                },
            }),
        ))
    }
}

/// The matchers of all `filter` parameters.
fn filters(query: &str) -> Result<Vec<Matcher>, Response> {
    let each = super::parameters(query, "filter")
        .map(|text| Matcher::parse(&text).map_err(|wrong| problem(400, &format!("filter: {wrong}"))));
    each.collect()
}

/// A parameter that is true or false, and true where it is left out.
fn wanted(query: &str, name: &str) -> Result<bool, Response> {
    match super::parameter(query, name).as_deref() {
        None | Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => Err(problem(400, &format!("{name}: {other:?} is wrong here; expected true or false"))),
    }
}
