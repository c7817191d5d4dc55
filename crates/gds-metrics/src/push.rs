//! Pushing a page to a Prometheus Pushgateway, for jobs that end before anyone scrapes them.
//!
//! One request each, no retry: the caller knows whether a job may wait. The password of a gateway, given in its URL,
//! is sent and is part of no message.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use gds_net::tls;
use http::{HeaderMap, header};
use once_cell::race::OnceBox;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::{Client, Method};
use rustls::ClientConfig;
use url::{Host, Url};

use crate::error::{Error, Result};
use crate::format::Format;
use crate::headers;
use crate::resolver::ForkSafeResolver;

/// The official clients' time-out.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Of a refusal, as much as fits a log line.
const BODY_CHARS: usize = 200;

/// What a path segment may hold as it is (RFC 3986 section 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A group of metrics on a Pushgateway: where to push, and how.
pub struct PushTarget {
    /// With job and labels, without user and password.
    url: Url,
    credentials: Option<(String, String)>,
    replace: bool,
    timeout: Duration,
    /// Marked as sensitive.
    headers: HeaderMap,
    tls: Option<ClientConfig>,
    client: OnceBox<Client>,
}

impl PushTarget {
    /// The group of `job` and the labels `grouping_key` on the gateway at `gateway_url`, which may lack its scheme
    /// (then `http://`), hold `user:password@` in percent-encoding, and end in the path that the gateway sits at.
    ///
    /// Fails with setting `gateway_url`, `job` or `grouping_key`.
    pub fn new(gateway_url: &str, job: &str, grouping_key: &[(String, String)]) -> Result<Self> {
        if job.is_empty() {
            return Err(Error::setting("job", "", "a name; the gateway groups what it holds by it"));
        }
        let mut url = parse(gateway_url)?;
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let given = !url.username().is_empty() || url.password().is_some();
        let credentials = given.then(|| (decode(url.username()), decode(url.password().unwrap_or_default())));
        let mut path = url.path().trim_end_matches('/').to_owned() + "/metrics";
        push_label(&mut path, "job", job);
        for (position, (name, value)) in grouping_key.iter().enumerate() {
            let expected = if !is_label_name(name) {
                "label names of letters, digits and underscores that do not start with a digit"
            } else if name == "job" {
                "labels besides job, which is given on its own"
            } else if grouping_key[..position].iter().any(|(other, _)| other == name) {
                "each label once"
            } else {
                push_label(&mut path, name, value);
                continue;
            };
            return Err(Error::setting("grouping_key", name, expected));
        }
        url.set_path(&path);
        // An `http` URL with a host takes both.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Ok(Self {
            url,
            credentials,
            replace: false,
            timeout: TIMEOUT,
            headers: HeaderMap::new(),
            tls: None,
            client: OnceBox::new(),
        })
    }

    /// Sends further headers, such as the token that a proxy before the gateway asks for.
    ///
    /// Fails with setting `headers`, without their values: they hold secrets.
    pub fn headers(mut self, given: &[(String, String)]) -> Result<Self> {
        for (name, value) in given {
            let refused = |expected| Error::setting("headers", headers::shown_name(name), expected);
            headers::add(&mut self.headers, name, value).map_err(refused)?;
            if self.credentials.is_some() && self.headers.contains_key(header::AUTHORIZATION) {
                return Err(refused("one way to say who pushes; leave the user out of gateway_url, or this out"));
            }
        }
        Ok(self)
    }

    /// Whether a push replaces the whole group (`PUT`), instead of the metrics of the same names only (`POST`).
    #[must_use]
    pub fn replace(mut self, replace: bool) -> Self {
        self.replace = replace;
        self
    }

    /// How long a request may take altogether, connecting included; 30 seconds unless told otherwise.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whom to trust and what to show, from [`tls::client_config`]; an `https://` gateway is checked against the
    /// operating system's issuers without it.
    #[must_use]
    pub fn tls(mut self, tls: ClientConfig) -> Self {
        self.tls = Some(tls);
        self.client = OnceBox::new();
        self
    }

    /// Where requests go, without user and password.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Made at the first request, since the operating system's issuers take milliseconds to read.
    fn client(&self) -> Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let tls = match &self.tls {
            Some(tls) => tls.clone(),
            None if self.url.scheme() == "https" => tls::client_config(None, None, None)?,
            None => tls::trusting_nobody()?,
        };
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(ForkSafeResolver)
            // A push that was sent elsewhere would take its password along.
            .redirect(reqwest::redirect::Policy::none())
            // Pushes are far apart, and a connection kept open would be shared with forked children.
            .pool_max_idle_per_host(0);
        if is_loopback(&self.url) {
            // A proxy's own loopback is another one.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| self.unreachable(error))?;
        Ok(self.client.get_or_init(|| Box::new(client)))
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        let timed_out = error.is_timeout();
        let error = error.without_url();
        let mut cause: &dyn std::error::Error = &error;
        // The outer ones say "error sending request" and the like.
        while let Some(source) = cause.source() {
            cause = source;
        }
        let reason = if timed_out { format!("no answer within {:?}", self.timeout) } else { cause.to_string() };
        Error::Unreachable { url: self.url.to_string(), reason, timed_out }
    }

    async fn send(&self, method: Method, body: Option<Vec<u8>>) -> Result<()> {
        let mut request = self.client()?.request(method, self.url.clone()).headers(self.headers.clone());
        request = request.timeout(self.timeout);
        if let Some((user, password)) = &self.credentials {
            request = request.basic_auth(user, Some(password));
        }
        if let Some(body) = body {
            request = request.header(reqwest::header::CONTENT_TYPE, Format::Text.content_type()).body(body);
        }
        let mut response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let mut said = Vec::new();
        // No character has more than four bytes. The status is what counts: a body that breaks off ends there.
        while said.len() < 4 * BODY_CHARS
            && let Ok(Some(chunk)) = response.chunk().await
        {
            said.extend_from_slice(&chunk);
        }
        let body = String::from_utf8_lossy(&said).trim().chars().take(BODY_CHARS).collect();
        Err(Error::Refused { url: self.url.to_string(), status: status.as_u16().to_string(), body })
    }
}

