//! Signs of life, ours and those of collectors.

use gds_alert_service::store::Store;
use gds_events::{CollectorHeartbeat, HeartbeatStatus, Timestamp};

use crate::support::{Bench, Receiver, Reply, end};

const TOPIC: &str = "gds.heartbeats";

fn rules(channels: &str, heartbeat: &str, rules: &str) -> String {
    format!(
        "version: 1\nrouting:\n  default_channel: hook\n  channels:\n{channels}  heartbeat: {heartbeat}\n\
         policy: {{lateness: 0s}}\nrules:\n{rules}"
    )
}

const CPU: &str = "  - {id: cpu_high, metric: cpu_usage, threshold: {op: \">\", value: 85}}\n";

fn beat(at_ms: i64, status: HeartbeatStatus) -> Vec<u8> {
    let beat = CollectorHeartbeat {
        timestamp: Timestamp::from_millis(at_ms),
        collector: "postgresql".to_owned(),
        instance_id: "db-1".to_owned(),
        database_type: "postgresql".to_owned(),
        topic: "gds.metrics.postgresql.production".to_owned(),
        status,
        reason: None,
        interval_ms: 1000,
        metrics: 120,
        duration_ms: 45,
        correlation_id: None,
    };
    let mut value = Vec::new();
    beat.write_json(&mut value);
    value
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292 million")
}

#[test]
fn a_sign_of_life_goes_out_and_is_neither_kept_nor_tried_again() {
    let bench = Bench::new();
    let [hook, watchdog] = [(); 2].map(|()| Receiver::start(&bench.runtime));
    watchdog.plan([Reply::Status(202), Reply::Status(503), Reply::Status(503)]);
    let channels = format!(
        "    hook: {{type: webhook, url: \"{}\"}}\n    deadman: {{type: webhook, url: \"{}\"}}\n",
        hook.url, watchdog.url
    );
    let service = bench.start(&rules(&channels, "{channel: deadman, every: 1s}", CPU), &[]);
    assert_eq!(service.counts().expect("counts")["heartbeats_total"], 0, "nothing is read yet");
    bench.measure("db-1", 10.0);
    let beats: Vec<_> = (0..4).map(|_| watchdog.next()).collect();
    for beat in &beats {
        let alert = &beat.body["alerts"][0];
        assert_eq!((&beat.body["status"], &alert["labels"]["alertname"]), (&"firing".into(), &"Watchdog".into()));
        assert_eq!(alert["fingerprint"], beats[0].body["alerts"][0]["fingerprint"]);
    }
    assert!(
        beats.is_sorted_by(|one, next| next.at - one.at >= std::time::Duration::from_millis(900)),
        "each in its turn"
    );
    let refused = bench.wait_said("has not taken a heartbeat (status 503)");
    bench.wait_said("channel deadman takes heartbeats again");
    assert_eq!(bench.said.lock().expect("unpoisoned").iter().filter(|text| **text == refused).count(), 1);
    let counts = service.counts().expect("counts");
    assert_eq!((counts["heartbeats_failed_total"], counts["notifications_total"]), (2, 0));
    assert!(counts["heartbeats_total"] >= 2);
    end(service);
    let store = Store::open(&bench.state(), "embedded:test", 0).expect("a store");
    assert!(store.outbox().expect("an outbox").is_empty() && store.dead().expect("the dead").is_empty());
    assert!(hook.is_quiet(), "it is an alert to nobody else");
}

#[test]
fn a_sign_of_life_on_the_hub_is_one_of_a_collector() {
    let bench = Bench::new();
    let hook = Receiver::start(&bench.runtime);
    let channels = format!("    hook: {{type: webhook, url: \"{}\"}}\n    bus: {{type: hub}}\n", hook.url);
    let watched = "  - {id: watcher_away, metric: gds.heartbeat, filter: 'tags.collector == \"gds_alerting\"', \
                   threshold: {op: \"<\", value: 2}}\n";
    let service = bench.start(&rules(&channels, "{channel: bus, every: 1s}", watched), &[]);
    bench.measure("db-1", 10.0);
    let (value, _) = bench.read(TOPIC, 1).remove(0);
    let beat: CollectorHeartbeat = serde_json::from_value(value).expect("a heartbeat");
    assert_eq!((beat.collector.as_str(), beat.instance_id.as_str(), beat.interval_ms), ("gds_alerting", "test", 1000));
    // A rule sees it as any other: this one is true for every heartbeat.
    assert_eq!(hook.next().body["alerts"][0]["labels"]["instance_id"], "test");
    end(service);
}

#[test]
fn collectors_that_fall_silent_are_an_alert_and_their_return_ends_it() {
    let bench = Bench::new();
    let hook = Receiver::start(&bench.runtime);
    let channels = format!("    hook: {{type: webhook, url: \"{}\"}}\n", hook.url);
    let silent = "  - {id: collector_silent, metric: gds.heartbeat, absence: {no_data_after: 2s}}\n  \
                  - {id: collector_failing, metric: gds.heartbeat, threshold: {op: \"<\", value: 0.5}}\n";
    let text = rules(&channels, "", silent).replace("  heartbeat: \n", "");
    let service = bench.start(&text, &[]);
    bench.publish(TOPIC, &beat(now_ms(), HeartbeatStatus::Ok));
    let told = hook.next().body["alerts"][0].clone();
    assert_eq!(
        (&told["labels"]["alertname"], &told["labels"]["collector"]),
        (&"collector_silent".into(), &"postgresql".into())
    );
    assert_eq!(told["labels"]["instance_id"], "db-1");
    bench.publish(TOPIC, &beat(now_ms(), HeartbeatStatus::Failed));
    let mut next: Vec<String> = (0..2)
        .map(|_| {
            let body = hook.next().body;
            format!("{} {}", body["alerts"][0]["labels"]["alertname"], body["status"])
        })
        .collect();
    next.sort();
    assert_eq!(next, ["\"collector_failing\" \"firing\"", "\"collector_silent\" \"resolved\""]);
    bench.publish(TOPIC, b"{}");
    let (_, headers) = bench.read("gds.metrics.dlq", 1).remove(0);
    assert!(headers.contains(&("dlq.topic".to_owned(), TOPIC.to_owned())), "{headers:?}");
    end(service);
}
