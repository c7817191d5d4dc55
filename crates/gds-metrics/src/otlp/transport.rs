//! One request to a receiver, and what its answer means.

use std::error::Error as StdError;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use prost::Message as _;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::config::{Compression, OtlpConfig, Protocol};
use super::status::{self, RpcStatus};
use crate::resolver::ForkSafeResolver;
use crate::{Error, Result};

/// The protocol's recommended limit, "OTLP/HTTP Response".
const MAX_RESPONSE_BYTES: usize = 4 << 20;
/// Of what a receiver says, as much as fits a log line.
const MAX_TEXT_CHARS: usize = 300;
const MIN_SECRET_BYTES: usize = 4;
/// `protocol/exporter.md`, "User Agent": the exporter, its language and its version.
const USER_AGENT: &str = concat!("gds-telemetry-OTLP-Exporter-Python/", env!("CARGO_PKG_VERSION"));

/// The receiver took a request, but for what it rejected, which must not be sent again ("Partial Success").
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Points that it rejected.
    pub(super) rejected: u64,
    /// Why, or a warning; mostly empty.
    pub(super) message: String,
}

/// The receiver did not take a request. Sending a newer snapshot at once makes sense if the error is retriable.
#[derive(Debug)]
pub(super) struct Failure {
    /// What to tell the user: retriable failures are [`Error::Unreachable`], the others [`Error::Refused`].
    pub(super) error: Error,
    /// How long the receiver asked to be left alone.
    pub(super) wait: Option<Duration>,
}

/// How a request reaches a receiver.
pub(super) trait Deliver: Send + Sync + 'static {
    /// Sends one request and waits for the answer, as long as it takes.
    fn send(
        &self,
        request: ExportMetricsServiceRequest,
    ) -> impl Future<Output = std::result::Result<Accepted, Failure>> + Send;
}

/// A client for either protocol. Connections are opened by the first request.
pub(super) struct Transport {
    client: Client,
    report: Report,
}

enum Client {
    Grpc { client: MetricsServiceClient<Channel>, metadata: MetadataMap },
    Http { client: reqwest::Client, url: url::Url, headers: HeaderMap, compression: Compression },
}

impl Transport {
    /// Prepares a client; reads the system's authorities and proxies, so it may block for some milliseconds. Must be
    /// called within a runtime.
    pub(super) fn new(config: &OtlpConfig) -> Result<Self> {
        let report = Report::new(config);
        let client = match config.protocol {
            Protocol::Grpc => grpc(config, &report)?,
            Protocol::HttpProtobuf => http(config, &report)?,
        };
        Ok(Self { client, report })
    }
}

impl Deliver for Transport {
    async fn send(&self, request: ExportMetricsServiceRequest) -> std::result::Result<Accepted, Failure> {
        let response = match &self.client {
            Client::Grpc { client, metadata } => {
                let request = Request::from_parts(metadata.clone(), tonic::Extensions::default(), request);
                // A clone of the client shares its connection.
                let answer = client.clone().export(request).await;
                answer.map_err(|status| self.report.grpc_failure(&status))?.into_inner()
            }
            Client::Http { client, url, headers, compression } => {
                let body = encode(&request, *compression).map_err(|why| self.report.unreachable(&why))?;
                let request = client.post(url.clone()).headers(headers.clone()).body(body);
                let answer = request.send().await.map_err(|why| self.report.unreachable(&why.without_url()))?;
                self.report.http_answer(answer).await?
            }
        };
        Ok(self.report.accepted(response))
    }
}

fn grpc(config: &OtlpConfig, report: &Report) -> Result<Client> {
    let unusable = |why: tonic::transport::Error| report.unreachable(&why).error;
    let mut endpoint = Channel::builder(
        config.endpoint.url().as_str().parse().map_err(|why: http::uri::InvalidUri| report.unreachable(&why).error)?,
    )
    .user_agent(USER_AGENT)
    .map_err(unusable)?
    .connect_timeout(config.timeout);
    if config.endpoint.is_secure() {
        endpoint = endpoint.tls_config(config.tls.for_grpc()).map_err(unusable)?;
    }
    let mut client = MetricsServiceClient::new(endpoint.connect_with_connector_lazy(ForkSafeResolver::connector()));
    if config.compression == Compression::Gzip {
        client = client.send_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Gzip);
    }
    Ok(Client::Grpc { client, metadata: MetadataMap::from_headers(config.headers.clone()) })
}

fn http(config: &OtlpConfig, report: &Report) -> Result<Client> {
    let mut builder = reqwest::Client::builder()
        .connect_timeout(config.timeout)
        .dns_resolver(ForkSafeResolver)
        // A redirect would carry headers, which hold keys, to where the user did not send them.
        .redirect(reqwest::redirect::Policy::none());
    if config.endpoint.is_secure() {
        let tls = config.tls.for_http().map_err(|why| report.unreachable(&why).error)?;
        builder = builder.tls_backend_preconfigured(tls);
    } else {
        // Never used, but without it the client would look for a process-wide provider, which is not ours to install.
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|why| report.unreachable(&why).error)?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        builder = builder.tls_backend_preconfigured(tls);
    }
    if config.endpoint.is_loopback() {
        builder = builder.no_proxy();
    }
    let client = builder.build().map_err(|why| report.unreachable(&why).error)?;
    let mut headers = config.headers.clone();
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    if config.compression == Compression::Gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(Client::Http { client, url: config.endpoint.url().clone(), headers, compression: config.compression })
}

