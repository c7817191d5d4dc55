//! What the tests of this module share: sources, real receivers for both protocols, and certificates.

use std::collections::VecDeque;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::GzDecoder;
use gds_process::sync::Mutex;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValueKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, metric, number_data_point};
use prost::Message as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tonic::codec::CompressionEncoding;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

use super::config::Protocol;
use super::exporter::{Exporter, Source};
use crate::Result;
use crate::key::MetricKind;
use crate::snapshot::{Family, Series, Value};

/// Long enough for a busy machine; reached only by a test that fails.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

pub(super) fn family(name: &str, kind: MetricKind, series: Vec<Series>) -> Family {
    let bounds: Arc<[f64]> = if kind.is_distribution() { Arc::new([0.1, 1.0]) } else { Arc::new([]) };
    Family { name: name.into(), kind, help: "".into(), unit: "".into(), bounds, series }
}

pub(super) fn number(id: u64, labels: &[&str], value: f64) -> Series {
    let labels = labels.iter().map(|text| Box::from(*text)).collect();
    Series { id, labels, created_nanos: 5, value: Value::Number(value), exemplars: vec![] }
}

pub(super) fn distribution(id: u64, sum: f64, buckets: &[u64]) -> Series {
    let value = Value::Distribution { sum, buckets: buckets.to_vec() };
    Series { id, labels: Arc::new([]), created_nanos: 5, value, exemplars: vec![] }
}

/// A source whose snapshot a test sets.
#[derive(Default)]
pub(super) struct Fixed(pub(super) Mutex<Vec<Family>>);

impl Fixed {
    pub(super) fn counter(value: f64) -> Arc<Self> {
        let fixed = Self::default();
        fixed.set_counter(value);
        Arc::new(fixed)
    }

    pub(super) fn set_counter(&self, value: f64) {
        *self.0.lock() = vec![family("requests", MetricKind::Counter, vec![number(1, &[], value)])];
    }
}

impl Source for Fixed {
    fn snapshot(&self) -> Vec<Family> {
        self.0.lock().clone()
    }
}

pub(super) fn metrics(request: &ExportMetricsServiceRequest) -> impl Iterator<Item = &Metric> {
    request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics).flat_map(|scope| &scope.metrics)
}

pub(super) fn numbers(metric: &Metric) -> &[NumberDataPoint] {
    match metric.data.as_ref().unwrap() {
        metric::Data::Sum(sum) => &sum.data_points,
        metric::Data::Gauge(gauge) => &gauge.data_points,
        _ => &[],
    }
}

pub(super) fn float(point: &NumberDataPoint) -> f64 {
    match point.value {
        Some(number_data_point::Value::AsDouble(value)) => value,
        _ => panic!("no double: {point:?}"),
    }
}

/// The only number of a request.
pub(super) fn only(request: &ExportMetricsServiceRequest) -> f64 {
    let points: Vec<_> = metrics(request).flat_map(numbers).collect();
    assert_eq!(points.len(), 1);
    float(points[0])
}

pub(super) fn texts(attributes: &[KeyValue]) -> Vec<(&str, &str)> {
    attributes
        .iter()
        .map(|pair| match &pair.value {
            Some(AnyValue { value: Some(AnyValueKind::StringValue(text)) }) => (&*pair.key, &**text),
            other => panic!("no text: {other:?}"),
        })
        .collect()
}

/// What a receiver is told to answer; without instructions it accepts.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Accept,
    Partial(i64, &'static str),
    Grpc(tonic::Status),
    Http(StatusCode, Vec<(&'static str, String)>, Vec<u8>),
    Hang,
}

#[derive(Debug)]
pub(super) struct Received {
    pub(super) headers: HeaderMap,
    pub(super) path: String,
    pub(super) request: ExportMetricsServiceRequest,
}

/// A receiver on a free port.
pub(super) struct Receiver {
    pub(super) addr: SocketAddr,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    received: mpsc::UnboundedReceiver<Received>,
    task: AbortHandle,
}

#[derive(Clone)]
struct Service {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    received: mpsc::UnboundedSender<Received>,
}

impl Service {
    fn answer(&self, received: Received) -> Answer {
        let answer = self.answers.lock().pop_front().unwrap_or(Answer::Accept);
        self.received.send(received).unwrap();
        answer
    }
}

impl Receiver {
    pub(super) async fn start(protocol: Protocol) -> Self {
        Self::start_tls(protocol, None).await
    }

    pub(super) async fn start_tls(protocol: Protocol, certificates: Option<&Certificates>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, received) = mpsc::unbounded_channel();
        let answers = Arc::default();
        let service = Service { answers: Arc::clone(&answers), received: sender };
        let task = match protocol {
            Protocol::Grpc => {
                let mut server = Server::builder();
                if let Some(certificates) = certificates {
                    server = server.tls_config(certificates.for_grpc()).unwrap();
                }
                let service = MetricsServiceServer::new(service).accept_compressed(CompressionEncoding::Gzip);
                let serving = server.add_service(service).serve_with_incoming(TcpIncoming::from(listener));
                tokio::spawn(async move { serving.await.unwrap() }).abort_handle()
            }
            Protocol::HttpProtobuf => {
                let tls = certificates.map(Certificates::for_http);
                tokio::spawn(serve_http(listener, service, tls)).abort_handle()
            }
        };
        Self { addr, answers, received, task }
    }

    pub(super) fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.answers.lock().extend(answers);
    }

    /// The next request that arrives, or arrived.
    pub(super) async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(DEADLINE, self.received.recv()).await;
        next.expect("a request before the deadline").expect("a running server")
    }

    /// Whether every request that arrived was taken.
    pub(super) fn is_quiet(&self) -> bool {
        self.received.is_empty()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn response(answer: &Answer) -> ExportMetricsServiceResponse {
    let partial_success = match answer {
        Answer::Partial(rejected, text) => {
            Some(ExportMetricsPartialSuccess { rejected_data_points: *rejected, error_message: (*text).to_owned() })
        }
        _ => None,
    };
    ExportMetricsServiceResponse { partial_success }
}

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> std::result::Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        let (metadata, _, request) = request.into_parts();
        match self.answer(Received { headers: metadata.into_headers(), path: String::new(), request }) {
            Answer::Grpc(status) => Err(status),
            Answer::Hang => std::future::pending().await,
            answer => Ok(tonic::Response::new(response(&answer))),
        }
    }
}

