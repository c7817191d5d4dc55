//! A hub with samples, a receiver that does as it is told, a service between them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver as Channel, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gds_alert_service::{Credentials, Options, Said, Service};
use gds_hub::embedded::{Embedded, EmbeddedOptions};
use gds_hub::producer::{Linger, Producer, ProducerOptions, Reported, Reporter, Sent};
use gds_hub::{Batch, Hub, Record, Start, Subscription};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// Longer than anything takes that is not broken.
pub(crate) const LONG: Duration = Duration::from_secs(60);
pub(crate) const TOPIC: &str = "gds.metrics.postgresql.production";

/// What the receiver answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    Status(u16),
    /// Busy: come again after so many seconds.
    Busy(u64),
    /// Never.
    Hang,
    /// The connection ends.
    Reset,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Value,
    pub(crate) at: Instant,
}

/// A server that answers as planned, and with 202 when there is no plan.
pub(crate) struct Receiver {
    pub(crate) url: String,
    got: Channel<Got>,
    plan: Arc<Mutex<VecDeque<Reply>>>,
}

impl Receiver {
    pub(crate) fn start(runtime: &Runtime) -> Self {
        Self::listen(runtime, None)
    }

    /// One over HTTPS, with a certificate and its key.
    pub(crate) fn start_tls(runtime: &Runtime, (certfile, keyfile): &(PathBuf, PathBuf)) -> Self {
        let tls = gds_net::tls::server_config(Some(certfile), Some(keyfile), None).expect("a certificate");
        Self::listen(runtime, tls.map(TlsAcceptor::from))
    }

    fn listen(runtime: &Runtime, tls: Option<TlsAcceptor>) -> Self {
        let plan: Arc<Mutex<VecDeque<Reply>>> = Arc::default();
        let (tell, got) = channel();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().expect("an address"));
        let planned = Arc::clone(&plan);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tell, plan, tls) = (tell.clone(), Arc::clone(&planned), tls.clone());
                tokio::spawn(async move {
                    let answer = service_fn(move |request| answer(request, tell.clone(), Arc::clone(&plan)));
                    let served = hyper::server::conn::http1::Builder::new();
                    // A connection that was reset on purpose is an error here.
                    let _ = match tls {
                        None => served.serve_connection(TokioIo::new(stream), answer).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => served.serve_connection(TokioIo::new(stream), answer).await,
                            // Who does not trust it goes away.
                            Err(_) => return,
                        },
                    };
                });
            }
        });
        Self { url, got, plan }
    }

    pub(crate) fn plan(&self, replies: impl IntoIterator<Item = Reply>) {
        self.plan.lock().expect("unpoisoned").extend(replies);
    }

    /// From now on with 202.
    pub(crate) fn forget_plan(&self) {
        self.plan.lock().expect("unpoisoned").clear();
    }

    pub(crate) fn next(&self) -> Got {
        self.got.recv_timeout(LONG).expect("a request")
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.got.try_recv().is_err()
    }
}

