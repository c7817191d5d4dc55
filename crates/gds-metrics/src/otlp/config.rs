//! Settings of an exporter: what the caller passed, then the environment, then the defaults.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

use super::endpoint::{self, Endpoint};
use super::env::{self, Env, FOREVER, Names};
use super::tls::{Named, Tls};
use crate::outage::LogFn;
use crate::{Error, Result, headers};

/// `service.name` when nobody gives one.
pub const DEFAULT_SERVICE_NAME: &str = "gds_service";
/// `service.version` when nobody gives one.
pub const DEFAULT_SERVICE_VERSION: &str = "1.0.0";

// `protocol/exporter.md`, "Configuration Options", and "Periodic exporting MetricReader" of the variables' document.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
const DEFAULT_EXPORT_TIMEOUT: Duration = Duration::from_secs(30);

/// What the caller passed. `None` leaves a setting to the environment.
#[derive(Clone, Default)]
pub struct OtlpOptions {
    /// The receiver's URL, used as it is. For gRPC the scheme may be left out; see `insecure`.
    pub endpoint: Option<String>,
    /// `grpc` or `http/protobuf`.
    pub protocol: Option<String>,
    /// Headers of every request; they replace those of the environment.
    pub headers: Option<Vec<(String, String)>>,
    /// PEM file of the only authorities to trust.
    pub cafile: Option<PathBuf>,
    /// PEM file of the certificate to present, with its chain.
    pub certfile: Option<PathBuf>,
    /// PEM file of that certificate's key.
    pub keyfile: Option<PathBuf>,
    /// For a gRPC endpoint without a scheme: whether it is `http`.
    pub insecure: Option<bool>,
    /// Time between the starts of two exports.
    pub interval: Option<Duration>,
    /// Longest time for one request.
    pub timeout: Option<Duration>,
    /// `cumulative`, `delta` or `lowmemory`.
    pub temporality: Option<String>,
    /// Attributes of the resource; they win over those of the environment one by one.
    pub resource_attributes: Option<Vec<(String, String)>>,
    /// `gzip` or `none`.
    pub compression: Option<String>,
    /// `service.name`, if it was given explicitly.
    pub service_name: Option<String>,
    /// `service.version`, if it was given explicitly.
    pub service_version: Option<String>,
}

impl fmt::Debug for OtlpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.headers.as_ref().map(|all| all.iter().map(|(name, _)| name).collect::<Vec<_>>());
        f.debug_struct("OtlpOptions")
            .field("endpoint", &self.endpoint.as_deref().map(endpoint::shown))
            .field("protocol", &self.protocol)
            .field("headers", &names)
            .field("cafile", &self.cafile)
            .field("certfile", &self.certfile)
            .field("keyfile", &self.keyfile)
            .field("insecure", &self.insecure)
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .field("temporality", &self.temporality)
            .field("resource_attributes", &self.resource_attributes)
            .field("compression", &self.compression)
            .field("service_name", &self.service_name)
            .field("service_version", &self.service_version)
            .finish()
    }
}

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// Protobuf bodies over HTTP/1.1.
    HttpProtobuf,
}

/// Whether values of counters and distributions are totals or changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temporality {
    /// Totals since the series began.
    Cumulative,
    /// Changes since the receiver last acknowledged the series.
    Delta,
    /// As [`Temporality::Delta`]: the two differ for asynchronous instruments only, of which there are none here.
    LowMemory,
}

/// How request bodies are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
}

/// How long to wait after a failure that may pass: a random time up to `base`, doubled with each failure up to `most`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Upper bound of the first wait.
    pub base: Duration,
    /// Upper bound of every wait.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), most: Duration::from_secs(32) }
    }
}

