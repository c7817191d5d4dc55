//! A request as far as answers depend on it, and an answer, both free of sockets.

use std::borrow::Cow;

/// The content type of [`Response::text`].
pub const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// The part of a request that the answer depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestHead<'a> {
    /// The method, upper case as HTTP has it.
    pub method: &'a str,
    /// The path, as sent or percent-decoded.
    pub path: &'a str,
    /// What follows the `?`, still percent-encoded; empty without one.
    pub query: &'a str,
    /// The `Accept` header; several joined with commas.
    pub accept: Option<&'a str>,
    /// The `Accept-Encoding` header; several joined with commas.
    pub accept_encoding: Option<&'a str>,
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The `X-Prometheus-Scrape-Timeout-Seconds` header: how long a scraper waits.
    pub scrape_timeout: Option<&'a str>,
    /// The `Content-Type` header.
    pub content_type: Option<&'a str>,
    /// The body, where [`Limits::body_bytes`](crate::Limits::body_bytes) allows one; else empty.
    pub body: &'a [u8],
}

/// An answer, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case, and values; `content-length` is always among them.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body; empty for `HEAD`, while `content-length` says how long it would have been.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer in a few words of plain text.
    pub fn text(status: u16, body: &'static str) -> Self {
        Self::new(status, PLAIN_TEXT, body.into())
    }

    /// The value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| &**value)
    }

    /// An answer of this content type.
    pub fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        let headers = vec![
            ("content-type", content_type.into()),
            ("content-length", body.len().to_string().into()),
            // What is said of a moment is out of date as soon as it is read.
            ("cache-control", "no-store".into()),
        ];
        Self { status, headers, body }
    }

    /// With one more header; `name` in lower case.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Answers requests; called where blocking is allowed.
pub trait Handler: Send + Sync {
    /// The answer to `request`. A panic becomes a 500.
    fn respond(&self, request: &RequestHead<'_>) -> Response;
}
