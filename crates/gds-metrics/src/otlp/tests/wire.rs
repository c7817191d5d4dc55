//! The exporter against real receivers, over sockets.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, metric};
use prost::Message as _;
use tokio::runtime::Handle;
use tonic::{Code, Status};

use crate::Error;
use crate::key::MetricKind;
use crate::otlp::exporter::Exporter;
use crate::otlp::status::{Any, RetryInfo, RpcDuration, RpcStatus};
use crate::otlp::testing::{
    Answer, Certificates, DEADLINE, Fixed, Gate, Receiver, close, distribution, family, flush, flush_within, metrics,
    number, numbers, only, texts,
};
use crate::otlp::transport::{Deliver as _, Transport};
use crate::otlp::{Backoff, OtlpOptions, Protocol, resolve};
use crate::snapshot::{Exemplar, TraceContext};

const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];
const HOUR: Duration = Duration::from_secs(3600);

fn options(protocol: Protocol, host: &str) -> OtlpOptions {
    let (name, path) = match protocol {
        Protocol::Grpc => ("grpc", ""),
        Protocol::HttpProtobuf => ("http/protobuf", "/v1/metrics"),
    };
    OtlpOptions {
        protocol: Some(name.to_owned()),
        endpoint: Some(format!("http://{host}{path}")),
        interval: Some(HOUR),
        ..OtlpOptions::default()
    }
}

fn start(options: &OtlpOptions, source: &Arc<Fixed>) -> Arc<Exporter> {
    let mut config = resolve(options, |_| None).unwrap();
    config.backoff = Backoff { base: Duration::from_millis(1), most: Duration::from_millis(20) };
    let source = Arc::clone(source);
    Arc::new(Exporter::start(config, source, &Handle::current()))
}

