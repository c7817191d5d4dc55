//! What a request for the page is answered, free of sockets: the built-in server and the ASGI and WSGI mounts all
//! answer with [`respond`].

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use percent_encoding::percent_decode_str;

use gds_net::{Auth, Handler, PLAIN_TEXT, RequestHead, Response};

use super::Page;
use crate::format::{Format, quality};

/// Below about one network packet, gzip saves no packet and costs two allocations.
const GZIP_FROM_BYTES: usize = 1024;

/// The answer to `request`: the page, `ok` at `/healthz` (which asks for no secret), or a status with a text that
/// says what to do.
///
/// `mounted`: the page sits in another application, which chose its path: every path is the page then, except those that
/// end in `/healthz`.
///
/// Renders the page and may read the file of secrets, so call it where blocking is allowed. Never panics: a page
/// that does becomes a 500.
pub fn respond(page: &dyn Page, auth: &Auth, request: &RequestHead<'_>, mounted: bool) -> Response {
    let mut response = answer(page, auth, request, mounted);
    if request.method == "HEAD" {
        response.body = Vec::new();
    }
    response
}

fn answer(page: &dyn Page, auth: &Auth, request: &RequestHead<'_>, mounted: bool) -> Response {
    let health = if mounted { request.path.ends_with("/healthz") } else { request.path == "/healthz" };
    let beside = if mounted { None } else { page.beside(request.path) };
    if !health && !mounted && beside.is_none() && !matches!(request.path, "/metrics" | "/") {
        return Response::text(404, "not found: the metrics are at /metrics\n");
    }
    if !matches!(request.method, "GET" | "HEAD") {
        return Response::text(405, "method not allowed: use GET or HEAD\n").with("allow", "GET, HEAD");
    }
    if health {
        return Response::text(200, "ok\n");
    }
    if !auth.allows(request.authorization) {
        let response = Response::text(401, "unauthorized: send the credentials that this server was set up with\n");
        return match auth.challenge() {
            Some(challenge) => response.with("www-authenticate", challenge),
            None => response,
        };
    }
    if let Some(handler) = beside {
        return catch_unwind(AssertUnwindSafe(|| handler.respond(request))).unwrap_or_else(|_| unwritten());
    }
    let format = Format::negotiate(request.accept);
    let names = names(request.query);
    // The page is only read, and what it reads is behind locks that do not stay locked when a holder panics.
    let body = match catch_unwind(AssertUnwindSafe(|| page.render(format, &names))) {
        Ok(Ok(body)) => body,
        Ok(Err(error)) => return Response::new(503, PLAIN_TEXT, format!("{error}\n").into_bytes()),
        Err(_) => return unwritten(),
    };
    let wants_gzip = body.len() >= GZIP_FROM_BYTES && accepts_gzip(request.accept_encoding);
    match wants_gzip.then(|| gzip(&body)) {
        Some(Ok(zipped)) => Response::new(200, format.content_type(), zipped).with("content-encoding", "gzip"),
        _ => Response::new(200, format.content_type(), body),
    }
    .with("vary", "accept, accept-encoding")
}

fn unwritten() -> Response {
    Response::text(500, "the page could not be written: this process's standard error says why\n")
}

/// A page for those who may see it.
pub struct PageHandler {
    /// What is shown.
    pub page: Arc<dyn Page>,
    /// To whom.
    pub auth: Auth,
}

impl Handler for PageHandler {
    fn respond(&self, request: &RequestHead<'_>) -> Response {
        respond(&*self.page, &self.auth, request, false)
    }
}

/// The values of every `name[]` in a query; blank ones count as absent, as in the official clients.
pub fn names(query: &str) -> Vec<String> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(name, value)| !value.is_empty() && decode(name) == "name[]")
        .map(|(_, value)| decode(value))
        .collect()
}

