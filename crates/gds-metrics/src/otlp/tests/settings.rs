use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::Error;
use crate::otlp::testing::Certificates;
use crate::otlp::{Compression, OtlpConfig, OtlpOptions, Protocol, Temporality, resolve};

fn with(options: &OtlpOptions, variables: &[(&str, &str)]) -> OtlpConfig {
    try_with(options, variables).unwrap()
}

fn try_with(options: &OtlpOptions, variables: &[(&str, &str)]) -> crate::Result<OtlpConfig> {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    resolve(options, |name| variables.get(name).map(ToString::to_string))
}

#[test]
fn nothing_given_is_the_defaults_of_the_specification() {
    let config = with(&OtlpOptions::default(), &[]);
    assert!(!config.disabled);
    assert_eq!(config.protocol, Protocol::Grpc);
    assert_eq!(config.endpoint.shown(), "http://localhost:4317/");
    assert_eq!(config.interval, Duration::from_secs(60));
    assert_eq!(config.timeout, Duration::from_secs(10));
    assert_eq!(config.export_timeout, Duration::from_secs(30));
    assert_eq!(config.temporality, Temporality::Cumulative);
    assert_eq!(config.compression, Compression::None);
    assert!(config.headers.is_empty());
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn endpoints_follow_option_then_metrics_then_general_then_default() {
    const GENERAL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const METRICS: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
    type Row = (&'static str, Option<&'static str>, &'static [(&'static str, &'static str)], &'static str);
    let table: &[Row] = &[
        ("grpc", None, &[], "http://localhost:4317/"),
        ("http/protobuf", None, &[], "http://localhost:4318/v1/metrics"),
        ("grpc", None, &[(GENERAL, "http://c:1")], "http://c:1/"),
        ("http/protobuf", None, &[(GENERAL, "http://c:1")], "http://c:1/v1/metrics"),
        ("http/protobuf", None, &[(GENERAL, "http://c:1/")], "http://c:1/v1/metrics"),
        ("http/protobuf", None, &[(GENERAL, "http://c:1/mine/")], "http://c:1/mine/v1/metrics"),
        ("http/protobuf", None, &[(METRICS, "http://m:1")], "http://m:1/"),
        ("http/protobuf", None, &[(METRICS, "http://m:1/x/"), (GENERAL, "http://c:1")], "http://m:1/x/"),
        ("grpc", None, &[(METRICS, "https://m:1"), (GENERAL, "http://c:1")], "https://m:1/"),
        ("http/protobuf", Some("http://o:1/y"), &[(METRICS, "http://m:1"), (GENERAL, "http://c:1")], "http://o:1/y"),
        // Empty is unset, and unreadable is taken as unset.
        ("grpc", None, &[(METRICS, " "), (GENERAL, "http://c:1")], "http://c:1/"),
        ("http/protobuf", None, &[(METRICS, "m:1"), (GENERAL, "http://c:1")], "http://c:1/v1/metrics"),
        // Without a scheme `insecure` decides, with one it does not.
        ("grpc", Some("o:1"), &[], "https://o:1/"),
        ("grpc", Some("o:1"), &[("OTEL_EXPORTER_OTLP_INSECURE", "TRUE")], "http://o:1/"),
        (
            "grpc",
            Some("o:1"),
            &[("OTEL_EXPORTER_OTLP_METRICS_INSECURE", "false"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")],
            "https://o:1/",
        ),
        ("grpc", Some("https://o:1"), &[("OTEL_EXPORTER_OTLP_INSECURE", "true")], "https://o:1/"),
    ];
    for (protocol, endpoint, variables, expected) in table {
        let options = OtlpOptions {
            protocol: Some((*protocol).to_owned()),
            endpoint: endpoint.map(str::to_owned),
            ..OtlpOptions::default()
        };
        assert_eq!(with(&options, variables).endpoint.shown(), *expected, "{protocol} {endpoint:?} {variables:?}");
    }
    let options = OtlpOptions { endpoint: Some("o:1".into()), insecure: Some(true), ..OtlpOptions::default() };
    assert_eq!(with(&options, &[]).endpoint.shown(), "http://o:1/");
}

/// A setting's option, its two variables, what to look at, and what each of them makes it.
type Precedence =
    (fn(&mut OtlpOptions), [(&'static str, &'static str); 2], fn(&OtlpConfig) -> String, [&'static str; 4]);

#[test]
fn every_setting_follows_option_then_metrics_then_general_then_default() {
    let table: &[Precedence] = &[
        (
            |options| options.protocol = Some("grpc".into()),
            [
                ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "HTTP/protobuf"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ],
            |config| format!("{:?}", config.protocol),
            ["Grpc", "HttpProtobuf", "HttpProtobuf", "Grpc"],
        ),
        (
            |options| options.compression = Some("gzip".into()),
            [("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")],
            |config| format!("{:?}", config.compression),
            ["Gzip", "None", "Gzip", "None"],
        ),
        (
            |options| options.timeout = Some(Duration::from_secs(1)),
            [("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "2000"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000")],
            |config| config.timeout.as_millis().to_string(),
            ["1000", "2000", "3000", "10000"],
        ),
        (
            |options| options.interval = Some(Duration::from_secs(1)),
            [("OTEL_METRIC_EXPORT_INTERVAL", "2000"), ("OTEL_METRIC_EXPORT_INTERVAL", "3000")],
            |config| config.interval.as_millis().to_string(),
            ["1000", "2000", "3000", "60000"],
        ),
        (
            |options| options.temporality = Some("lowmemory".into()),
            [
                ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Delta"),
                ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "LowMemory"),
            ],
            |config| format!("{:?}", config.temporality),
            ["LowMemory", "Delta", "LowMemory", "Cumulative"],
        ),
        (
            |options| options.headers = Some(vec![("A".to_owned(), "0".to_owned())]),
            [("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=1"), ("OTEL_EXPORTER_OTLP_HEADERS", "b=2,c=x%20y")],
            |config| {
                let mut pairs: Vec<_> =
                    config.headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
                pairs.sort();
                pairs.join(";")
            },
            ["a=0", "a=1", "b=2;c=x y", ""],
        ),
        (
            |options| options.service_name = Some("option".into()),
            [("OTEL_SERVICE_NAME", "variable"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=attribute")],
            |config| attribute(config, "service.name").unwrap_or_default(),
            ["option", "variable", "attribute", "gds_service"],
        ),
    ];
    for (set, [metrics, general], look, [option_wins, metrics_wins, general_wins, default]) in table {
        let mut options = OtlpOptions::default();
        assert_eq!(look(&with(&options, &[])), *default, "{general:?}");
        assert_eq!(look(&with(&options, &[*general])), *general_wins, "{general:?}");
        if metrics.0 != general.0 {
            assert_eq!(look(&with(&options, &[*general, *metrics])), *metrics_wins, "{metrics:?}");
        }
        set(&mut options);
        assert_eq!(look(&with(&options, &[*general, *metrics])), *option_wins, "{metrics:?}");
    }
}

fn attribute(config: &OtlpConfig, name: &str) -> Option<String> {
    let mut found = config.resource.iter().filter(|(known, _)| known == name);
    let value = found.next().map(|(_, value)| value.clone());
    assert!(found.next().is_none(), "{name} twice");
    value
}

#[test]
fn resource_attributes_merge_one_by_one_and_the_sdk_names_itself() {
    let options = OtlpOptions {
        resource_attributes: Some(vec![
            ("team".to_owned(), "mine".to_owned()),
            ("service.name".to_owned(), "passed".to_owned()),
            ("telemetry.sdk.name".to_owned(), "other".to_owned()),
        ]),
        service_version: Some("3".into()),
        ..OtlpOptions::default()
    };
    let list = "team=theirs,place=a%2Cb%3Dc,service.version=2";
    let config = with(&options, &[("OTEL_RESOURCE_ATTRIBUTES", list), ("OTEL_SERVICE_NAME", "variable")]);
    for (name, expected) in [
        ("team", "mine"),
        ("place", "a,b=c"),
        ("service.name", "passed"),
        ("service.version", "3"),
        ("telemetry.sdk.name", "gds-telemetry"),
        ("telemetry.sdk.language", "python"),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
    ] {
        assert_eq!(attribute(&config, name).as_deref(), Some(expected), "{name}");
    }
}

#[test]
fn a_broken_list_of_resource_attributes_is_discarded_as_a_whole() {
    for list in ["team=mine,nonsense", "team=mine,x=%FF", "team=mine,=x"] {
        let config = with(&OtlpOptions::default(), &[("OTEL_RESOURCE_ATTRIBUTES", list)]);
        assert_eq!(attribute(&config, "team"), None);
        assert_eq!(config.warnings.len(), 1);
        assert!(config.warnings[0].contains("OTEL_RESOURCE_ATTRIBUTES") && config.warnings[0].contains("entry 2"));
    }
}

#[test]
fn export_is_disabled_by_either_variable() {
    for (variables, expected) in [
        (&[("OTEL_SDK_DISABLED", "true")][..], true),
        (&[("OTEL_METRICS_EXPORTER", "none")], true),
        (&[("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_SDK_DISABLED", "false")], false),
        (&[("OTEL_SDK_DISABLED", "yes")], false),
    ] {
        assert_eq!(with(&OtlpOptions::default(), variables).disabled, expected, "{variables:?}");
    }
    let options = OtlpOptions { cafile: Some(PathBuf::from("/does/not/exist")), ..OtlpOptions::default() };
    assert!(with(&options, &[("OTEL_SDK_DISABLED", "true")]).disabled);
}

#[test]
fn what_the_environment_has_wrong_is_warned_of_and_taken_as_unset() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://x"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "sometimes"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "1s"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key"),
    ];
    let config = with(&OtlpOptions::default(), &variables);
    for (name, value) in variables {
        let warning = config.warnings.iter().find(|warning| warning.contains(name));
        assert!(warning.is_some_and(|warning| warning.contains(value) && warning.contains("expected")), "{name}");
    }
    assert_eq!(config.warnings.len(), variables.len());
    let warnings = config.warnings.clone();
    assert_eq!(format!("{config:?}"), format!("{:?}", OtlpConfig { warnings, ..with(&OtlpOptions::default(), &[]) }));
}

#[test]
fn zero_as_a_timeout_variable_means_no_limit() {
    let variables = [("OTEL_EXPORTER_OTLP_TIMEOUT", "0"), ("OTEL_METRIC_EXPORT_TIMEOUT", "0")];
    let config = with(&OtlpOptions::default(), &variables);
    assert!(config.timeout > Duration::from_secs(86_400) && config.export_timeout > Duration::from_secs(86_400));
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn the_whole_export_may_take_as_long_as_one_request() {
    let options = OtlpOptions { timeout: Some(Duration::from_secs(50)), ..OtlpOptions::default() };
    assert_eq!(with(&options, &[]).export_timeout, Duration::from_secs(50));
    assert_eq!(with(&options, &[("OTEL_METRIC_EXPORT_TIMEOUT", "1000")]).export_timeout, Duration::from_secs(50));
    let short = [("OTEL_METRIC_EXPORT_TIMEOUT", "1000")];
    assert_eq!(with(&OtlpOptions::default(), &short).export_timeout, Duration::from_secs(1));
}

#[test]
fn options_that_cannot_be_used_are_errors_that_name_setting_value_and_expectation() {
    type Row = (fn(&mut OtlpOptions), &'static str, &'static str, &'static str);
    let table: &[Row] = &[
        (|options| options.protocol = Some("http/json".into()), "protocol", "http/json", "grpc or http/protobuf"),
        (|options| options.endpoint = Some("ftp://x".into()), "endpoint", "ftp://x", "http://host:4317"),
        (|options| options.endpoint = Some(String::new()), "endpoint", "", "http://host:4317"),
        (|options| options.compression = Some("zstd".into()), "compression", "zstd", "gzip or none"),
        (|options| options.temporality = Some("x".into()), "temporality", "x", "cumulative or delta or lowmemory"),
        (|options| options.interval = Some(Duration::ZERO), "interval", "0", "more than 0"),
        (|options| options.timeout = Some(Duration::ZERO), "timeout", "0", "more than 0"),
        (|options| options.headers = Some(vec![("a b".into(), "secret".into())]), "headers", "a", "name"),
        (|options| options.headers = Some(vec![("a".into(), "sec\nret".into())]), "headers", "a", "line breaks"),
        (
            |options| options.headers = Some(vec![("Content-Type".into(), "x".into())]),
            "headers",
            "Content-Type",
            "leave",
        ),
        (|options| options.certfile = Some("/c".into()), "certfile", "/c", "keyfile"),
        (|options| options.keyfile = Some("/k".into()), "keyfile", "/k", "certfile"),
    ];
    for (set, expected_setting, expected_value, expectation) in table {
        let mut options = OtlpOptions::default();
        set(&mut options);
        match try_with(&options, &[]) {
            Err(Error::Unusable(gds_net::Error::Setting { setting, value, expected })) => {
                assert_eq!((setting, &*value), (*expected_setting, *expected_value));
                assert!(expected.contains(expectation), "{expected}");
            }
            other => panic!("{expected_setting}: {other:?}"),
        }
    }
}

#[test]
fn certificates_that_cannot_be_read_are_errors_whoever_named_them() {
    let folder = tempfile::tempdir().unwrap();
    let [authority, certificate, key] = Certificates::new().write(&folder);
    let [_, _, other_key] = {
        let other = tempfile::tempdir().unwrap();
        let paths = Certificates::new().write(&other);
        std::fs::copy(&paths[2], folder.path().join("other.key")).unwrap();
        [paths[0].clone(), paths[1].clone(), folder.path().join("other.key")]
    };
    let good = OtlpOptions {
        endpoint: Some("https://x".into()),
        cafile: Some(authority),
        certfile: Some(certificate.clone()),
        keyfile: Some(key.clone()),
        ..OtlpOptions::default()
    };
    with(&good, &[]);
    let missing = folder.path().join("missing");
    for (options, expected) in [
        (OtlpOptions { cafile: Some(missing.clone()), ..good.clone() }, "cafile"),
        (OtlpOptions { cafile: Some(key.clone()), ..good.clone() }, "cafile"),
        (OtlpOptions { certfile: Some(key), ..good.clone() }, "certfile"),
        (OtlpOptions { keyfile: Some(certificate), ..good.clone() }, "keyfile"),
        (OtlpOptions { keyfile: Some(other_key), ..good.clone() }, "keyfile"),
    ] {
        match try_with(&options, &[]) {
            Err(Error::Unusable(gds_net::Error::File { setting, .. })) => assert_eq!(setting, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let variables = [("OTEL_EXPORTER_OTLP_CERTIFICATE", missing.to_str().unwrap())];
    match try_with(&OtlpOptions::default(), &variables) {
        Err(Error::Unusable(gds_net::Error::File { setting, .. })) => {
            assert_eq!(setting, "OTEL_EXPORTER_OTLP_CERTIFICATE");
        }
        other => panic!("{other:?}"),
    }
    let plain = with(&OtlpOptions { endpoint: Some("http://x".into()), ..good }, &[]);
    assert_eq!(plain.warnings.len(), 2, "certificates without https are worth a warning: {:?}", plain.warnings);
}