async fn serve_http(listener: TcpListener, service: Service, tls: Option<tokio_rustls::TlsAcceptor>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (service, tls) = (service.clone(), tls.clone());
        connections.spawn(async move {
            let handle = service_fn(move |request| handle_http(service.clone(), request));
            let http = hyper::server::conn::http1::Builder::new();
            // A client that goes away is part of several tests.
            let _ = match tls {
                None => http.serve_connection(TokioIo::new(stream), handle).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => http.serve_connection(TokioIo::new(stream), handle).await,
                    Err(_) => Ok(()),
                },
            };
        });
    }
}

async fn handle_http(
    service: Service,
    request: hyper::Request<hyper::body::Incoming>,
) -> std::result::Result<hyper::Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let mut body = body.collect().await?.to_bytes().to_vec();
    if parts.headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip") {
        let mut plain = Vec::new();
        GzDecoder::new(&*body).read_to_end(&mut plain).unwrap();
        body = plain;
    }
    let request = ExportMetricsServiceRequest::decode(&*body).unwrap();
    let received = Received { headers: parts.headers, path: parts.uri.to_string(), request };
    let answer = service.answer(received);
    let builder = hyper::Response::builder();
    Ok(match answer {
        Answer::Hang => std::future::pending().await,
        Answer::Http(status, headers, body) => {
            let builder = headers.into_iter().fold(builder.status(status), |builder, (k, v)| builder.header(k, v));
            builder.body(Full::from(body)).unwrap()
        }
        answer => {
            let body = response(&answer).encode_to_vec();
            builder.header(header::CONTENT_TYPE, "application/x-protobuf").body(Full::from(body)).unwrap()
        }
    })
}

/// A way to a receiver that can be cut: while it is, connections are closed as soon as they are made, and those that
/// were open are closed.
pub(super) struct Gate {
    pub(super) addr: SocketAddr,
    is_open: watch::Sender<bool>,
    connections: watch::Sender<usize>,
    task: AbortHandle,
}

impl Gate {
    pub(super) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (is_open, connections) = (watch::Sender::new(true), watch::Sender::new(0));
        let (opened, count) = (is_open.clone(), connections.clone());
        let task = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (mut is_open, count) = (opened.subscribe(), count.clone());
                count.send_modify(|count| *count += 1);
                tasks.spawn(async move {
                    let mut server = TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        biased;
                        _ = is_open.wait_for(|is_open| !is_open) => {}
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    }
                    drop((client, server));
                    count.send_modify(|count| *count -= 1);
                });
            }
        });
        Self { addr, is_open, connections, task: task.abort_handle() }
    }

    pub(super) fn open(&self) {
        self.is_open.send_replace(true);
    }

    /// Returns when every connection is cut.
    pub(super) async fn shut(&self) {
        self.is_open.send_replace(false);
        self.connections.subscribe().wait_for(|count| *count == 0).await.unwrap();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An authority, a server's certificate and a client's, as PEM.
pub(super) struct Certificates {
    pub(super) authority: String,
    server: (String, String),
    pub(super) client: (String, String),
}

impl Certificates {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            (params.signed_by(&key, &authority).unwrap().pem(), key.serialize_pem())
        };
        Self { server: issue("localhost"), client: issue("client"), authority: authority.as_ref().pem() }
    }

    /// Writes authority, client certificate and client key.
    pub(super) fn write(&self, folder: &tempfile::TempDir) -> [PathBuf; 3] {
        [("ca.pem", &self.authority), ("client.pem", &self.client.0), ("client.key", &self.client.1)].map(
            |(name, pem)| {
                let path = folder.path().join(name);
                std::fs::write(&path, pem).unwrap();
                path
            },
        )
    }

    fn for_grpc(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .identity(Identity::from_pem(&self.server.0, &self.server.1))
            .client_ca_root(Certificate::from_pem(&self.authority))
    }

    fn for_http(&self) -> tokio_rustls::TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
        let chain = vec![CertificateDer::from_pem_slice(self.server.0.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.server.1.as_bytes()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap();
        Arc::new(config).into()
    }
}

/// Flushes on a thread that may block.
pub(super) async fn flush(exporter: &Arc<Exporter>) -> Result<()> {
    flush_within(exporter, DEADLINE).await
}

pub(super) async fn flush_within(exporter: &Arc<Exporter>, timeout: Duration) -> Result<()> {
    let exporter = Arc::clone(exporter);
    tokio::task::spawn_blocking(move || exporter.flush(timeout)).await.unwrap()
}

/// Closes on a thread that may block.
pub(super) async fn close(exporter: &Arc<Exporter>, timeout: Duration) -> Result<()> {
    let exporter = Arc::clone(exporter);
    tokio::task::spawn_blocking(move || exporter.close(timeout)).await.unwrap()
}