fn encode(request: &ExportMetricsServiceRequest, compression: Compression) -> std::io::Result<Vec<u8>> {
    let body = request.encode_to_vec();
    match compression {
        Compression::None => Ok(body),
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&body)?;
            encoder.finish()
        }
    }
}

/// Turns answers into outcomes that can be shown.
pub(super) struct Report {
    url: String,
    secrets: Vec<String>,
}

impl Report {
    pub(super) fn new(config: &OtlpConfig) -> Self {
        let values = config.headers.values().filter_map(|value| value.to_str().ok()).map(str::to_owned);
        let parameters = config.endpoint.url().query_pairs().map(|(_, value)| value.into_owned());
        let mut secrets: Vec<String> = values
            .chain(parameters)
            // `Bearer abc` is echoed as `abc` as well.
            .flat_map(|value| {
                let words: Vec<_> = value.split_whitespace().map(str::to_owned).collect();
                std::iter::once(value).chain(words)
            })
            // Shorter ones keep no secret, and every text holds them by chance.
            .filter(|secret| secret.len() >= MIN_SECRET_BYTES)
            .collect();
        // Longest first: one may be part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { url: config.endpoint.shown().to_owned(), secrets }
    }

    /// The request did not arrive, or its answer did not.
    pub(super) fn unreachable(&self, why: &dyn StdError) -> Failure {
        self.retriable(&chain(why), None)
    }

    /// The receiver took longer than it may.
    pub(super) fn timed_out(&self, limit: Duration) -> Failure {
        let reason = format!("no answer within {} s", limit.as_secs_f64());
        Failure { error: Error::Unreachable { url: self.url.clone(), reason, timed_out: true }, wait: None }
    }

    fn retriable(&self, reason: &str, wait: Option<Duration>) -> Failure {
        let error = Error::Unreachable { url: self.url.clone(), reason: self.clean(reason), timed_out: false };
        Failure { error, wait }
    }

    fn permanent(&self, status: String, body: &str) -> Failure {
        Failure { error: Error::Refused { url: self.url.clone(), status, body: self.clean(body) }, wait: None }
    }

    /// "OTLP/gRPC Response", "Failures".
    fn grpc_failure(&self, status: &Status) -> Failure {
        // A receiver's own words have no cause; what has one went wrong on the way, often under the code UNKNOWN.
        if let Some(cause) = StdError::source(status) {
            return self.unreachable(cause);
        }
        let wait = status::retry_info(status.details());
        let text = status.message();
        let name = format!("{:?}", status.code());
        match status.code() {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => self.retriable(&format!("{name}: {text}"), wait),
            // It may mean that the request is too large, which waiting does not cure, unless the receiver says so.
            Code::ResourceExhausted if wait.is_some() => self.retriable(&format!("{name}: {text}"), wait),
            _ => self.permanent(name, text),
        }
    }

    /// "OTLP/HTTP Response".
    async fn http_answer(
        &self,
        mut answer: reqwest::Response,
    ) -> std::result::Result<ExportMetricsServiceResponse, Failure> {
        let status = answer.status();
        let wait = answer.headers().get(header::RETRY_AFTER).and_then(|value| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            status::retry_after(value.to_str().ok()?, now)
        });
        let is_protobuf = answer
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/x-protobuf"));
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|why| self.unreachable(&why.without_url()))? {
            if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
                let text = format!("an answer of more than {MAX_RESPONSE_BYTES} bytes");
                return Err(self.permanent(status.to_string(), &text));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            // What a receiver of another make answers in its own words is still a success.
            return Ok(ExportMetricsServiceResponse::decode(&*body).unwrap_or_default());
        }
        let text = match RpcStatus::decode(&*body) {
            Ok(rpc) if is_protobuf => rpc.message,
            _ => String::from_utf8_lossy(&body).into_owned(),
        };
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => self.retriable(&format!("{status}: {text}"), wait),
            _ => self.permanent(status.to_string(), &text),
        })
    }

    fn accepted(&self, response: ExportMetricsServiceResponse) -> Accepted {
        let partial = response.partial_success.unwrap_or_default();
        Accepted {
            rejected: u64::try_from(partial.rejected_data_points).unwrap_or(0),
            message: self.clean(&partial.error_message),
        }
    }

    /// Text from elsewhere, fit to be shown: short, on one line, and without what we sent in headers.
    fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "***");
        }
        let one_line = text.chars().map(|char| if char.is_control() { ' ' } else { char });
        one_line.take(MAX_TEXT_CHARS).collect::<String>().trim().to_owned()
    }
}

/// An error and its causes; each cause once, since many errors repeat theirs.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
