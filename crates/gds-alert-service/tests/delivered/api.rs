//! What the API answers, and what it does not take.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use gds_net::{Auth, ServerOptions};
use serde_json::Value;

use crate::support::{Bench, LONG, end};

const RULES: &str = "version: 1\nrouting: {default_channel: log, channels: {log: {type: log}}}\nrules:\n  \
                     - {id: cpu_high, metric: cpu_usage, threshold: {op: \">\", value: 85}}\n";

/// Status and body of an answer.
fn ask(to: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(to).expect("connected");
    stream.set_read_timeout(Some(LONG)).expect("set");
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or_else(|_| body.into()))
}

const JSON: &str = "content-type: application/json\r\n";

#[test]
fn what_is_asked_in_the_wrong_way_is_refused_with_a_reason() {
    let bench = Bench::new();
    let service = bench.start(RULES, &[]);
    let server = service.serve(ServerOptions::new("127.0.0.1", 0), Auth::None).expect("a server");
    let to = server.local_addr();
    assert_eq!(ask(to, "GET", "/healthz", "", "").0, 200);
    let (status, ready) = ask(to, "GET", "/readyz", "", "");
    assert_eq!((status, &ready["hub"]), (200, &Value::from("ok")));
    let (status, page) = ask(to, "GET", "/metrics", "", "");
    assert!(
        status == 200 && page.as_str().is_some_and(|page| page.contains("gds_alerting_samples_total 0\n")),
        "{page}"
    );
    let acknowledge = "/api/v1/alerts/acknowledge";
    for (method, path, headers, body, status, part) in [
        ("POST", acknowledge, JSON, r#"{"key":"k"}"#, 409, "there is no such alert"),
        ("POST", acknowledge, "content-type: text/plain\r\n", r#"{"key":"k"}"#, 415, "application/json"),
        ("POST", acknowledge, JSON, r#"{"kee":"k"}"#, 400, "kee"),
        ("POST", acknowledge, JSON, &format!("{{\"key\":\"{}\"}}", "k".repeat(2000)), 400, "longer than"),
        ("POST", acknowledge, JSON, &"x".repeat(70_000), 413, "too large"),
        ("GET", acknowledge, "", "", 405, "docs/alerting.md"),
        ("GET", "/api/v1/nothing", "", "", 404, "docs/alerting.md"),
        ("GET", "/api/v1/history?limit=x", "", "", 400, "limit"),
        ("POST", "/api/v1/silences", JSON, r#"{"matchers":[],"for":"1h"}"#, 400, "one at least"),
    ] {
        let (found, answer) = ask(to, method, path, headers, body);
        assert_eq!(found, status, "{method} {path}: {answer}");
        assert!(answer.to_string().contains(part), "{method} {path}: {answer}");
    }
    end(service);
    assert_eq!(ask(to, "GET", "/readyz", "", "").0, 503, "the service has ended");
    assert_eq!(ask(to, "GET", "/healthz", "", "").0, 200);
}

#[test]
fn who_has_no_token_sees_nothing() {
    let bench = Bench::new();
    let service = bench.start(RULES, &[]);
    let token = bench.folder.path().join("token");
    std::fs::write(&token, "c4n4ry\n").expect("written");
    let auth = Auth::bearer_file(&token).expect("a token");
    let server = service.serve(ServerOptions::new("127.0.0.1", 0), auth).expect("a server");
    let to = server.local_addr();
    assert_eq!(ask(to, "GET", "/api/v1/alerts", "", "").0, 401);
    assert_eq!(ask(to, "GET", "/api/v1/alerts", "authorization: Bearer canary\r\n", "").0, 401);
    assert_eq!(ask(to, "GET", "/api/v1/alerts", "authorization: Bearer c4n4ry\r\n", "").0, 200);
    end(service);
}

#[test]
fn alertmanagers_clients_see_groups_receivers_and_errors_in_their_form() {
    let bench = Bench::new();
    let rules = RULES.replace(
        "channels: {log: {type: log}}",
        "channels: {log: {type: log}, spare: {type: log}}, routes: [{match: {environment: production}, \
         channels: [log, spare], group_by: [environment]}]",
    );
    let service = bench.start(&rules, &[]);
    let server = service.serve(ServerOptions::new("127.0.0.1", 0), Auth::None).expect("a server");
    let to = server.local_addr();
    assert_eq!(ask(to, "GET", "/api/v2/receivers", "", "").1, serde_json::json!([{"name": "log"}, {"name": "spare"}]));
    for instance in ["db-1", "db-2"] {
        bench.measure(instance, 92.0);
    }
    while ask(to, "GET", "/api/v2/alerts", "", "").1.as_array().is_none_or(|alerts| alerts.len() < 2) {
        std::thread::yield_now();
    }
    let (status, groups) = ask(to, "GET", "/api/v2/alerts/groups?receiver=sp.%2B", "", "");
    assert_eq!((status, groups.as_array().map(Vec::len)), (200, Some(1)), "{groups}");
    assert_eq!(groups[0]["labels"], serde_json::json!({"environment": "production"}));
    assert_eq!(
        (&groups[0]["receiver"]["name"], groups[0]["alerts"].as_array().map(Vec::len)),
        (&"spare".into(), Some(2))
    );
    let silence =
        |part: &str| format!("{{\"startsAt\":\"2026-01-01T00:00:00Z\",\"createdBy\":\"a\",\"comment\":\"\",{part}}}");
    let ends = "\"endsAt\":\"2099-01-01T00:00:00+02:00\"";
    for (method, path, body, status, part) in [
        ("POST", "alerts", "[]".to_owned(), 405, "none can be posted"),
        ("GET", "alerts?filter=a", String::new(), 400, "filter: \"a\" is no matcher"),
        ("GET", "alerts?active=yes", String::new(), 400, "active: \"yes\" is wrong here"),
        ("GET", "alerts?receiver=(", String::new(), 400, "receiver: \"(\" is no regular expression"),
        ("GET", "silence/none", String::new(), 404, "there is no such silence"),
        ("DELETE", "silence/none", String::new(), 404, "there is no such silence"),
        ("POST", "silences", silence(&format!("{ends},\"matchers\":[]")), 400, "one at least"),
        (
            "POST",
            "silences",
            silence("\"endsAt\":\"2026-01-02T00:00:00Z\",\"matchers\":[{\"name\":\"a\",\"value\":\"b\"}]"),
            400,
            "endsAt",
        ),
        (
            "POST",
            "silences",
            silence(&format!("{ends},\"id\":\"none\",\"matchers\":[{{\"name\":\"a\",\"value\":\"b\"}}]")),
            404,
            "no such silence",
        ),
        ("DELETE", "silences", String::new(), 405, "docs/alerting.md"),
        ("GET", "nothing", String::new(), 404, "docs/alerting.md"),
    ] {
        let (found, answer) = ask(to, method, &format!("/api/v2/{path}"), JSON, &body);
        assert_eq!(found, status, "{method} {path}: {answer}");
        assert!(answer.as_str().is_some_and(|text| text.contains(part)), "{method} {path}: {answer}");
    }
    end(service);
}
