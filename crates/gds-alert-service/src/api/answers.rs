//! Answers, and what is wrong with requests.

use gds_net::Response;
use serde::Serialize;

use crate::error::Result;

/// An answer; an error is one of the service itself.
pub(super) type Answer = Result<Response>;

/// A value as JSON.
pub(super) fn json<T: Serialize>(status: u16, value: &T) -> Response {
    // Maps of texts and numbers: writing those to memory cannot fail.
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    Response::new(status, "application/json", body)
}

/// What is wrong.
pub(super) fn problem(status: u16, what: &str) -> Response {
    json(status, &serde_json::json!({"error": what}))
}
