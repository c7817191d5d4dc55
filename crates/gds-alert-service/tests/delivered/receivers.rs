//! Receivers over HTTP, the terminal and the hub.

use std::time::Duration;

use crate::support::{Bench, Receiver, Reply, TOPIC, end, holds};

const CANARY: &str = "c4n4ry-t0k3n";

/// Rules that fire at once, with one channel or several: a line for each, and who is told.
fn rules(channels: &str, to: &str) -> String {
    let routes: Vec<String> =
        to.split(' ').map(|channel| format!("    - {{channel: {channel}, continue: true}}\n")).collect();
    format!(
        "version: 1\nrouting:\n  default_channel: {}\n  channels:\n{channels}\n  routes:\n{}\
         rules:\n  - id: cpu_high\n    metric: cpu_usage\n    threshold: {{op: \">\", value: 85}}\n    \
         severity: critical\n    page: true\n    runbook_url: https://example.com/cpu\n    \
         annotations: {{summary: \"{{{{ instance_id }}}} is busy\"}}\n",
        to.split(' ').next().unwrap_or_default(),
        routes.concat()
    )
}

#[test]
fn a_page_and_its_resolve_reach_every_kind_of_receiver() {
    let bench = Bench::new();
    let [ingest, webhook, slack, pager] = [(); 4].map(|()| Receiver::start(&bench.runtime));
    let channels = format!(
        "    ingest: {{type: gds_notification, url: \"{}/api/\", db_instance_ids: {{db-1: 17}}}}\n    \
             hook: {{type: webhook, url: \"{}\"}}\n    chat: {{type: slack, channel: \"#dba\", url: \"{}\"}}\n    \
             pager: {{type: pagerduty, service: oncall, url: \"{}\"}}\n    bus: {{type: hub}}\n    \
             terminal: {{type: log}}\n",
        ingest.url, webhook.url, slack.url, pager.url
    );
    let credentials = [
        ("GDS_ALERTING_INGEST_TOKEN", CANARY),
        ("GDS_ALERTING_SLACK_TOKEN", "xoxb-1"),
        ("GDS_ALERTING_PAGER_ROUTING_KEY", "R123"),
    ];
    let service = bench.start(&rules(&channels, "ingest hook chat pager bus terminal"), &credentials);
    bench.measure("db-1", 92.0);
    let fired = ingest.next();
    assert_eq!((fired.path.as_str(), fired.authorization.as_deref()), ("/api/ingest", Some("Bearer c4n4ry-t0k3n")));
    assert_eq!(fired.body["alert_name"], "cpu_high");
    assert_eq!(fired.body["db_instance_id"], 17);
    let hook = webhook.next();
    assert_eq!(hook.body["status"], "firing");
    assert_eq!(hook.body["receiver"], "hook");
    assert_eq!(slack.next().body["channel"], "#dba");
    let triggered = pager.next();
    assert_eq!(triggered.body["event_action"], "trigger");
    assert_eq!(triggered.body["routing_key"], "R123");
    bench.wait_said(" FIRING critical page cpu_high:db-1:cpu_usage");

    bench.measure("db-1", 10.0);
    let over = ingest.next();
    assert_ne!(over.body["message_id"], fired.body["message_id"], "a resolve is not taken for the firing");
    assert_eq!(webhook.next().body["status"], "resolved");
    assert!(slack.next().body["text"].as_str().is_some_and(|text| text.starts_with("RESOLVED")));
    let resolved = pager.next();
    assert_eq!(resolved.body["event_action"], "resolve");
    assert_eq!(resolved.body["dedup_key"], triggered.body["dedup_key"]);
    bench.wait_said(" RESOLVED critical page cpu_high:db-1:cpu_usage");
    let events = bench.read("gds.alerts", 2);
    assert_eq!(events[0].0["type"], "alert.triggered");
    assert_eq!(events[1].0["type"], "alert.resolved");
    assert_eq!(events[0].0["data"]["correlation_id"], events[1].0["data"]["correlation_id"]);
    end(service);
}

#[test]
fn one_that_hangs_delays_no_other() {
    let bench = Bench::new();
    let [dead, alive] = [(); 2].map(|()| Receiver::start(&bench.runtime));
    dead.plan([Reply::Hang; 8]);
    let channels = format!(
        "    dead: {{type: webhook, url: \"{}\"}}\n    alive: {{type: webhook, url: \"{}\", timeout: 10s}}\n",
        dead.url, alive.url
    );
    let service = bench.start(&rules(&channels, "dead alive"), &[]);
    for instance in ["db-1", "db-2", "db-3"] {
        bench.measure(instance, 92.0);
        assert_eq!(dead.next().body["status"], "firing");
        assert_eq!(alive.next().body["commonLabels"]["instance_id"], instance);
    }
    end(service);
}

#[test]
fn a_busy_receiver_is_left_alone_for_as_long_as_it_asks() {
    let bench = Bench::new();
    let receiver = Receiver::start(&bench.runtime);
    receiver.plan([Reply::Busy(2), Reply::Status(500), Reply::Reset, Reply::Status(401)]);
    let service =
        bench.start(&rules(&format!("    hook: {{type: webhook, url: \"{}\"}}\n", receiver.url), "hook"), &[]);
    bench.measure("db-1", 92.0);
    let (first, second) = (receiver.next(), receiver.next());
    assert!(second.at - first.at >= Duration::from_secs(2), "{:?}", second.at - first.at);
    assert_eq!(second.body, first.body);
    let (third, fourth) = (receiver.next(), receiver.next());
    assert_eq!((&third.body, &fourth.body), (&first.body, &first.body));
    let last = receiver.next();
    assert_eq!(last.body, first.body, "delivered with the fifth try");
    // In order: the resolve comes after the firing that took so long.
    bench.measure("db-1", 10.0);
    assert_eq!(receiver.next().body["status"], "resolved");
    end(service);
}