/// Whether a body may be sent gzipped, and the client does not prefer it plain (RFC 9110 section 12.5.3).
fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    let quality_of = |codings: &[&str]| {
        let elements = accept_encoding.unwrap_or_default().split(',').filter_map(|element| {
            let mut parts = element.split(';');
            let coding = parts.next()?.trim();
            codings.iter().any(|ours| coding.eq_ignore_ascii_case(ours)).then(|| quality(parts).unwrap_or(0))
        });
        elements.max()
    };
    let gzip = quality_of(&["gzip", "x-gzip"]).or_else(|| quality_of(&["*"])).unwrap_or(0);
    gzip > 0 && gzip >= quality_of(&["identity"]).unwrap_or(0)
}

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    // Pages of metrics shrink to a tenth or less.
    let zipped = Vec::with_capacity(body.len() / 8);
    let mut encoder = GzEncoder::new(zipped, Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    /// Shows what it was asked for.
    struct Echo;

    impl Page for Echo {
        fn render(&self, format: Format, names: &[String]) -> crate::Result<Vec<u8>> {
            Ok(format!("{format:?} {names:?}").into_bytes())
        }
    }

    struct Large;

    impl Page for Large {
        fn render(&self, _: Format, _: &[String]) -> crate::Result<Vec<u8>> {
            Ok(b"metric 1\n".repeat(1000))
        }
    }

    struct Broken;

    impl Page for Broken {
        fn render(&self, _: Format, _: &[String]) -> crate::Result<Vec<u8>> {
            panic!("this panic is part of a test")
        }
    }

    const GET: RequestHead<'static> = RequestHead {
        method: "GET",
        path: "/metrics",
        query: "",
        accept: None,
        accept_encoding: None,
        authorization: None,
        scrape_timeout: None,
        content_type: None,
        body: &[],
    };

    #[test]
    fn the_page_is_at_metrics_and_at_the_root_in_the_format_asked_for() {
        for path in ["/metrics", "/"] {
            let response = respond(&Echo, &Auth::None, &RequestHead { path, ..GET }, false);
            assert_eq!((response.status, &*response.body), (200, &b"Text []"[..]));
            assert_eq!(response.header("content-type"), Some(Format::Text.content_type()));
            assert_eq!(response.header("vary"), Some("accept, accept-encoding"));
            assert_eq!(response.header("cache-control"), Some("no-store"));
        }
        let request = RequestHead { accept: Some("application/openmetrics-text"), ..GET };
        let response = respond(&Echo, &Auth::None, &request, false);
        assert_eq!(&*response.body, b"OpenMetrics []");
        assert_eq!(response.header("content-type"), Some(Format::OpenMetrics.content_type()));
    }

    #[test]
    fn names_filter_the_page() {
        for (query, expected) in [
            ("name[]=a&name[]=b", vec!["a", "b"]),
            ("name%5B%5D=a%5fb&x=y", vec!["a_b"]),
            ("name[]=", vec![]),
            ("name=a&&=&name[]", vec![]),
            ("name[]=%C3%A9+%", vec!["é %"]),
            ("name[]=%FF", vec!["\u{FFFD}"]),
        ] {
            let response = respond(&Echo, &Auth::None, &RequestHead { query, ..GET }, false);
            assert_eq!(String::from_utf8(response.body).unwrap(), format!("Text {expected:?}"), "{query}");
        }
    }

    #[test]
    fn head_has_the_headers_of_get_and_no_body() {
        for path in ["/metrics", "/healthz", "/nowhere"] {
            let get = respond(&Large, &Auth::None, &RequestHead { path, ..GET }, false);
            let head = respond(&Large, &Auth::None, &RequestHead { method: "HEAD", path, ..GET }, false);
            assert_eq!((get.status, get.headers), (head.status, head.headers));
            assert!(!get.body.is_empty() && head.body.is_empty());
        }
    }

    #[test]
    fn other_paths_and_methods_are_told_what_to_use() {
        let response = respond(&Echo, &Auth::None, &RequestHead { path: "/favicon.ico", ..GET }, false);
        assert_eq!(response.status, 404);
        assert!(String::from_utf8(response.body).unwrap().contains("/metrics"));
        let response = respond(&Echo, &Auth::None, &RequestHead { method: "POST", ..GET }, false);
        assert_eq!((response.status, response.header("allow")), (405, Some("GET, HEAD")));
    }

    #[test]
    fn mounted_every_path_is_the_page_but_healthz() {
        for path in ["", "/", "/metrics", "/anything/else", "/metrics/healthzz"] {
            let response = respond(&Echo, &Auth::None, &RequestHead { path, ..GET }, true);
            assert_eq!(&*response.body, b"Text []", "{path}");
        }
        let response = respond(&Echo, &Auth::None, &RequestHead { path: "/metrics/healthz", ..GET }, true);
        assert_eq!(&*response.body, b"ok\n");
    }

    #[test]
    fn a_secret_is_asked_for_the_page_and_not_for_health() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "token").unwrap();
        let auth = Auth::bearer_file(file.path()).unwrap();
        for authorization in [None, Some("Bearer wrong")] {
            let response = respond(&Echo, &auth, &RequestHead { authorization, ..GET }, false);
            assert_eq!((response.status, response.header("www-authenticate")), (401, Some("Bearer realm=\"metrics\"")));
        }
        let right = RequestHead { authorization: Some("Bearer token"), ..GET };
        assert_eq!(respond(&Echo, &auth, &right, false).status, 200);
        assert_eq!(respond(&Echo, &auth, &RequestHead { path: "/healthz", ..GET }, false).status, 200);
    }

    /// Has something else at a path of its own.
    struct WithProbe;

    impl Page for WithProbe {
        fn render(&self, format: Format, names: &[String]) -> crate::Result<Vec<u8>> {
            Echo.render(format, names)
        }

        fn beside(&self, path: &str) -> Option<Arc<dyn Handler>> {
            (path == "/probe").then(|| Arc::new(Probe) as Arc<dyn Handler>)
        }
    }

    struct Probe;

    impl Handler for Probe {
        fn respond(&self, request: &RequestHead<'_>) -> Response {
            assert!(request.query != "panic", "this panic is part of a test");
            Response::new(200, PLAIN_TEXT, request.query.as_bytes().to_vec())
        }
    }

    #[test]
    fn what_is_beside_the_page_is_shown_to_those_who_may_see_the_page() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "token").unwrap();
        let auth = Auth::bearer_file(file.path()).unwrap();
        let probe = RequestHead { path: "/probe", query: "target=a", ..GET };
        assert_eq!(respond(&WithProbe, &auth, &probe, false).status, 401);
        let allowed = RequestHead { authorization: Some("Bearer token"), ..probe };
        assert_eq!(&*respond(&WithProbe, &auth, &allowed, false).body, b"target=a");
        assert_eq!(respond(&WithProbe, &Auth::None, &RequestHead { query: "panic", ..probe }, false).status, 500);
        assert_eq!(respond(&WithProbe, &Auth::None, &RequestHead { method: "POST", ..probe }, false).status, 405);
        assert_eq!(respond(&Echo, &Auth::None, &probe, false).status, 404);
        assert_eq!(&*respond(&WithProbe, &Auth::None, &probe, true).body, b"Text []");
    }

    #[test]
    fn large_bodies_are_zipped_for_those_who_take_it() {
        for (accept_encoding, zipped) in [
            (Some("gzip"), true),
            (Some("deflate, GZIP;q=0.5"), true),
            (Some("*"), true),
            (Some("gzip;q=0, *"), false),
            (Some("gzip;q=0.5, identity"), false),
            (Some("gzip;q=nonsense"), false),
            (Some("deflate, br"), false),
            (None, false),
        ] {
            let response = respond(&Large, &Auth::None, &RequestHead { accept_encoding, ..GET }, false);
            assert_eq!(response.header("content-encoding").is_some(), zipped, "{accept_encoding:?}");
            assert_eq!(response.header("content-length"), Some(&*response.body.len().to_string()));
            let mut page = Vec::new();
            if zipped {
                GzDecoder::new(&*response.body).read_to_end(&mut page).unwrap();
            } else {
                page = response.body;
            }
            assert_eq!(page, Large.render(Format::Text, &[]).unwrap());
        }
        let small = respond(&Echo, &Auth::None, &RequestHead { accept_encoding: Some("gzip"), ..GET }, false);
        assert_eq!(small.header("content-encoding"), None);
    }

    #[test]
    fn a_page_that_panics_is_a_500() {
        let response = respond(&Broken, &Auth::None, &GET, false);
        assert_eq!(response.status, 500);
    }

    proptest! {
        #[test]
        fn no_query_panics(query in "(\\PC|[&=+%]|name\\[\\]=|%5B|%[0-9a-fA-F]{2}){0,40}") {
            prop_assert!(names(&query).iter().all(|name| !name.is_empty()));
        }

        #[test]
        fn every_name_survives_its_encoding(wanted in proptest::collection::vec("\\PC{1,20}", 0..5)) {
            let encode = |name: &String| {
                format!("name[]={}", percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC))
            };
            let query = wanted.iter().map(encode).collect::<Vec<_>>().join("&");
            prop_assert_eq!(names(&query), wanted);
        }

        #[test]
        fn no_accept_encoding_panics(header in "(\\PC|gzip|[,;=*q.0-9]){0,40}") {
            accepts_gzip(Some(&header));
        }
    }
}
