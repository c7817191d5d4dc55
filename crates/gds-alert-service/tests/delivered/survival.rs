//! What is there after an end, and after other rules.

use crate::support::{Bench, Receiver, Reply, end};

fn rules(channels: &str, threshold: u32) -> String {
    format!(
        "version: 1\nrouting:\n  default_channel: hook\n  channels:\n{channels}\nrules:\n  - id: cpu_high\n    \
         metric: cpu_usage\n    threshold: {{op: \">\", value: {threshold}}}\n"
    )
}

fn hook(url: &str) -> String {
    format!("    hook: {{type: webhook, url: \"{url}\"}}\n")
}

#[test]
fn what_was_not_delivered_is_delivered_by_the_next_process_and_in_order() {
    let bench = Bench::new();
    let receiver = Receiver::start(&bench.runtime);
    receiver.plan([Reply::Status(503); 1000]);
    let rules = rules(&hook(&receiver.url), 85);
    let service = bench.start(&rules, &[]);
    bench.measure("db-1", 92.0);
    let tried = receiver.next();
    bench.measure("db-1", 10.0);
    while service.counts().expect("counts")["notifications_total"] < 2 {
        std::thread::yield_now();
    }
    end(service);
    while !receiver.is_quiet() {}
    receiver.forget_plan();
    let service = bench.start(&rules, &[]);
    assert_eq!(receiver.next().body, tried.body);
    assert_eq!(receiver.next().body["status"], "resolved");
    end(service);
}

#[test]
fn an_alert_that_fires_goes_on_after_a_restart_and_is_not_told_again() {
    let bench = Bench::new();
    let receiver = Receiver::start(&bench.runtime);
    let rules = rules(&hook(&receiver.url), 85);
    let service = bench.start(&rules, &[]);
    bench.measure("db-1", 92.0);
    let fired = receiver.next();
    end(service);
    // Measured while nobody watched.
    bench.measure("db-1", 93.0);
    let service = bench.start(&rules, &[]);
    bench.measure("db-1", 10.0);
    let over = receiver.next();
    assert_eq!(fired.body["status"], "firing");
    assert_eq!(over.body["status"], "resolved");
    assert_eq!(fired.body["alerts"][0]["fingerprint"], over.body["alerts"][0]["fingerprint"]);
    let counts = service.counts().expect("counts");
    assert_eq!((counts["samples_total"], counts["repeated_total"]), (3, 0), "each sample once");
    end(service);
    let store = gds_alert_service::store::Store::open(&bench.state(), "embedded:test", 0).expect("a store");
    let history = store.history().expect("lines");
    let lines: Vec<&str> = history.iter().map(|line| line.to.name()).collect();
    assert_eq!(lines, ["firing", "resolved"]);
}

#[test]
fn other_rules_are_taken_into_use_and_whoever_was_told_hears_of_the_end() {
    let bench = Bench::new();
    let [before, after] = [(); 2].map(|()| Receiver::start(&bench.runtime));
    let service = bench.start(&rules(&hook(&before.url), 85), &[]);
    bench.measure("db-1", 92.0);
    assert_eq!(before.next().body["status"], "firing");
    let wrong = service.reload("version: 1\nruels: []\n").expect_err("refused");
    assert!(wrong[0].to_string().contains("did you mean `rules`?"), "{wrong:?}");
    service.reload(&rules(&hook(&after.url), 99)).expect("taken");
    bench.measure("db-1", 95.0);
    assert_eq!(after.next().body["status"], "resolved");
    end(service);
}

#[test]
fn a_topic_that_was_made_anew_is_read_from_its_beginning() {
    let bench = Bench::new();
    let receiver = Receiver::start(&bench.runtime);
    let rules = rules(&hook(&receiver.url), 85);
    let service = bench.start(&rules, &[]);
    for _ in 0..5 {
        bench.measure("db-1", 10.0);
    }
    while service.counts().expect("counts")["samples_total"] < 5 {
        std::thread::yield_now();
    }
    end(service);
    bench.hub.delete_topic(crate::support::TOPIC, crate::support::LONG).expect("deleted");
    bench.measure("db-1", 92.0);
    let service = bench.start(&rules, &[]);
    assert_eq!(receiver.next().body["status"], "firing");
    bench.wait_said("was made anew");
    end(service);
}
