use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn int(value: i64) -> Value {
    Value::Int(value)
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn pairs(given: &[(&str, Value)]) -> Vec<(String, Value)> {
    given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn parse(role: Role, given: &[(&str, Value)], librdkafka: &[(&str, Value)]) -> Result<Settings> {
    Settings::parse(role, &["localhost:9092".to_owned()], &pairs(given), &pairs(librdkafka))
}

#[test]
fn addresses_are_read_in_every_spelling() {
    for (given, expected) in [
        (&["h"][..], Address::Kafka("h:9092".to_owned())),
        (&["h:1"], Address::Kafka("h:1".to_owned())),
        (&["kafka://a:1,b:2"], Address::Kafka("a:1,b:2".to_owned())),
        (&["kafka://a:1/"], Address::Kafka("a:1".to_owned())),
        (&["a:1, b", "c:3"], Address::Kafka("a:1,b:9092,c:3".to_owned())),
        (&["[::1]:9", "[::1]"], Address::Kafka("[::1]:9,[::1]:9092".to_owned())),
        (&["embedded:/a b/c"], Address::Embedded("/a b/c".into())),
        (&["embedded:~/hub"], Address::Embedded(std::env::home_dir().expect("a home").join("hub"))),
        (&["embedded:~"], Address::Embedded(std::env::home_dir().expect("a home"))),
        (&["embedded:./~/hub"], Address::Embedded(std::path::absolute("./~/hub").unwrap())),
    ] {
        let given: Vec<_> = given.iter().map(|&text| text.to_owned()).collect();
        assert_eq!(Address::parse(&given).unwrap(), expected);
    }
    for given in [
        &[][..],
        &[""],
        &["h:"],
        &["h:0"],
        &["h:99999"],
        &["h:x"],
        &["http://h:1"],
        &["embedded:"],
        &["embedded:~somebody/hub"],
        &["::1"],
        &["a b"],
        &["[]:1"],
        &["a:1", "embedded:/x"],
        &["a:1,,b:2"],
    ] {
        let given: Vec<_> = given.iter().map(|&text| text.to_owned()).collect();
        let error = Address::parse(&given).unwrap_err();
        assert!(
            matches!(error, Error::Config(_)) && error.message().contains("bootstrap_servers"),
            "{given:?}: {error}"
        );
    }
    let error = Address::parse(&["kafka://me:hunter2@h:1".to_owned()]).unwrap_err();
    assert!(!error.message().contains("hunter2"), "{error}");
}

#[test]
fn defaults_are_those_that_lose_nothing() {
    let settings = parse(Role::Producer, &[], &[]).unwrap();
    for (key, value) in [
        ("enable.idempotence", "true"),
        ("acks", "-1"),
        ("partitioner", "murmur2_random"),
        ("linger.ms", "50"),
        ("message.timeout.ms", "120000"),
        ("message.max.bytes", "1048576"),
        ("queue.buffering.max.kbytes", "16384"),
        ("log.connection.close", "false"),
    ] {
        assert_eq!(settings.client.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(settings.producer.on_full, OnFull::Block);
    assert_eq!(settings.producer.durability, Durability::Memory);
    assert_eq!(settings.producer.linger, Duration::from_millis(5));
    let settings = parse(Role::Consumer, &[], &[]).unwrap();
    assert_eq!(settings.consumer.start, Start::Earliest);
    assert_eq!(settings.consumer.max_poll_records, 500);
}

#[test]
fn files_are_named_from_the_root() {
    let files = [("ssl_cafile", text("ca.pem")), ("ssl_certfile", text("/c.pem"))];
    let settings = parse(Role::Admin, &files, &[("sasl.kerberos.keytab", text("app.keytab"))]).unwrap();
    let of = |key: &str| std::path::Path::new(&settings.client[key]).to_owned();
    for (key, name) in [("ssl.ca.location", "ca.pem"), ("sasl.kerberos.keytab", "app.keytab")] {
        assert!(of(key).is_absolute() && of(key).ends_with(name), "{key} is {}", of(key).display());
    }
    assert_eq!(settings.client["ssl.key.location"], "/c.pem");
    let settings = parse(Role::Admin, &[], &[("ssl.ca.location", text("probe"))]).unwrap();
    assert_eq!(settings.client["ssl.ca.location"], "probe");
}

#[test]
fn keywords_become_librdkafkas_keys() {
    use Role::{Admin, Consumer, Producer};
    for (role, name, value, key, expected) in [
        (Producer, "acks", text("all"), "acks", "-1"),
        (Producer, "acks", int(0), "acks", "0"),
        (Producer, "retries", Value::Float(f64::INFINITY), "retries", "2147483647"),
        (Producer, "compression_type", text("ZSTD"), "compression.type", "zstd"),
        (Producer, "batch_size", int(0), "batch.size", "1"),
        (Producer, "delivery_timeout_ms", Value::Float(5000.0), "message.timeout.ms", "5000"),
        (Producer, "delivery_timeout_ms", Value::Float(f64::INFINITY), "message.timeout.ms", "0"),
        (Producer, "request_timeout_ms", int(40_000), "request.timeout.ms", "40000"),
        (Producer, "request_timeout_ms", int(40_000), "socket.timeout.ms", "40000"),
        (Producer, "max_request_size", int(5_000_000), "message.max.bytes", "5000000"),
        (Producer, "buffer_memory", int(1 << 20), "queue.buffering.max.kbytes", "512"),
        (Consumer, "fetch_max_bytes", int(200_000_000), "receive.message.max.bytes", "200000512"),
        (Consumer, "session_timeout_ms", int(10_000), "session.timeout.ms", "10000"),
        (
            Consumer,
            "partition_assignment_strategy",
            Value::List(vec!["RangePartitionAssignor".to_owned(), "roundrobin".to_owned()]),
            "partition.assignment.strategy",
            "range,roundrobin",
        ),
        (Admin, "ssl_certfile", text("/c.pem"), "ssl.key.location", "/c.pem"),
        (Admin, "ssl_check_hostname", Value::Bool(false), "ssl.endpoint.identification.algorithm", "none"),
        (Admin, "security_protocol", text("SSL"), "security.protocol", "ssl"),
        (Admin, "retry_backoff_ms", int(5000), "retry.backoff.max.ms", "5000"),
        (Admin, "reconnect_backoff_ms", int(20_000), "reconnect.backoff.max.ms", "20000"),
        (Admin, "metadata_max_age_ms", int(7), "topic.metadata.refresh.interval.ms", "7"),
    ] {
        let settings = parse(role, &[(name, value)], &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(settings.client.get(key).map(String::as_str), Some(expected), "{name}");
    }
}

#[test]
fn what_acks_and_flights_rule_out_is_not_asked_for() {
    for given in [("acks", int(1)), ("max_in_flight_requests_per_connection", int(6)), ("retries", int(0))] {
        let settings = parse(Role::Producer, std::slice::from_ref(&given), &[]).unwrap();
        assert_eq!(settings.client["enable.idempotence"], "false", "{}", given.0);
        let error =
            parse(Role::Producer, &[given.clone(), ("enable_idempotence", Value::Bool(true))], &[]).unwrap_err();
        assert!(error.message().contains("enable_idempotence") && error.message().contains(given.0), "{error}");
    }
}

#[test]
fn mistakes_name_the_key_and_what_was_expected() {
    use Role::{Consumer, Producer};
    for (role, given, parts) in [
        (Producer, &[("ack", int(1))][..], &["\"ack\"", "\"acks\""][..]),
        (Producer, &[("lingerms", int(1))], &["\"lingerms\"", "\"linger_ms\""]),
        (
            Producer,
            &[("sasl_plain_passwort", text("hunter2"))],
            &["\"sasl_plain_passwort\"", "\"sasl_plain_password\""],
        ),
        (Producer, &[("linger.ms", int(1))], &["linger.ms", "librdkafka={\"linger.ms\""]),
        (Producer, &[("linger.mss", int(1))], &["linger.mss", "\"linger.ms\""]),
        (Producer, &[("acks", int(2))], &["acks: 2", "0, 1, -1 or \"all\""]),
        (Producer, &[("acks", Value::Bool(true))], &["acks: True"]),
        (Producer, &[("linger_ms", Value::Float(0.5))], &["linger_ms: 0.5", "whole number"]),
        (Producer, &[("linger_ms", int(-1))], &["linger_ms: -1", "0 to 900000"]),
        (Producer, &[("compression_type", text("rar"))], &["\"rar\"", "gzip, snappy, lz4, zstd"]),
        (Producer, &[("sasl_plain_password", int(42_424_242))], &["sasl_plain_password", "not shown", "text"]),
        (Producer, &[("auto_offset_reset", text("latest"))], &["auto_offset_reset", "consumers"]),
        (Consumer, &[("auto_offset_reset", text("now"))], &["\"now\"", "earliest, latest, none"]),
        (Consumer, &[("auto_offset_reset", text("none")), ("start_at", int(7))], &["start_at", "auto_offset_reset"]),
        (Consumer, &[("acks", int(1))], &["acks", "producers"]),
        (Producer, &[("ssl_context", Value::Other("SSLContext".to_owned()))], &["ssl_context", "ssl_cafile"]),
        (Producer, &[("value_serializer", int(1))], &["value_serializer", "a callable"]),
        (Producer, &[("durability", text("disk"))], &["durability=\"disk\"", "spool_dir"]),
        (Producer, &[("spool_max_bytes", int(9999))], &["spool_max_bytes", "spool_dir"]),
        (Producer, &[("partitions", int(3))], &["partitions", "embedded"]),
        (Producer, &[("security_protocol", text("SASL_SSL"))], &["sasl_mechanism", "SCRAM-SHA-256"]),
        (
            Producer,
            &[("sasl_plain_username", text("me")), ("sasl_plain_password", text("hunter2"))],
            &["sasl_plain_username", "sasl_mechanism is not", "security_protocol"],
        ),
        (Consumer, &[("sasl_plain_password", text("hunter2"))], &["sasl_plain_password", "sasl_mechanism is not"]),
        (Producer, &[("spool_dir", text("~somebody/spool"))], &["spool_dir", "~/"]),
        (Producer, &[("sasl_mechanism", text("PLAIN"))], &["sasl_mechanism", "security_protocol", "SASL_SSL"]),
        (
            Producer,
            &[("security_protocol", text("SASL_SSL")), ("sasl_mechanism", text("PLAIN"))],
            &["PLAIN needs sasl_plain_username"],
        ),
        (Consumer, &[("heartbeat_interval_ms", int(50_000))], &["heartbeat_interval_ms=50000", "session.timeout.ms"]),
        (Consumer, &[("session_timeout_ms", int(400_000))], &["session_timeout_ms", "max.poll.interval.ms"]),
        (Consumer, &[("partition_assignment_strategy", text("sticky"))], &["\"sticky\"", "cooperative-sticky"]),
    ] {
        let error = parse(role, given, &[]).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error}");
        for part in parts {
            assert!(error.message().contains(part), "{part:?} is not in: {error}");
        }
        assert!(!error.message().contains("hunter2") && !error.message().contains("42424242"), "{error}");
    }
}

#[test]
fn librdkafkas_keys_are_checked_by_librdkafka() {
    let settings = parse(Role::Producer, &[], &[("compression.level", int(3)), ("queue.buffering.max.ms", int(20))]);
    let client = settings.unwrap().client;
    assert_eq!((&*client["compression.level"], &*client["linger.ms"]), ("3", "20"));
    for (given, librdkafka, parts) in [
        (&[][..], &[("compression.levels", int(3))][..], &["compression.levels", "\"compression.level\""][..]),
        (&[], &[("ssl.ca.locatoin", text("x"))], &["\"ssl.ca.location\""]),
        (&[], &[("linger.ms", int(99_999_999))], &["linger.ms", "0..900000"]),
        (&[], &[("bootstrap.servers", text("h"))], &["bootstrap.servers", "bootstrap_servers"]),
        (&[], &[("log_cb", text("h"))], &["log_cb"]),
        (&[], &[("enable.auto.commit", Value::Bool(true))], &["enable_auto_commit"]),
        (
            &[("compression_type", text("gzip"))],
            &[("compression.codec", text("lz4"))],
            &["compression_type", "compression.codec"],
        ),
    ] {
        let error = parse(Role::Producer, given, librdkafka).unwrap_err();
        for part in parts {
            assert!(error.message().contains(part), "{part:?} is not in: {error}");
        }
    }
}

#[test]
fn a_spool_makes_accepted_records_survive_and_wait() {
    let relative = parse(Role::Producer, &[("spool_dir", text("spool"))], &[]).unwrap();
    assert!(relative.producer.spool.is_some_and(|spool| spool.dir.is_absolute() && spool.dir.ends_with("spool")));
    let relative = Settings::parse(Role::Producer, &["embedded:hub".to_owned()], &[], &[]).unwrap();
    assert!(matches!(relative.address, Address::Embedded(path) if path.is_absolute() && path.ends_with("hub")));
    let at_home = parse(Role::Producer, &[("spool_dir", text("~/spool"))], &[]).unwrap();
    assert!(at_home.producer.spool.is_some_and(|spool| spool.dir.is_absolute() && spool.dir.ends_with("spool")));
    let settings = parse(Role::Producer, &[("spool_dir", text("/spool"))], &[]).unwrap();
    assert_eq!(settings.producer.durability, Durability::Process);
    assert_eq!(settings.producer.spool, Some(Spool { dir: "/spool".into(), max_bytes: 1 << 30 }));
    assert_eq!(settings.client["message.timeout.ms"], "0");
}

/// A name of each list, to see that the tables stay whole: every keyword of kafka-python 3.0's clients.
#[test]
fn every_keyword_of_kafka_python_is_accounted_for() {
    let producer = "bootstrap_servers client_id key_serializer value_serializer enable_idempotence transactional_id \
        transaction_timeout_ms delivery_timeout_ms acks compression_type retries batch_size linger_ms partitioner \
        connections_max_idle_ms max_block_ms max_request_size allow_auto_create_topics metadata_max_age_ms \
        client_dns_lookup retry_backoff_ms request_timeout_ms receive_message_max_bytes receive_buffer_bytes \
        send_buffer_bytes socket_options reconnect_backoff_ms reconnect_backoff_max_ms \
        max_in_flight_requests_per_connection security_protocol ssl_context ssl_check_hostname ssl_cafile ssl_certfile \
        ssl_keyfile ssl_crlfile ssl_password ssl_ciphers api_version bootstrap_timeout_ms metric_reporters \
        metrics_enabled metrics_num_samples metrics_sample_window_ms selector sasl_mechanism sasl_plain_username \
        sasl_plain_password sasl_kerberos_name sasl_kerberos_service_name sasl_kerberos_domain_name \
        sasl_oauth_token_provider proxy_url socks5_proxy kafka_client";
    let consumer = "bootstrap_servers client_id client_rack group_id group_instance_id key_deserializer \
        value_deserializer enable_incremental_fetch_sessions fetch_max_wait_ms fetch_min_bytes fetch_max_bytes \
        max_partition_fetch_bytes request_timeout_ms retry_backoff_ms reconnect_backoff_ms reconnect_backoff_max_ms \
        max_in_flight_requests_per_connection auto_offset_reset enable_auto_commit auto_commit_interval_ms \
        default_offset_commit_callback check_crcs isolation_level allow_auto_create_topics metadata_max_age_ms \
        client_dns_lookup partition_assignment_strategy max_poll_records max_poll_interval_ms session_timeout_ms \
        heartbeat_interval_ms receive_buffer_bytes send_buffer_bytes receive_message_max_bytes socket_options \
        consumer_timeout_ms security_protocol ssl_context ssl_check_hostname ssl_cafile ssl_certfile ssl_keyfile \
        ssl_crlfile ssl_password ssl_ciphers api_version bootstrap_timeout_ms connections_max_idle_ms metric_reporters \
        metrics_enabled metrics_num_samples metrics_sample_window_ms metric_group_prefix selector \
        exclude_internal_topics sasl_mechanism sasl_plain_username sasl_plain_password sasl_kerberos_name \
        sasl_kerberos_service_name sasl_kerberos_domain_name sasl_oauth_token_provider proxy_url socks5_proxy kafka_client";
    for (role, names) in [(Role::Producer, producer), (Role::Consumer, consumer)] {
        for name in names.split_whitespace() {
            let settings = parse(role, &[(name, Value::None)], &[]);
            assert!(settings.is_ok(), "{name}: {:?}", settings.err());
        }
    }
    let names: std::collections::BTreeSet<_> = table::TABLE.iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), table::TABLE.len(), "a name stands twice");
}

const SECRET: &str = "xq7-S3cr3t-zk9";

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        ".{0,12}".prop_map(Value::Text),
        vec(".{0,5}", 0..3).prop_map(Value::List),
        Just(Value::Other("Thing".to_owned())),
    ]
}