/// Settings that an exporter runs with. `Debug` shows no header's value, no user information and no key.
#[derive(Clone, Debug)]
pub struct OtlpConfig {
    /// Whether the environment turned export off; an exporter then does nothing, successfully.
    pub disabled: bool,
    /// How requests travel.
    pub protocol: Protocol,
    /// Where to; for HTTP the whole URL.
    pub endpoint: Endpoint,
    /// Headers of every request, marked as sensitive.
    pub headers: HeaderMap,
    /// Whom to trust and who to be.
    pub tls: Tls,
    /// How bodies are compressed.
    pub compression: Compression,
    /// Time between the starts of two exports.
    pub interval: Duration,
    /// Longest time for one request.
    pub timeout: Duration,
    /// Longest time for an export, which may take several requests.
    pub export_timeout: Duration,
    /// Totals or changes.
    pub temporality: Temporality,
    /// Attributes of the resource, each name once.
    pub resource: Vec<(String, String)>,
    /// How long to wait after failures.
    pub backoff: Backoff,
    /// What of the environment was not used, and why; for the log.
    pub warnings: Vec<String>,
    /// Who is told when the receiver goes away, and when it is back.
    pub log: LogFn,
}

impl OtlpConfig {
    /// Gives the resource a `service.instance.id` of its own (a random UUID) unless the user gave one.
    ///
    /// Processes of one service that export the same resource would overwrite each other's totals: OTLP allows one
    /// writer for each stream (data model, "Single-Writer").
    #[must_use]
    pub fn as_instance(mut self) -> Self {
        const NAME: &str = "service.instance.id";
        if !self.resource.iter().any(|(name, _)| name == NAME) {
            // Version 4, variant 1 (RFC 9562).
            let random = gds_process::random::random::<u128>() & !(0xF << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
            let hex = format!("{random:032x}");
            let id = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
            self.resource.push((NAME.to_owned(), id));
        }
        self
    }
}

/// Settles every setting: what was passed, else the variable for metrics, else the one for all signals, else the
/// default. The environment is asked through `env`; nothing else is read but the certificates named.
///
/// # Errors
///
/// [`gds_net::Error::Setting`] for an option that cannot be used, [`gds_net::Error::File`] for a certificate or key that cannot be read,
/// whoever named it: going on with other authorities or without an identity would be another decision than the user's.
pub fn resolve(options: &OtlpOptions, env: impl Fn(&str) -> Option<String>) -> Result<OtlpConfig> {
    let mut env = Env::new(env);
    let disabled = env.flag(&[env::SDK_DISABLED])
        || env.text(env::METRICS_EXPORTER).is_some_and(|exporters| exporters.eq_ignore_ascii_case("none"));
    let protocol = choose(
        &mut env,
        ("protocol", options.protocol.as_deref()),
        &env::PROTOCOL,
        &[("grpc", Protocol::Grpc), ("http/protobuf", Protocol::HttpProtobuf)],
    )?
    .unwrap_or(Protocol::Grpc);
    let (endpoint, user) = resolve_endpoint(options, &mut env, protocol)?;
    let mut headers = resolve_headers(options, &mut env)?;
    if let Some(user) = user {
        headers.entry(header::AUTHORIZATION).or_insert(user);
    }
    // Without export a missing file is nobody's problem.
    let tls = if disabled { Tls::default() } else { resolve_tls(options, &mut env, &endpoint)? };
    let compression = choose(
        &mut env,
        ("compression", options.compression.as_deref()),
        &env::COMPRESSION,
        &[("gzip", Compression::Gzip), ("none", Compression::None)],
    )?
    .unwrap_or(Compression::None);
    let temporality = choose(
        &mut env,
        ("temporality", options.temporality.as_deref()),
        &[env::TEMPORALITY],
        &[
            ("cumulative", Temporality::Cumulative),
            ("delta", Temporality::Delta),
            ("lowmemory", Temporality::LowMemory),
        ],
    )?
    .unwrap_or(Temporality::Cumulative);
    let interval = match positive("interval", options.interval)? {
        Some(interval) => interval,
        None => env.millis(&[env::INTERVAL], None).unwrap_or(DEFAULT_INTERVAL),
    };
    let explicit_timeout = positive("timeout", options.timeout)?;
    let timeout = explicit_timeout.or_else(|| env.millis(&env::TIMEOUT, Some(FOREVER))).unwrap_or(DEFAULT_TIMEOUT);
    // An export that one request may fill is not cut short by a default, nor by a variable that the caller overrode.
    let export_timeout = match env.millis(&[env::EXPORT_TIMEOUT], Some(FOREVER)) {
        Some(limit) => limit.max(explicit_timeout.unwrap_or_default()),
        None => DEFAULT_EXPORT_TIMEOUT.max(timeout),
    };
    let resource = resolve_resource(options, &mut env);
    Ok(OtlpConfig {
        disabled,
        protocol,
        endpoint,
        headers,
        tls,
        compression,
        interval,
        timeout,
        export_timeout,
        temporality,
        resource,
        backoff: Backoff::default(),
        warnings: env.warnings,
        log: LogFn::default(),
    })
}

/// One of `values`, by its name in any case.
fn choose<T: Copy, F: Fn(&str) -> Option<String>>(
    env: &mut Env<F>,
    (setting, given): (&'static str, Option<&str>),
    variables: &[&'static str],
    values: &[(&str, T)],
) -> Result<Option<T>> {
    let find =
        |text: &str| values.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim())).map(|(_, value)| *value);
    let expected = values.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" or ");
    match given {
        Some(text) => find(text).map(Some).ok_or_else(|| Error::setting(setting, text, expected)),
        None => Ok(env.parsed(variables, &expected, find)),
    }
}

