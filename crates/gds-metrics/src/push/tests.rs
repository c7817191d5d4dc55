//! Pushes to a gateway that is played by a thread.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use gds_net::testing::Pki;
use gds_net::{Auth, Server, ServerOptions};
use proptest::prelude::*;
use tokio::runtime::Builder;

use super::*;
use crate::http::{Page, PageHandler};

const DEADLINE: Duration = Duration::from_secs(20);

/// Takes one request, gives one answer, returns what it was sent.
fn gateway(answer: String) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut taken = Vec::new();
        loop {
            let mut piece = [0; 4096];
            let len = stream.read(&mut piece).unwrap();
            taken.extend_from_slice(&piece[..len]);
            let text = String::from_utf8(taken.clone()).unwrap();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                stream.write_all(answer.as_bytes()).unwrap();
                return text;
            }
        }
    });
    (addr, served)
}

fn answering(status: &str, body: &str) -> (SocketAddr, JoinHandle<String>) {
    gateway(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn url(gateway: &str, job: &str, pairs: &[(&str, &str)]) -> String {
    PushTarget::new(gateway, job, &labels(pairs)).unwrap().url().to_owned()
}

#[test]
fn groups_become_paths_as_the_gateway_documents() {
    let gateway = "http://gw:9091";
    for (job, pairs, path) in [
        ("some_job", &[("instance", "some_instance")][..], "job/some_job/instance/some_instance"),
        ("directory_cleaner", &[("path", "/var/tmp")], "job/directory_cleaner/path@base64/L3Zhci90bXA"),
        ("titan", &[("name", "Προμηθεύς")], "job/titan/name/%CE%A0%CF%81%CE%BF%CE%BC%CE%B7%CE%B8%CE%B5%CF%8D%CF%82"),
        (
            "example",
            &[("first_label", ""), ("second_label", "foobar")],
            "job/example/first_label@base64/=/second_label/foobar",
        ),
        ("a/b", &[], "job@base64/YS9i"),
        ("..", &[("x", ".")], "job@base64/Li4/x@base64/Lg"),
        ("a b?#%", &[], "job/a%20b%3F%23%25"),
    ] {
        assert_eq!(url(gateway, job, pairs), format!("{gateway}/metrics/{path}"));
    }
}

#[test]
fn gateways_may_lack_a_scheme_and_sit_below_a_path() {
    assert_eq!(url("localhost:9091", "j", &[]), "http://localhost:9091/metrics/job/j");
    assert_eq!(url("https://gw/behind/", "j", &[]), "https://gw/behind/metrics/job/j");
    assert_eq!(url("user:hunter2@gw:9091", "j", &[]), "http://gw:9091/metrics/job/j");
}

#[test]
fn settings_that_cannot_work_are_named_without_the_password() {
    for gateway in [
        "http://u:hunter2@",
        "http://u:hun/ter2@gw",
        "http://u:1/hunter2@gw",
        "http://u:1?hunter2@gw",
        "http://u:1#hunter2@gw",
        "ftp://u:hunter2@gw",
        "",
    ] {
        let error = PushTarget::new(gateway, "j", &[]).unwrap_err();
        assert!(
            matches!(error, Error::Unusable(gds_net::Error::Setting { setting: "gateway_url", .. })),
            "{gateway}: {error}"
        );
        assert!(!format!("{error} {error:?}").contains("ter2"), "{gateway}: {error}");
    }
    let error = PushTarget::new("gw", "", &[]).unwrap_err();
    assert!(matches!(error, Error::Unusable(gds_net::Error::Setting { setting: "job", .. })));
    for pairs in [&[("a-b", "x")][..], &[("", "x")], &[("1", "x")], &[("job", "x")], &[("a", "x"), ("a", "y")]] {
        let error = PushTarget::new("gw", "j", &labels(pairs)).unwrap_err();
        assert!(matches!(error, Error::Unusable(gds_net::Error::Setting { setting: "grouping_key", .. })), "{pairs:?}");
    }
}

#[test]
fn a_push_adds_or_replaces_with_the_credentials_of_the_url() {
    for (replace, method) in [(false, "POST"), (true, "PUT")] {
        let (addr, served) = answering("202 Accepted", "");
        let target = PushTarget::new(&format!("http://us%40er:hunter%2F2@{addr}"), "j", &[]).unwrap();
        assert!(!format!("{target:?}").contains("hunter"), "{target:?}");
        block_on(push(b"up 1\n".to_vec(), &target.replace(replace))).unwrap();
        let request = served.join().unwrap();
        assert!(request.starts_with(&format!("{method} /metrics/job/j HTTP/1.1\r\n")), "{request}");
        assert!(request.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{request}");
        // us@er:hunter/2
        assert!(request.contains("authorization: Basic dXNAZXI6aHVudGVyLzI=\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\nup 1\n"), "{request}");
    }
}

#[test]
fn a_group_can_be_deleted() {
    let (addr, served) = answering("202 Accepted", "");
    block_on(delete(&PushTarget::new(&addr.to_string(), "j", &labels(&[("a", "b")])).unwrap())).unwrap();
    assert!(served.join().unwrap().starts_with("DELETE /metrics/job/j/a/b HTTP/1.1\r\n"));
}

#[test]
fn headers_go_along_and_are_never_shown() {
    let (addr, served) = answering("202 Accepted", "");
    let target = PushTarget::new(&addr.to_string(), "j", &[]).unwrap();
    let target = target.headers(&labels(&[("Authorization", "Bearer hunter2"), ("X-Scope", "a")])).unwrap();
    assert!(!format!("{target:?}").contains("hunter2"), "{target:?}");
    block_on(push(b"up 1\n".to_vec(), &target)).unwrap();
    let request = served.join().unwrap();
    assert!(request.contains("authorization: Bearer hunter2\r\n"), "{request}");
    assert!(request.contains("x-scope: a\r\n"), "{request}");
}

#[test]
fn headers_that_cannot_be_sent_are_named_without_their_values() {
    for (gateway, name, value) in [
        ("gw", "a b", "hunter2"),
        ("gw", "Authorization: Basic hunter2", "x"),
        ("gw", "content-type", "hunter2"),
        ("gw", "x", "hunter\n2"),
        ("u:p@gw", "Authorization", "hunter2"),
    ] {
        let target = PushTarget::new(gateway, "j", &[]).unwrap();
        let error = target.headers(&labels(&[(name, value)])).unwrap_err();
        assert!(
            matches!(error, Error::Unusable(gds_net::Error::Setting { setting: "headers", .. })),
            "{name}: {error}"
        );
        assert!(!format!("{error} {error:?}").contains("hunter"), "{name}: {error}");
    }
}

#[test]
fn a_refusal_tells_the_status_and_the_start_of_the_body() {
    let (addr, served) = answering("400 Bad Request", &"é".repeat(5000));
    let target = PushTarget::new(&format!("u:hunter2@{addr}"), "j", &[]).unwrap();
    let error = block_on(push(Vec::new(), &target)).unwrap_err();
    served.join().unwrap();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    let Error::Refused { status, body, .. } = error else { panic!("{error}") };
    assert_eq!((&*status, body), ("400", "é".repeat(200)));
}

#[test]
fn a_redirect_is_not_followed() {
    let (addr, served) =
        gateway("HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".into());
    let error = block_on(push(Vec::new(), &PushTarget::new(&addr.to_string(), "j", &[]).unwrap())).unwrap_err();
    served.join().unwrap();
    assert!(matches!(error, Error::Refused { ref status, .. } if status == "307"), "{error}");
}

#[test]
fn nobody_there_is_unreachable_and_may_be_tried_again() {
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = PushTarget::new(&format!("u:hunter2@{addr}"), "j", &[]).unwrap();
    let error = block_on(push(Vec::new(), &target)).unwrap_err();
    assert!(error.retriable() && !format!("{error} {error:?}").contains("hunter2"), "{error}");
    let Error::Unreachable { reason, timed_out: false, .. } = error else { panic!("{error}") };
    assert!(reason.contains("refused"), "{reason}");
}

#[test]
fn a_gateway_that_does_not_answer_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = PushTarget::new(&listener.local_addr().unwrap().to_string(), "j", &[]).unwrap();
    let error = block_on(push(Vec::new(), &target.timeout(Duration::from_millis(100)))).unwrap_err();
    assert!(matches!(error, Error::Unreachable { timed_out: true, .. }), "{error}");
    assert!(error.to_string().contains("100ms"), "{error}");
}

#[test]
fn a_gateway_with_tls_is_checked_against_the_issuers_given() {
    struct Nothing;
    impl Page for Nothing {
        fn render(&self, _: Format, _: &[String]) -> Result<Vec<u8>> {
            Ok(Vec::new())
        }
    }
    let (pki, other) = (Pki::new(), Pki::new());
    let (cert, key) = pki.issue("gateway");
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut options = ServerOptions::new("127.0.0.1", 0);
    options.tls = tls::server_config(Some(&cert), Some(&key), None).unwrap();
    let server =
        Server::start(options, Arc::new(PageHandler { page: Arc::new(Nothing), auth: Auth::None }), runtime.handle())
            .unwrap();
    let target = |pki: &Pki| {
        let gateway = format!("https://{}", server.local_addr());
        let tls = tls::client_config(Some(&pki.path("ca.pem")), None, None).unwrap();
        PushTarget::new(&gateway, "j", &[]).unwrap().tls(tls)
    };
    // What a server of pages says to a push shows that it was understood.
    let error = runtime.block_on(delete(&target(&pki))).unwrap_err();
    assert!(matches!(error, Error::Refused { ref status, .. } if status == "404"), "{error}");
    let error = runtime.block_on(delete(&target(&other))).unwrap_err();
    assert!(matches!(error, Error::Unreachable { ref reason, .. } if reason.contains("certificate")), "{error}");
}

#[test]
fn only_loopback_goes_without_a_proxy() {
    for (gateway, expected) in [
        ("localhost:1", true),
        ("127.0.0.9", true),
        ("[::1]:1", true),
        ("a.localhost", true),
        ("gw", false),
        ("10.0.0.1", false),
    ] {
        assert_eq!(is_loopback(&parse(gateway).unwrap()), expected, "{gateway}");
    }
}

proptest! {
    #[test]
    fn every_group_is_one_path_below_metrics(job in "\\PC{1,20}", value in "\\PC{0,20}") {
        let target = PushTarget::new("gw", &job, &[("l".to_owned(), value)]).unwrap();
        prop_assert_eq!(target.url.path().split('/').count(), 6);
        prop_assert!(target.url.query().is_none() && target.url.fragment().is_none());
    }
}