fn secret_value() -> impl Strategy<Value = Value> {
    let text = ".{0,3}".prop_map(|tail| format!("{SECRET}{tail}"));
    prop_oneof![
        text.clone().prop_map(Value::Text),
        text.clone().prop_map(|text| Value::List(vec![text])),
        text.prop_map(Value::Other)
    ]
}

fn any_name() -> impl Strategy<Value = String> {
    let known: Vec<String> = table::TABLE.iter().map(|entry| entry.name.to_owned()).collect();
    prop_oneof![4 => proptest::sample::select(known), 1 => ".{0,20}", 1 => proptest::sample::select(librdkafka::names().to_vec())]
}

proptest! {
    #[test]
    fn nothing_panics_and_no_secret_is_shown(
        role in proptest::sample::select(vec![Role::Producer, Role::Consumer, Role::Admin]),
        servers in prop_oneof![3 => Just(vec!["h:1".to_owned()]), 1 => vec(".{0,20}", 0..3)],
        given in vec((any_name(), any_value()), 0..4),
        dotted in vec((any_name(), any_value()), 0..2),
        secrets in vec((proptest::sample::select(vec![
            "sasl_plain_password", "ssl_password", "sasl_password", "password", "unknown"]), secret_value()), 0..2),
        more in vec((proptest::sample::select(vec![
            "sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.config", "ssl.keystore.password",
            "sasl.oauthbearer.client.secret", "sasl.passwort"]), secret_value()), 0..2),
    ) {
        // Loads a library by its name: not a thing to try at random.
        let harmless = |(name, _): &(String, Value)| name != "plugin.library.paths";
        let mut given: Vec<_> = given.into_iter().filter(harmless).collect();
        let mut dotted: Vec<_> = dotted.into_iter().filter(harmless).collect();
        given.extend(secrets.into_iter().map(|(name, value)| (name.to_owned(), value)));
        dotted.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let said = match Settings::parse(role, &servers, &given, &dotted) {
            Ok(settings) => format!("{settings} {settings:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        prop_assert!(!said.contains(SECRET), "{}", said);
    }
}