async fn answer(
    request: Request<Incoming>,
    tell: Sender<Got>,
    plan: Arc<Mutex<VecDeque<Reply>>>,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let path = request.uri().path().to_owned();
    let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = request.into_body().collect().await?.to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let reply = plan.lock().expect("unpoisoned").pop_front().unwrap_or(Reply::Status(202));
    let _ = tell.send(Got { path, authorization, body, at: Instant::now() }); // the test may be over
    let ok = || Full::new(Bytes::from_static(br#"{"ok":true}"#));
    match reply {
        Reply::Status(status) => Ok(Response::builder().status(status).body(ok())?),
        Reply::Busy(seconds) => Ok(Response::builder().status(429).header("retry-after", seconds).body(ok())?),
        Reply::Hang => std::future::pending().await,
        Reply::Reset => Err("as planned".into()),
    }
}

#[derive(Debug)]
struct Nobody;

impl Reporter<Infallible> for Nobody {
    fn report(&self, _: Vec<Reported<Infallible>>) {}
}

/// A hub in a folder, with somebody who measures.
pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) hub: Arc<dyn Hub>,
    producer: Producer<Infallible>,
    pub(crate) said: Arc<Mutex<Vec<String>>>,
    clock_ms: Mutex<i64>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let hub: Arc<dyn Hub> =
            Arc::new(Embedded::open(&folder.path().join("hub"), EmbeddedOptions::default()).expect("a hub"));
        let producer = Producer::new(&*hub, ProducerOptions::default(), Arc::new(Nobody)).expect("a producer");
        let runtime = Runtime::new().expect("a runtime");
        let clock_ms = Mutex::new(now_ms());
        Self { runtime, folder, hub, producer, said: Arc::default(), clock_ms }
    }

    pub(crate) fn state(&self) -> std::path::PathBuf {
        self.folder.path().join("state.redb")
    }

    /// A service with these rules.
    pub(crate) fn start(&self, rules: &str, credentials: &[(&str, &str)]) -> Service {
        self.try_start(rules, credentials).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn try_start(&self, rules: &str, credentials: &[(&str, &str)]) -> Result<Service, String> {
        let options = Options {
            rules: rules.to_owned(),
            group: "test".to_owned(),
            state: self.state(),
            topics: Vec::new(),
            hub_name: "embedded:test".to_owned(),
            max_poll_interval: LONG,
            credentials: Credentials::new(credentials.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))),
        };
        let said = Arc::clone(&self.said);
        let say = Arc::new(move |what: Said<'_>| {
            let text = match what {
                Said::Notification(text) | Said::Warning(text) | Said::Note(text) => text,
            };
            said.lock().expect("unpoisoned").push(text.to_owned());
        });
        let started = Service::start(Arc::clone(&self.hub), options, say, self.runtime.handle());
        started.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    /// Bytes on the topic of metrics.
    pub(crate) fn publish(&self, topic: &str, value: &[u8]) {
        let record = Record { topic, timestamp: now_ms(), key: Some(b"db-1"), value: Some(value), ..Record::default() };
        let sent = self.producer.send(&self.producer.encode(&record), None, Linger::Short).expect("sent");
        assert!(matches!(sent, Sent::Queued), "the producer has room");
        assert!(self.producer.wait_flushed(LONG), "the hub takes what is published");
    }

    /// A value of `cpu_usage`, a millisecond after the one before.
    pub(crate) fn measure(&self, instance: &str, value: f64) {
        let at_ms = {
            let mut clock = self.clock_ms.lock().expect("unpoisoned");
            *clock += 1;
            *clock
        };
        let message = json!({
            "timestamp": at_ms as f64 / 1000.0, "instance_id": instance, "metric_name": "cpu_usage", "value": value,
            "tags": {"environment": "production"},
        });
        self.publish(TOPIC, message.to_string().as_bytes());
    }

    /// The first messages of a topic: value and headers.
    pub(crate) fn read(&self, topic: &str, count: usize) -> Vec<(Value, Vec<(String, String)>)> {
        let subscription =
            Subscription { topics: vec![topic.to_owned()], start: Start::Earliest, ..Subscription::default() };
        let mut subscriber = self.hub.subscribe(&subscription).expect("a reader");
        let mut found = Vec::new();
        let until = Instant::now() + LONG;
        while found.len() < count {
            assert!(Instant::now() < until, "{topic} has {} of {count} messages", found.len());
            let mut batch = Batch::default();
            subscriber.poll(&mut batch, 100, Duration::from_millis(100)).expect("read");
            for message in batch.iter() {
                let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
                let headers = message.headers.iter().map(|(name, value)| (name.to_owned(), text(value))).collect();
                let value = message.value.unwrap_or_default();
                let text = || Value::String(String::from_utf8_lossy(value).into_owned());
                found.push((serde_json::from_slice(value).unwrap_or_else(|_| text()), headers));
            }
        }
        found
    }

    /// Waits until something was said.
    pub(crate) fn wait_said(&self, part: &str) -> String {
        let until = Instant::now() + LONG;
        loop {
            let found = self.said.lock().expect("unpoisoned").iter().find(|text| text.contains(part)).cloned();
            if let Some(found) = found {
                return found;
            }
            assert!(Instant::now() < until, "nobody said {part:?}: {:?}", self.said.lock());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Ends a service in good order.
pub(crate) fn end(service: Service) {
    service.stop();
    service.wait(LONG).expect("ended").expect("in good order");
    // The next one may have its state.
    drop(service);
}

/// Whether bytes are in a file, or in any file of a folder.
pub(crate) fn holds(path: &Path, part: &str) -> bool {
    if path.is_dir() {
        let mut entries = std::fs::read_dir(path).expect("a folder");
        return entries.any(|entry| holds(&entry.expect("an entry").path(), part));
    }
    std::fs::read(path).is_ok_and(|bytes| bytes.windows(part.len()).any(|window| window == part.as_bytes()))
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292 million")
}