fn positive(setting: &'static str, given: Option<Duration>) -> Result<Option<Duration>> {
    if given.is_some_and(|given| given.is_zero()) {
        return Err(Error::setting(setting, "0", "more than 0 seconds; leave it out for the default"));
    }
    Ok(given.map(|given| given.min(FOREVER)))
}

fn resolve_endpoint<F: Fn(&str) -> Option<String>>(
    options: &OtlpOptions,
    env: &mut Env<F>,
    protocol: Protocol,
) -> Result<(Endpoint, Option<HeaderValue>)> {
    // "Insecure" of `protocol/exporter.md`: for gRPC endpoints without a scheme only; a scheme wins over it.
    let insecure = options.insecure.unwrap_or_else(|| env.flag(&env::INSECURE));
    let (default_scheme, default, expected) = match protocol {
        Protocol::Grpc => (
            Some(if insecure { "http" } else { "https" }),
            "http://localhost:4317",
            "a URL like http://host:4317, or host:4317",
        ),
        Protocol::HttpProtobuf => (None, "http://localhost:4318", "a URL like http://host:4318/v1/metrics"),
    };
    if let Some(text) = options.endpoint.as_deref() {
        return Endpoint::parse(text.trim(), default_scheme)
            .ok_or_else(|| Error::setting("endpoint", &endpoint::shown(text), expected));
    }
    let [metrics, general] = env::ENDPOINT;
    if let Some(found) = read_endpoint(env, metrics, default_scheme, expected) {
        return Ok(found);
    }
    let (base, user) = match read_endpoint(env, general, default_scheme, expected) {
        Some(found) => found,
        None => Endpoint::parse(default, None).ok_or_else(|| Error::setting("endpoint", default, expected))?,
    };
    Ok(match protocol {
        Protocol::Grpc => (base, user),
        Protocol::HttpProtobuf => (base.with_signal_path(), user),
    })
}

fn read_endpoint<F: Fn(&str) -> Option<String>>(
    env: &mut Env<F>,
    name: &'static str,
    default_scheme: Option<&str>,
    expected: &str,
) -> Option<(Endpoint, Option<HeaderValue>)> {
    let text = env.text(name)?;
    let found = Endpoint::parse(&text, default_scheme);
    if found.is_none() {
        env.warn(name, &endpoint::shown(&text), expected);
    }
    found
}

fn resolve_headers<F: Fn(&str) -> Option<String>>(options: &OtlpOptions, env: &mut Env<F>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(given) = &options.headers {
        for (name, value) in given {
            headers::add(&mut headers, name, value)
                .map_err(|expected| Error::setting("headers", headers::shown_name(name), expected))?;
        }
        return Ok(headers);
    }
    let Some((variable, list)) = env.first(&env::HEADERS) else { return Ok(headers) };
    for pair in env::pairs(&list) {
        match pair {
            Ok((name, value)) => {
                if let Err(expected) = headers::add(&mut headers, &name, &value) {
                    env.warn(variable, headers::shown_name(&name), expected);
                }
            }
            Err(number) => env.warn(variable, &format!("(entry {number})"), "name=value, percent-encoded"),
        }
    }
    Ok(headers)
}