impl fmt::Debug for PushTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushTarget")
            .field("url", &self.url.as_str())
            .field("replace", &self.replace)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Pushes `page`, in [`Format::Text`], to `target`.
///
/// Fails with [`Error::Unreachable`] when there was no answer, with [`Error::Refused`] when it was not a success.
pub async fn push(page: Vec<u8>, target: &PushTarget) -> Result<()> {
    target.send(if target.replace { Method::PUT } else { Method::POST }, Some(page)).await
}

/// Deletes the group of `target` from the gateway; one that is not there counts as deleted.
///
/// Fails as [`push`] does.
pub async fn delete(target: &PushTarget) -> Result<()> {
    target.send(Method::DELETE, None).await
}

fn parse(gateway_url: &str) -> Result<Url> {
    let refused = |expected| Error::setting("gateway_url", &without_user(gateway_url), expected);
    let with_scheme = if gateway_url.contains("://") { gateway_url.into() } else { format!("http://{gateway_url}") };
    let url = Url::parse(&with_scheme)
        .map_err(|_| refused("a URL such as http://user:password@host:9091, user and password percent-encoded"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused("a URL that starts with http:// or https://"));
    }
    // With `/`, `?` or `#` in it as they are, a password ends the host early, and its rest would show in messages.
    if url.query().is_some() || url.fragment().is_some() || url.path().contains('@') {
        return Err(refused("a URL without query, fragment and @ in its path; percent-encode the password"));
    }
    Ok(url)
}

/// What may be shown of a URL that was not understood: nothing up to the last `@`.
fn without_user(gateway_url: &str) -> &str {
    gateway_url.rsplit_once('@').map_or(gateway_url, |(_, rest)| rest)
}

/// Appends a label to a path as the gateway's documentation asks ("URL" in its README).
fn push_label(path: &mut String, name: &str, value: &str) {
    path.push('/');
    path.push_str(name);
    // Dots alone would be taken for "this folder" and "the one above".
    if value.is_empty() || value.contains('/') || matches!(value, "." | "..") {
        path.push_str("@base64/");
        BASE64_URL_SAFE_NO_PAD.encode_string(value, path);
        if value.is_empty() {
            // A segment must not be empty; padding is what nothing encodes to.
            path.push('=');
        }
    } else {
        path.push('/');
        path.extend(utf8_percent_encode(value, SEGMENT));
    }
}

fn is_label_name(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}