fn point_of(data: &metric::Data) -> (i32, f64) {
    match data {
        metric::Data::Sum(sum) => (sum.aggregation_temporality, crate::otlp::testing::float(&sum.data_points[0])),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_measured_arrives_over_both_protocols() {
    for protocol in BOTH {
        for compression in ["none", "gzip"] {
            let mut receiver = Receiver::start(protocol).await;
            let trace = TraceContext { trace_id: [3; 16], span_id: [4; 8] };
            let mut timed = distribution(2, 2.5, &[1, 0, 2]);
            timed.exemplars = vec![Exemplar { trace, value: 2.0, nanos: 7, bucket: 2 }];
            let source = Arc::new(Fixed::default());
            *source.0.lock() = vec![
                family("requests", MetricKind::Counter, vec![number(1, &["path", "/ö"], 7.0)]),
                family("latency", MetricKind::Timing, vec![timed]),
            ];
            let options = OtlpOptions {
                headers: Some(vec![("Api-Key".to_owned(), "k e y".to_owned())]),
                compression: Some(compression.to_owned()),
                service_name: Some("shop".to_owned()),
                ..options(protocol, &receiver.addr.to_string())
            };
            let exporter = start(&options, &source);
            flush(&exporter).await.unwrap();

            let arrived = receiver.next().await;
            assert_eq!(arrived.headers["api-key"], "k e y");
            let agent = arrived.headers["user-agent"].to_str().unwrap();
            assert!(agent.starts_with("gds-telemetry-OTLP-Exporter-Python/"), "{agent}");
            let encoding = match protocol {
                Protocol::Grpc => arrived.headers.get("grpc-encoding"),
                Protocol::HttpProtobuf => {
                    assert_eq!(arrived.path, "/v1/metrics");
                    assert_eq!(arrived.headers["content-type"], "application/x-protobuf");
                    arrived.headers.get("content-encoding")
                }
            };
            assert_eq!(encoding.map(|value| value.to_str().unwrap()), (compression == "gzip").then_some("gzip"));
            let resource = arrived.request.resource_metrics[0].resource.as_ref().unwrap();
            assert!(texts(&resource.attributes).contains(&("service.name", "shop")));
            let found: Vec<_> = metrics(&arrived.request).collect();
            assert_eq!((&*found[0].name, &*found[0].unit), ("requests", ""));
            assert_eq!(texts(&numbers(found[0])[0].attributes), [("path", "/ö")]);
            let (temporality, value) = point_of(found[0].data.as_ref().unwrap());
            assert_eq!((temporality, value.to_bits()), (AggregationTemporality::Cumulative as i32, 7f64.to_bits()));
            assert_eq!((&*found[1].name, &*found[1].unit), ("latency", "s"));
            let Some(metric::Data::Histogram(histogram)) = &found[1].data else { panic!("{:?}", found[1]) };
            let exemplar = &histogram.data_points[0].exemplars[0];
            assert_eq!((&*exemplar.trace_id, &*exemplar.span_id), (&[3; 16][..], &[4; 8][..]));
            assert_eq!(exporter.stats().exports, 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_outage_totals_are_right_in_either_temporality() {
    for protocol in BOTH {
        for temporality in ["cumulative", "delta"] {
            let mut receiver = Receiver::start(protocol).await;
            let gate = Gate::to(receiver.addr).await;
            let source = Fixed::counter(5.0);
            let temporality_option = Some(temporality.to_owned());
            let options = OtlpOptions { temporality: temporality_option, ..options(protocol, &gate.addr.to_string()) };
            let exporter = start(&options, &source);
            flush(&exporter).await.unwrap();
            let mut sum = only(&receiver.next().await.request);

            gate.shut().await;
            for value in [6.0, 8.0] {
                source.set_counter(value);
                let error = flush(&exporter).await.unwrap_err();
                assert!(error.retriable(), "{protocol:?} {error}");
            }
            assert!(receiver.is_quiet());
            source.set_counter(11.0);
            gate.open();
            // Nobody flushes: the retries find the way.
            let recovered = only(&receiver.next().await.request);
            source.set_counter(12.0);
            flush(&exporter).await.unwrap();
            let last = only(&receiver.next().await.request);
            sum += recovered + last;
            let total = if temporality == "delta" { sum } else { last };
            assert!((total - 12.0).abs() < 1e-9, "{protocol:?} {temporality} {total}");
            let stats = exporter.stats();
            assert!(stats.failed_attempts >= 2 && stats.exports == 3, "{stats:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_nobody_listens_on_is_retriable() {
    for protocol in BOTH {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let exporter = start(&options(protocol, &free.to_string()), &Fixed::counter(1.0));
        match flush(&exporter).await {
            Err(Error::Unreachable { url, reason, timed_out: false }) => {
                assert!(url.starts_with("http://127.0.0.1:") && reason.contains("refused"), "{url} {reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

fn throttled(code: Code) -> Status {
    let info = RetryInfo { retry_delay: Some(RpcDuration { seconds: 0, nanos: 1 }) };
    let type_url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
    let details = vec![Any { type_url, value: info.encode_to_vec() }];
    Status::with_details(code, "later", RpcStatus { message: "later".into(), details }.encode_to_vec().into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_codes_are_retriable_as_the_protocol_says() {
    let mut receiver = Receiver::start(Protocol::Grpc).await;
    let exporter = start(&options(Protocol::Grpc, &receiver.addr.to_string()), &Fixed::counter(1.0));
    let retriable =
        [Code::Cancelled, Code::DeadlineExceeded, Code::Aborted, Code::OutOfRange, Code::Unavailable, Code::DataLoss];
    for code in (1..=16).map(Code::from_i32) {
        receiver.answer([Answer::Grpc(Status::new(code, "because"))]);
        let error = flush(&exporter).await.unwrap_err();
        receiver.next().await;
        assert_eq!(error.retriable(), retriable.contains(&code), "{error}");
        assert!(error.to_string().contains(&format!("{code:?}: because")), "{error}");
        if error.retriable() {
            // By itself, and accepted.
            receiver.next().await;
        }
    }
    receiver.answer([Answer::Grpc(throttled(Code::ResourceExhausted))]);
    assert!(flush(&exporter).await.unwrap_err().retriable());
    receiver.next().await;
    receiver.next().await;
    assert!(receiver.is_quiet(), "a code that is not retriable was retried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_statuses_are_retriable_as_the_protocol_says() {
    let mut receiver = Receiver::start(Protocol::HttpProtobuf).await;
    let exporter = start(&options(Protocol::HttpProtobuf, &receiver.addr.to_string()), &Fixed::counter(1.0));
    for status in [301, 307, 400, 401, 403, 404, 408, 413, 429, 500, 501, 502, 503, 504] {
        let code = StatusCode::from_u16(status).unwrap();
        let headers = vec![("location", "/elsewhere".to_owned()), ("retry-after", "0".to_owned())];
        receiver.answer([Answer::Http(code, headers, b"because".to_vec())]);
        let error = flush(&exporter).await.unwrap_err();
        receiver.next().await;
        assert_eq!(error.retriable(), matches!(status, 429 | 502 | 503 | 504), "{error}");
        let text = error.to_string();
        assert!(text.contains(&status.to_string()) && text.contains("because"), "{text}");
        if error.retriable() {
            receiver.next().await;
        }
    }
    let rpc = RpcStatus { message: "bad bounds".into(), details: vec![] };
    let headers = vec![("content-type", "application/x-protobuf".to_owned())];
    receiver.answer([Answer::Http(StatusCode::BAD_REQUEST, headers, rpc.encode_to_vec())]);
    assert!(flush(&exporter).await.unwrap_err().to_string().ends_with("400 Bad Request: bad bounds"));
    receiver.next().await;
    receiver.answer([Answer::Http(StatusCode::OK, vec![], vec![0; (4 << 20) + 1])]);
    let error = flush(&exporter).await.unwrap_err();
    assert!(!error.retriable() && error.to_string().contains("more than 4194304 bytes"), "{error}");
    receiver.next().await;
    receiver.answer([Answer::Http(StatusCode::OK, vec![], b"no protobuf".to_vec())]);
    flush(&exporter).await.unwrap();
    receiver.next().await;
    assert!(receiver.is_quiet(), "a status that is not retriable was retried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_receiver_asks_to_wait_is_understood() {
    for protocol in BOTH {
        let receiver = Receiver::start(protocol).await;
        receiver.answer([match protocol {
            Protocol::Grpc => Answer::Grpc(throttled(Code::Unavailable)),
            Protocol::HttpProtobuf => {
                Answer::Http(StatusCode::TOO_MANY_REQUESTS, vec![("retry-after", "90".to_owned())], vec![])
            }
        }]);
        let config = resolve(&options(protocol, &receiver.addr.to_string()), |_| None).unwrap();
        let failure = Transport::new(&config).unwrap().send(ExportMetricsServiceRequest::default()).await.unwrap_err();
        let expected = if protocol == Protocol::Grpc { Duration::from_nanos(1) } else { Duration::from_secs(90) };
        assert_eq!(failure.wait, Some(expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_points_are_counted_and_not_sent_again() {
    for protocol in BOTH {
        let mut receiver = Receiver::start(protocol).await;
        receiver.answer([Answer::Partial(3, "too old"), Answer::Partial(0, "please upgrade")]);
        let source = Fixed::counter(5.0);
        let options =
            OtlpOptions { temporality: Some("delta".to_owned()), ..options(protocol, &receiver.addr.to_string()) };
        let exporter = start(&options, &source);
        flush(&exporter).await.unwrap();
        let stats = exporter.stats();
        assert_eq!((stats.rejected_points, stats.exports, stats.failed_attempts), (3, 1, 0));
        assert_eq!(stats.last_error.as_deref(), Some("3 points rejected: too old"));
        source.set_counter(6.0);
        flush(&exporter).await.unwrap();
        assert_eq!(exporter.stats().rejected_points, 3);
        assert!(exporter.stats().last_error.unwrap().contains("please upgrade"));
        for expected in [5.0, 1.0] {
            assert!((only(&receiver.next().await.request) - expected).abs() < 1e-9);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_hangs_holds_up_neither_flush_nor_close() {
    for protocol in BOTH {
        let receiver = Receiver::start(protocol).await;
        receiver.answer([Answer::Hang, Answer::Hang, Answer::Hang]);
        let options = OtlpOptions { timeout: Some(HOUR), ..options(protocol, &receiver.addr.to_string()) };
        let exporter = start(&options, &Fixed::counter(1.0));
        match flush_within(&exporter, Duration::from_millis(200)).await {
            Err(Error::Unreachable { timed_out: true, .. }) => {}
            other => panic!("{other:?}"),
        }
        match close(&exporter, Duration::from_millis(200)).await {
            Err(Error::Unreachable { timed_out: true, .. }) => {}
            other => panic!("{other:?}"),
        }
        close(&exporter, Duration::from_millis(1)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_sends_what_there_is() {
    for protocol in BOTH {
        let mut receiver = Receiver::start(protocol).await;
        let exporter = start(&options(protocol, &receiver.addr.to_string()), &Fixed::counter(4.0));
        close(&exporter, DEADLINE).await.unwrap();
        assert!((only(&receiver.next().await.request) - 4.0).abs() < 1e-9);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_information_of_the_endpoint_arrives_as_a_header() {
    for protocol in BOTH {
        let mut receiver = Receiver::start(protocol).await;
        let exporter = start(&options(protocol, &format!("me:secret@{}", receiver.addr)), &Fixed::counter(1.0));
        flush(&exporter).await.unwrap();
        assert_eq!(receiver.next().await.headers["authorization"], "Basic bWU6c2VjcmV0");
        assert!(!format!("{exporter:?}").contains("secret"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_quotes_our_headers_tells_no_log() {
    for protocol in BOTH {
        let receiver = Receiver::start(protocol).await;
        let body = "token hunter2hunter2 of\nyours has expired".to_owned();
        receiver.answer([match protocol {
            Protocol::Grpc => Answer::Grpc(Status::unauthenticated(body)),
            Protocol::HttpProtobuf => Answer::Http(StatusCode::UNAUTHORIZED, vec![], body.into_bytes()),
        }]);
        let options = OtlpOptions {
            headers: Some(vec![("authorization".to_owned(), "Bearer hunter2hunter2".to_owned())]),
            ..options(protocol, &receiver.addr.to_string())
        };
        let exporter = start(&options, &Fixed::counter(1.0));
        let error = flush(&exporter).await.unwrap_err().to_string();
        assert!(error.ends_with("token *** of yours has expired"), "{error}");
        assert_eq!(exporter.stats().last_error, Some(error));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encrypted_export_knows_the_receiver_and_is_known_to_it() {
    let (folder, other_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let certificates = Certificates::new();
    let [authority, certificate, key] = certificates.write(&folder);
    let [other_authority, other_certificate, other_key] = Certificates::new().write(&other_folder);
    for protocol in BOTH {
        let mut receiver = Receiver::start_tls(protocol, Some(&certificates)).await;
        let export = async |cafile: Option<&PathBuf>, identity: Option<(&PathBuf, &PathBuf)>| {
            let plain = options(protocol, &format!("localhost:{}", receiver.addr.port()));
            let options = OtlpOptions {
                endpoint: plain.endpoint.map(|endpoint| endpoint.replace("http:", "https:")),
                cafile: cafile.cloned(),
                certfile: identity.map(|(certificate, _)| certificate.clone()),
                keyfile: identity.map(|(_, key)| key.clone()),
                ..plain
            };
            flush(&start(&options, &Fixed::counter(9.0))).await
        };
        export(Some(&authority), Some((&certificate, &key))).await.unwrap();
        let stranger = export(Some(&other_authority), Some((&certificate, &key))).await.unwrap_err();
        assert!(stranger.retriable() && stranger.to_string().contains("certificate"), "{stranger}");
        // Without cafile the system's authorities count, to which ours is a stranger; a system may have none.
        let stranger = export(None, Some((&certificate, &key))).await.unwrap_err();
        assert!(stranger.retriable() && stranger.to_string().contains("certificate"), "{stranger}");
        assert!(export(Some(&authority), None).await.unwrap_err().retriable());
        assert!(export(Some(&authority), Some((&other_certificate, &other_key))).await.unwrap_err().retriable());
        assert!((only(&receiver.next().await.request) - 9.0).abs() < 1e-9);
        assert!(receiver.is_quiet());
    }
}
