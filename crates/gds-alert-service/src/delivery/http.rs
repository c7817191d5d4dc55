//! Requests to receivers, and what their answers mean.

use std::path::Path;
use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Url};
use rustls::CertificateError;

use super::outcome::Outcome;

/// Of an answer no more than this is read.
const MOST_READ: usize = 64 * 1024;

/// Looks names up beside the runtime's threads, as the system would, where no fork comes between.
#[derive(Debug)]
struct Names;

impl reqwest::dns::Resolve for Names {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let host = name.as_str().to_owned();
        Box::pin(async move {
            // Port 0 stands for the one that the URL names.
            let found = tokio::task::spawn_blocking(move || gds_process::resolve::resolve(&host, 0)).await??;
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// A receiver's address, and the way to it.
#[derive(Debug)]
pub(super) struct Endpoint {
    url: Url,
    client: Client,
    timeout: Duration,
}

impl Endpoint {
    /// Fails where `url` is none, or the issuers in `cafile` cannot be used.
    pub(super) fn new(url: &str, timeout: Duration, cafile: Option<&Path>) -> Result<Self, String> {
        // The text may hold a credential.
        let url = Url::parse(url).map_err(|error| format!("url: {error}; expected http://... or https://..."))?;
        if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none() {
            return Err(format!(
                "url: {}: is no address of a service; expected http://... or https://...",
                url.scheme()
            ));
        }
        let tls = match (url.scheme(), cafile) {
            ("http", None) => gds_net::tls::trusting_nobody(),
            _ => gds_net::tls::client_config(cafile, None, None),
        };
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls.map_err(|error| error.to_string())?)
            .dns_resolver(Names)
            .timeout(timeout)
            // What was sent elsewhere would take its credential along.
            .redirect(reqwest::redirect::Policy::none());
        if url.host_str().is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host)) {
            // A proxy's own loopback is another one.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| format!("no HTTP client: {}", error.without_url()))?;
        Ok(Self { url, client, timeout })
    }

    /// Sends JSON. The answer's status and the beginning of its body, or why there is none.
    pub(super) async fn post(&self, headers: HeaderMap, body: Vec<u8>) -> Result<Answer, Outcome> {
        let request = self.client.post(self.url.clone()).headers(headers);
        let request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body);
        let mut answer = request.send().await.map_err(|error| self.lost(error))?;
        let asked = answer.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?));
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        // What comes after the status changes nothing of it.
        while let Ok(Some(chunk)) = answer.chunk().await {
            body.extend_from_slice(&chunk[..chunk.len().min(MOST_READ - body.len())]);
            if body.len() == MOST_READ {
                break;
            }
        }
        Ok(Answer { status, asked, body })
    }

    fn lost(&self, error: reqwest::Error) -> Outcome {
        if error.is_timeout() {
            return Outcome::retry(format!("no answer within {} s", self.timeout.as_secs_f32()));
        }
        let connect = error.is_connect();
        // URLs have credentials in them; the cause at the end of the chain has none.
        let error = error.without_url();
        let mut cause: &(dyn std::error::Error + 'static) = &error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        let cause = if is_of_another_issuer(cause) {
            "its certificate is of an issuer that is not trusted; if it should be, give that one's as cafile".to_owned()
        } else {
            cause.to_string()
        };
        Outcome::retry(format!("{}: {cause}", if connect { "cannot be reached" } else { "the connection was lost" }))
    }
}

/// Whether a handshake ended since nobody vouches for the other side.
fn is_of_another_issuer(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut error = error;
    // Errors of the system's kind hide those that they were made of from the chain of sources.
    while let Some(hidden) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        error = hidden;
    }
    // The signature is bad where an issuer has the name of one that is trusted, and another key.
    let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() else { return false };
    matches!(why, CertificateError::UnknownIssuer | CertificateError::BadSignature)
}

/// What a receiver said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) asked: Option<Duration>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// What it means. What a person can mend at the receiver meanwhile, such as a right that is missing, is tried again.
    pub(super) fn outcome(&self) -> Outcome {
        match self.status {
            200..=299 => Outcome::Delivered,
            401 | 403 | 404 | 407 | 408 | 421 | 423 | 425 | 429 | 500..=599 => {
                Outcome::Retry { reason: format!("status {}", self.status), after: self.asked }
            }
            status => Outcome::Refused(format!("status {status}")),
        }
    }
}

/// Seconds, or a date.
fn retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Duration::from_millis(u64::try_from(at.as_millisecond()).ok()?).saturating_sub(now))
}

/// A header that holds a credential: shown by nobody.
pub(super) fn bearer(token: &str) -> Result<HeaderMap, String> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| "the token has characters that no header can have".to_owned())?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(reqwest::header::AUTHORIZATION, value)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_mean_delivered_later_or_never() {
        let outcome = |status| Answer { status, asked: None, body: Vec::new() }.outcome();
        for status in [200, 202, 204] {
            assert_eq!(outcome(status), Outcome::Delivered);
        }
        for status in [401, 408, 429, 500, 503] {
            assert!(matches!(outcome(status), Outcome::Retry { .. }), "{status}");
        }
        for status in [301, 400, 413, 422] {
            assert_eq!(outcome(status), Outcome::Refused(format!("status {status}")));
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let year = retry_after("Fri, 06 Nov 2099 08:49:37 GMT").expect("a date");
        assert!(year > Duration::from_secs(365 * 24 * 3600));
        assert_eq!(retry_after("soon"), None);
    }

    #[test]
    fn an_address_that_is_none_is_refused_without_repeating_it() {
        for url in ["hunter2", "ftp://user:hunter2@host/", "https://"] {
            let error = Endpoint::new(url, Duration::from_secs(1), None).expect_err("refused");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
