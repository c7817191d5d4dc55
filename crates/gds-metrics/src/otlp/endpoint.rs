//! Where to export to, in a form that can be shown.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// The URL of a receiver. Its user information is kept apart, as a header, and neither that nor its query is shown.
#[derive(Clone)]
pub struct Endpoint {
    url: Url,
    shown: String,
}

impl Endpoint {
    /// Reads a URL of scheme `http` or `https` with a host. For text without a scheme, `default_scheme` is prepended
    /// if there is one. Returns the endpoint and, if the URL names a user, the value of the header that says so.
    pub(super) fn parse(text: &str, default_scheme: Option<&str>) -> Option<(Self, Option<HeaderValue>)> {
        let mut url = match (text.contains("://"), default_scheme) {
            (false, Some(scheme)) => Url::parse(&format!("{scheme}://{text}")),
            _ => Url::parse(text),
        }
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())?;
        // Sent as a header for both transports: RFC 9113, section 8.3.1, bars it from HTTP/2's :authority.
        let user = (!url.username().is_empty() || url.password().is_some()).then(|| basic(&url));
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        url.set_fragment(None);
        let shown = shown(url.as_str());
        Some((Self { url, shown }, user.flatten()))
    }

    /// Puts `v1/metrics` below the path: "Endpoint URLs for OTLP/HTTP", point 2, of `protocol/exporter.md`.
    #[must_use]
    pub(super) fn with_signal_path(mut self) -> Self {
        let path = format!("{}/v1/metrics", self.url.path().trim_end_matches('/'));
        self.url.set_path(&path);
        self.shown = shown(self.url.as_str());
        self
    }

    /// The URL, which may hold a secret in its query.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The URL without user information and query, to be shown.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether the connection is encrypted.
    pub fn is_secure(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether it is on this machine, where no proxy has a place.
    pub fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(addr)) => addr.is_loopback(),
            Some(Host::Ipv6(addr)) => addr.is_loopback(),
            None => false,
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shown, f)
    }
}

/// What may be shown of text that was given as an endpoint, readable as a URL or not.
pub(super) fn shown(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    // The last `@` and not that of the authority: a password with a slash in it makes the text unreadable as a URL,
    // which is when it would be shown.
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    if scheme.is_empty() { rest.to_owned() } else { format!("{scheme}://{rest}") }
}

fn basic(url: &Url) -> Option<HeaderValue> {
    let mut user = percent_decode_str(url.username()).collect::<Vec<u8>>();
    user.push(b':');
    user.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(user))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_information_becomes_a_header_and_is_never_shown() {
        let (endpoint, user) = Endpoint::parse("https://me:p%40ss@host:1/x?key=secret", None).unwrap();
        assert_eq!(user.unwrap(), format!("Basic {}", STANDARD.encode("me:p@ss")));
        assert_eq!(endpoint.url().as_str(), "https://host:1/x?key=secret");
        assert_eq!(endpoint.shown(), "https://host:1/x");
        assert_eq!(format!("{endpoint:?}"), "\"https://host:1/x\"");
    }

    #[test]
    fn text_that_is_no_url_is_shown_without_what_may_be_a_password() {
        for text in ["ftp://me:secret@host/x", "http://me:sec/ret@host", "me:secret@host", "http://host:x?secret"] {
            assert!(!shown(text).contains("ret"), "{text} -> {}", shown(text));
        }
    }

    #[test]
    fn loopback_is_known_by_name_and_address() {
        for (text, expected) in [
            ("http://localhost:1", true),
            ("http://a.localhost", true),
            ("http://127.9.9.9:1", true),
            ("http://[::1]:1", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example.com", false),
        ] {
            assert_eq!(Endpoint::parse(text, None).unwrap().0.is_loopback(), expected, "{text}");
        }
    }
}
