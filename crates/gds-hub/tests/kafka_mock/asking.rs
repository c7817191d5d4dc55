use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use gds_hub::kafka::mock::MockCluster;
use gds_hub::kafka::{Callbacks, LogLevel, Token};
use gds_hub::settings::{Role, Value};
use gds_hub::{Admin, Error, Hub, Start};
use gds_process::fork::testing::Child;
use gds_process::sync::Mutex;

use crate::support::{
    TIMEOUT, cluster, fill, numbers, open, open_with, publisher, reading, record, sending, subscription, text,
};

#[test]
fn a_hub_that_is_not_there_is_said_to_be_so() {
    // A port that nobody listens on: bound and let go of.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let servers = format!("127.0.0.1:{port}");
    let hub = open_with(Role::Producer, &servers, &[], &[], Callbacks::default());
    let error = hub.check(Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, Error::Connection(_)) && error.retriable(), "{error}");
    let begin = format!("Failed to connect to {servers}: ");
    assert!(error.message().starts_with(&begin) && error.message().contains("refused"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let keywords = [("security_protocol", text("SSL")), ("ssl_cafile", text("/no/such/file.pem"))];
    let hub = open_with(Role::Producer, "127.0.0.1:1", &keywords, &[], Callbacks::default());
    let error = hub.check(Duration::from_secs(1)).unwrap_err();
    assert!(
        matches!(error, Error::Config(_)) && error.message().contains("ssl_cafile=\"/no/such/file.pem\""),
        "{error}"
    );
}

#[test]
fn topics_are_described() {
    let cluster = MockCluster::start(3).unwrap();
    cluster.create_topic("t", 2, 3).unwrap();
    fill(&cluster, "t", numbers(5));
    let hub = sending(&cluster);
    let topics = hub.topics(Some("t"), TIMEOUT).unwrap();
    assert_eq!((topics.len(), topics[0].name.as_str()), (1, "t"));
    let partitions = &topics[0].partitions;
    let offsets: Vec<_> = partitions.iter().map(|one| (one.id, one.start, one.end)).collect();
    assert_eq!(offsets, [(0, 0, 5), (1, 0, 0)]);
    assert!(partitions.iter().all(|one| one.leader.is_some() && one.replicas == 3), "{partitions:?}");
    assert!(hub.topics(None, TIMEOUT).unwrap().iter().any(|topic| topic.name == "t"));
}

#[test]
fn librdkafkas_log_reaches_the_program_without_secrets() {
    let cluster = cluster(1);
    let keywords = [
        ("security_protocol", text("SASL_PLAINTEXT")),
        ("sasl_mechanism", text("PLAIN")),
        ("sasl_plain_username", text("me")),
        ("sasl_plain_password", text("127.0.0.1")), // what is sure to be in the log
    ];
    let librdkafka = [("debug", text("all")), ("log_level", Value::Int(7))];
    let lines: Arc<Mutex<Vec<(LogLevel, String)>>> = Arc::default();
    let kept = lines.clone();
    let log = move |level: LogLevel, facility: &str, text: &str| {
        kept.lock().push((level, format!("{facility} {text}")));
    };
    let callbacks = Callbacks { log: Some(Arc::new(log)), token: None };
    let hub = open_with(Role::Producer, &cluster.bootstrap_servers(), &keywords, &librdkafka, callbacks);
    // The mock cluster knows no SASL.
    let error = hub.check(Duration::from_secs(2)).unwrap_err();
    drop(hub);
    let lines = lines.lock();
    assert!(lines.iter().any(|(level, text)| *level == LogLevel::Debug && text.contains("***")), "{}", lines.len());
    assert!(lines.iter().all(|(_, text)| !text.contains("127.0.0.1")), "{lines:?}");
    assert!(matches!(error, Error::Connection(_)), "{error}");
}

#[test]
fn a_token_is_asked_for_and_the_reason_for_none_is_told() {
    let cluster = cluster(1);
    let keywords = [("security_protocol", text("SASL_PLAINTEXT")), ("sasl_mechanism", text("OAUTHBEARER"))];
    let (asked, answers) = mpsc::channel();
    let asked = Mutex::new(asked);
    let token = move || {
        let _ = asked.lock().send(());
        Err::<Token, _>("the door is closed".to_owned())
    };
    let callbacks = Callbacks { log: None, token: Some(Arc::new(token)) };
    let hub = open_with(Role::Producer, &cluster.bootstrap_servers(), &keywords, &[], callbacks);
    let error = hub.check(Duration::from_secs(2)).unwrap_err();
    answers.recv_timeout(TIMEOUT).unwrap();
    assert!(error.message().contains("the door is closed"), "{error}");
}

#[test]
fn mistakes_about_the_mock_cluster_are_told() {
    let cluster = cluster(1);
    assert!(MockCluster::start(0).unwrap_err().message().contains("1 to 100"));
    assert!(cluster.push_request_errors("Produced", &[1]).unwrap_err().message().contains("Produce, Fetch"));
    assert!(cluster.push_request_errors("Produce", &[12_345]).unwrap_err().message().contains("12345"));
}

#[test]
fn a_slow_hub_answers_within_its_time() {
    let cluster = cluster(1);
    cluster.broker_rtt(1, Duration::from_millis(400)).unwrap();
    let hub = open(Role::Producer, &cluster, &[], &[]);
    hub.check(TIMEOUT).unwrap();
}

#[test]
#[allow(unsafe_code)] // one call, with its proof
fn a_forked_child_drops_what_is_the_parents_at_once_and_the_parent_goes_on() {
    let cluster = cluster(1);
    let hub = sending(&cluster);
    hub.check(TIMEOUT).unwrap();
    let (publisher, outcomes, _) = publisher(&hub);
    let reader = reading(&cluster).subscribe(&subscription(&["t"], None, Start::Earliest)).unwrap();
    publisher.publish(1, &record("t", b"x")).unwrap();
    outcomes.recv_timeout(TIMEOUT).unwrap();
    let mut owned = Some((cluster, hub, publisher, reader));
    let child = Child::fork_running(|_| {
        // SAFETY: async-signal-safe. A child that hangs ends by it, and its silence fails the test.
        unsafe { libc::alarm(30) };
        drop(owned.take());
        true
    });
    assert!(child.answer);
    let (_cluster, hub, publisher, _reader) = owned.unwrap();
    publisher.publish(2, &record("t", b"x")).unwrap();
    assert_eq!(outcomes.recv_timeout(TIMEOUT).unwrap().0, 2);
    hub.check(TIMEOUT).unwrap();
}