#[test]
fn what_is_refused_for_good_is_with_the_dead_and_the_next_goes_on() {
    let bench = Bench::new();
    let receiver = Receiver::start(&bench.runtime);
    receiver.plan([Reply::Status(422)]);
    let channel = format!("    ingest: {{type: gds_notification, url: \"{}\"}}\n", receiver.url);
    let service = bench.start(&rules(&channel, "ingest"), &[]);
    bench.measure("db-1", 92.0);
    bench.measure("db-2", 93.0);
    let told = [receiver.next(), receiver.next()];
    let warning = bench.wait_said("refused a message for good");
    assert!(warning.contains("channel ingest") && warning.contains("422"), "{warning}");
    assert!(receiver.is_quiet(), "it is not sent again");
    end(service);
    let store = gds_alert_service::store::Store::open(&bench.state(), "embedded:test", 0).expect("a store");
    let dead = store.dead().expect("dead ones");
    assert_eq!((dead.len(), dead[0].reason.as_str()), (1, "status 422"));
    assert!(store.outbox().expect("an outbox").is_empty());
    assert_eq!(told.len(), 2);
}

#[test]
fn dead_letters_that_grow_are_an_alert() {
    let bench = Bench::new();
    let rules = format!(
        "{}  - id: dead_letters\n    metric: gds_alerting.dead_letters_total\n    threshold: {{op: \">\", value: 0}}\n",
        rules("    terminal: {type: log}\n", "terminal")
    );
    let service = bench.start(&rules, &[]);
    bench.publish(TOPIC, b"{");
    bench.wait_said("FIRING warning dead_letters:test:gds_alerting.dead_letters_total");
    end(service);
}

#[test]
fn a_credential_is_in_no_text_and_no_file() {
    let bench = Bench::new();
    let receiver = Receiver::start(&bench.runtime);
    // Nobody listens there any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port");
    let url = format!("http://{gone}/hook?api-key={CANARY}");
    let channels = format!(
        "    gone: {{type: webhook}}\n    pager: {{type: pagerduty, service: oncall, url: \"{}\"}}\n",
        receiver.url
    );
    receiver.plan([Reply::Status(400)]);
    let credentials = [("GDS_ALERTING_GONE_URL", url.as_str()), ("GDS_ALERTING_PAGER_ROUTING_KEY", CANARY)];
    let service = bench.start(&rules(&channels, "gone pager"), &credentials);
    bench.measure("db-1", 92.0);
    assert_eq!(receiver.next().body["routing_key"], CANARY);
    let warning = bench.wait_said("channel gone");
    assert!(warning.contains("cannot be reached"), "{warning}");
    bench.wait_said("channel pager has refused");
    end(service);
    let said = bench.said.lock().expect("unpoisoned").join("\n");
    assert!(!said.contains(CANARY), "{said}");
    assert!(!holds(bench.folder.path(), CANARY), "it is in a file");
}

#[test]
fn a_channel_that_lacks_something_is_an_error_that_names_it() {
    let bench = Bench::new();
    for (channel, parts) in [
        ("pager: {type: pagerduty, service: oncall}", vec!["channel pager", "GDS_ALERTING_PAGER_ROUTING_KEY"]),
        ("chat: {type: slack, channel: x}", vec!["GDS_ALERTING_SLACK_TOKEN", "WEBHOOK_URL"]),
        ("hook: {type: webhook}", vec!["url: missing", "GDS_ALERTING_HOOK_URL"]),
        ("hook: {type: webhook, url: \"http://localhost/\", tiemout: 5s}", vec!["unknown key `tiemout`", "timeout"]),
        ("log: {type: log, max_per_minute: 0}", vec!["max_per_minute", "whole number"]),
        ("mail: {type: email, to: dba@example.com}", vec!["GDS_ALERTING_EMAIL_FROM"]),
    ] {
        let name = channel.split(':').next().unwrap_or_default();
        let error = bench.try_start(&rules(&format!("    {channel}\n"), name), &[]).expect_err("refused");
        for part in parts {
            assert!(error.contains(part), "{part} is not in {error}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_a_dead_letter_with_its_reason() {
    let bench = Bench::new();
    let service = bench.start(&rules("    terminal: {type: log}\n", "terminal"), &[]);
    bench.publish(TOPIC, b"hunter2");
    bench.publish(TOPIC, br#"{"instance_id":"a","metric_name":"cpu_usage","value":"NaN"}"#);
    // Without tags and without a time: the hub's counts.
    bench.publish(TOPIC, br#"{"instance_id":"a","metric_name":"cpu_usage","value":99}"#);
    bench.wait_said(" FIRING critical page cpu_high:a:cpu_usage");
    let letters = bench.read("gds.metrics.dlq", 2);
    let header = |at: usize, name: &str| letters[at].1.iter().find(|(known, _)| known == name).map(|(_, v)| v.clone());
    assert_eq!(letters[0].0, "hunter2");
    assert_eq!(header(0, "dlq.reason").as_deref(), Some("malformed"));
    assert_eq!(header(0, "dlq.topic").as_deref(), Some(TOPIC));
    assert_eq!(header(1, "dlq.reason").as_deref(), Some("rejected"));
    assert_eq!(header(1, "dlq.error").as_deref(), Some("value is no number"));
    let counts = service.counts().expect("counts");
    assert_eq!((counts["samples_total"], counts["dead_letters_total"], counts["rejected_total"]), (2, 2, 1));
    end(service);
}