fn resolve_tls<F: Fn(&str) -> Option<String>>(
    options: &OtlpOptions,
    env: &mut Env<F>,
    endpoint: &Endpoint,
) -> Result<Tls> {
    let named = |env: &Env<F>, setting, given: Option<&PathBuf>, variables: &Names| match given {
        Some(path) => Some(Named { setting, path: path.clone() }),
        None => env.first(variables).map(|(setting, path)| Named { setting, path: path.into() }),
    };
    let authority = named(env, "cafile", options.cafile.as_ref(), &env::CERTIFICATE);
    let certificate = named(env, "certfile", options.certfile.as_ref(), &env::CLIENT_CERTIFICATE);
    let key = named(env, "keyfile", options.keyfile.as_ref(), &env::CLIENT_KEY);
    let identity = match (&certificate, &key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (Some(alone), None) => lonely(env, alone, "keyfile, the key of the certificate, as well")?,
        (None, Some(alone)) => lonely(env, alone, "certfile, the certificate of the key, as well")?,
        (None, None) => None,
    };
    let tls = Tls::read(authority.as_ref(), identity)?;
    if !endpoint.is_secure() {
        for unused in authority.iter().chain(&certificate) {
            env.warn(unused.setting, &unused.path.to_string_lossy(), "an endpoint of scheme https with it");
        }
    }
    Ok(tls)
}

/// Half an identity: an error if it was passed, a warning if the environment holds it.
fn lonely<T, F: Fn(&str) -> Option<String>>(
    env: &mut Env<F>,
    named: &Named,
    expected: &'static str,
) -> Result<Option<T>> {
    let path = named.path.to_string_lossy();
    if named.setting.starts_with("OTEL_") {
        env.warn(named.setting, &path, expected);
        return Ok(None);
    }
    Err(Error::setting(named.setting, path.as_ref(), expected))
}

fn resolve_resource<F: Fn(&str) -> Option<String>>(options: &OtlpOptions, env: &mut Env<F>) -> Vec<(String, String)> {
    let mut resource = Attributes(vec![
        ("service.name".to_owned(), DEFAULT_SERVICE_NAME.to_owned()),
        ("service.version".to_owned(), DEFAULT_SERVICE_VERSION.to_owned()),
    ]);
    // `resource/sdk.md`: after any error in the variable, all of it is discarded.
    if let Some(list) = env.text(env::RESOURCE_ATTRIBUTES) {
        match env::pairs(&list).collect::<std::result::Result<Vec<_>, _>>() {
            Ok(pairs) => resource.set_all(pairs),
            Err(number) => env.warn(
                env::RESOURCE_ATTRIBUTES,
                &list,
                &format!("key=value,key=value, percent-encoded; entry {number} is not"),
            ),
        }
    }
    resource.set("service.name", env.text(env::SERVICE_NAME));
    resource.set_all(options.resource_attributes.iter().flatten().cloned());
    resource.set("service.name", options.service_name.clone());
    resource.set("service.version", options.service_version.clone());
    // Ours to say, whatever the user passed: semantic conventions, "Telemetry SDK".
    resource.set("telemetry.sdk.name", Some("gds-telemetry".to_owned()));
    resource.set("telemetry.sdk.language", Some("python".to_owned()));
    resource.set("telemetry.sdk.version", Some(env!("CARGO_PKG_VERSION").to_owned()));
    resource.0
}

/// Attributes, each name once: `common/README.md`, "Attribute Collections".
struct Attributes(Vec<(String, String)>);

impl Attributes {
    fn set(&mut self, name: &str, value: Option<String>) {
        let Some(value) = value else { return };
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    fn set_all(&mut self, pairs: impl IntoIterator<Item = (String, String)>) {
        for (name, value) in pairs {
            self.set(&name, Some(value));
        }
    }
}
