//! librdkafka's handle, its queues and lists, each with the rules of its life built in.
//!
//! Nothing here may be used in a forked child: librdkafka's threads are not in it, and its locks may be held for ever.
//! The one exception is dropping, which does nothing there: what belongs to the parent is left as it is.
#![allow(unsafe_code)] // each block says why it is sound

use std::ffi::{CString, c_char, c_int, c_void};
use std::fmt;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use gds_process::gate;
use rdkafka::ClientConfig;
use rdkafka::config::NativeClientConfig;
use rdkafka::error::KafkaError;
use rdkafka_sys as sys;

use super::context::ClientContext;
use super::errors;
use super::partitions::{Line, lines};
use super::text::owned_text;
use super::tls;
use crate::error::{Error, Result};
use crate::settings::{Settings, is_secret};

/// librdkafka counts its clients under a lock of the whole process, and what it is linked with is set up for the first one:
/// a fork waits for that, and no longer than this for a client that takes its time to end.
const GLOBAL_TIMEOUT: Duration = Duration::from_secs(1);

/// What librdkafka calls when partitions come or go.
pub(super) type RebalanceCallback = unsafe extern "C" fn(
    *mut sys::rd_kafka_t,
    sys::rd_kafka_resp_err_t,
    *mut sys::rd_kafka_topic_partition_list_t,
    *mut c_void,
);

/// What a handle is made for.
#[derive(Clone, Copy, Debug)]
pub(super) enum ClientPurpose {
    Publish,
    /// With what librdkafka calls when partitions come or go.
    Subscribe(RebalanceCallback),
    /// Asking only.
    Admin,
    /// Asking about a group. librdkafka looks for the group's coordinator anew in its consumer, and dereferences null
    /// where a client that is none is told that the coordinator has moved.
    AskGroup,
}

/// Milliseconds as librdkafka takes them.
pub(super) fn millis(timeout: Duration) -> c_int {
    c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX)
}

/// A client of librdkafka. Destroyed with its last owner, which waits for its threads.
pub(super) struct Handle {
    rk: *mut sys::rd_kafka_t,
    owner: u32,
    /// librdkafka's callbacks have its address; so it is dropped after `rk`.
    shared: Arc<ClientContext>,
}

// SAFETY: librdkafka's functions may be called on one handle from all threads at once.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    /// A client with `settings`, some keys of which may be replaced by `more`.
    pub(super) fn new(
        purpose: ClientPurpose,
        settings: &Settings,
        brokers: &str,
        more: &[(&str, &str)],
        shared: &Arc<ClientContext>,
    ) -> Result<Arc<Self>> {
        let given = settings.client.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let given = given.filter(|(key, _)| fits(purpose, key) && more.iter().all(|(own, _)| own != key));
        let config = native_config(
            given.chain([("bootstrap.servers", brokers), ("log.queue", "true")]).chain(more.iter().copied()),
        )?;
        let conf = config.ptr();
        let events = sys::RD_KAFKA_EVENT_DR
            | sys::RD_KAFKA_EVENT_ERROR
            | sys::RD_KAFKA_EVENT_LOG
            | sys::RD_KAFKA_EVENT_STATS
            | sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH;
        let verify = settings.client.get("enable.ssl.certificate.verification").is_none_or(|value| value != "false");
        // SAFETY: the configuration is ours; the callbacks have the signatures librdkafka asks for and live for ever;
        // `shared` is owned by the handle until after `rd_kafka_destroy`, so its address is valid in every callback.
        unsafe {
            sys::rd_kafka_conf_set_events(conf, events);
            sys::rd_kafka_conf_set_log_cb(conf, Some(no_log));
            #[cfg(unix)]
            rd_kafka_conf_set_resolve_cb(conf, Some(resolve));
            sys::rd_kafka_conf_set_opaque(conf, Arc::as_ptr(shared).cast_mut().cast());
            if verify {
                sys::rd_kafka_conf_set_ssl_cert_verify_cb(conf, Some(verify_certificate));
            }
            if let ClientPurpose::Subscribe(rebalance) = purpose {
                sys::rd_kafka_conf_set_rebalance_cb(conf, Some(rebalance));
            }
        }
        let kind = match purpose {
            ClientPurpose::Subscribe(_) | ClientPurpose::AskGroup => sys::rd_kafka_type_t::RD_KAFKA_CONSUMER,
            ClientPurpose::Publish | ClientPurpose::Admin => sys::rd_kafka_type_t::RD_KAFKA_PRODUCER,
        };
        let mut text = [0 as c_char; 512];
        let _gate = gate::pass(GLOBAL_TIMEOUT);
        // SAFETY: the configuration is ours and, if the call succeeds, librdkafka's from then on; at most the length
        // of `text` is written, NUL included.
        let rk = unsafe { sys::rd_kafka_new(kind, conf, text.as_mut_ptr(), text.len()) };
        if rk.is_null() {
            // SAFETY: librdkafka ended the text with NUL.
            let text = shared.scrubbed(&unsafe { owned_text(text.as_ptr()) });
            let explained = tls::explained(&settings.client, &text);
            let message = explained.unwrap_or_else(|| format!("the settings do not make a Kafka client: {text}"));
            return Err(Error::Config(message.into()));
        }
        std::mem::forget(config); // librdkafka's now
        // SAFETY: a fresh handle; no queue given means its main one.
        unsafe { sys::rd_kafka_set_log_queue(rk, ptr::null_mut()) };
        Ok(Arc::new(Self { rk, owner: std::process::id(), shared: shared.clone() }))
    }

    /// For calls of librdkafka, while the handle is borrowed.
    pub(super) fn raw(&self) -> *mut sys::rd_kafka_t {
        self.rk
    }

    pub(super) fn shared(&self) -> &Arc<ClientContext> {
        &self.shared
    }

    /// Whether this is the process that made it.
    pub(super) fn ours(&self) -> bool {
        self.owner == std::process::id()
    }

    /// The queue of events: outcomes, errors, logs, statistics, tokens.
    pub(super) fn events(self: &Arc<Self>) -> Queue {
        // SAFETY: the handle is alive; the reference returned is ours.
        Queue { queue: unsafe { sys::rd_kafka_queue_get_main(self.rk) }, handle: self.clone() }
    }

    /// The queue of messages of a consumer; none if this is none.
    pub(super) fn messages(self: &Arc<Self>) -> Option<Queue> {
        // SAFETY: the handle is alive; the reference returned, if any, is ours.
        let queue = unsafe { sys::rd_kafka_queue_get_consumer(self.rk) };
        (!queue.is_null()).then(|| Queue { queue, handle: self.clone() })
    }

    /// A queue for the answer to one request.
    pub(super) fn queue(self: &Arc<Self>) -> Queue {
        // SAFETY: the handle is alive; the reference returned is ours.
        Queue { queue: unsafe { sys::rd_kafka_queue_new(self.rk) }, handle: self.clone() }
    }

    /// Has the client know the servers it was made with, should it have forgotten them.
    pub(super) fn ask_bootstrap_servers_again(&self) {
        let Ok(servers) = CString::new(self.shared.brokers.as_str()) else { return };
        // SAFETY: the handle is alive, and the text for the call.
        unsafe { sys::rd_kafka_brokers_add(self.rk, servers.as_ptr()) };
    }

    /// What ended this client, if something did: librdkafka's number and words.
    pub(super) fn fatal_error(&self) -> Option<Error> {
        let mut text = [0 as c_char; 512];
        // SAFETY: the handle is alive; at most the length of `text` is written, NUL included.
        let code = unsafe { sys::rd_kafka_fatal_error(self.rk, text.as_mut_ptr(), text.len()) } as i32;
        // SAFETY: librdkafka ended the text with NUL, or did not touch the zeros.
        let text = unsafe { owned_text(text.as_ptr()) };
        (code != 0).then(|| errors::fatal(code, &self.shared.scrubbed(&text)))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.ours() {
            let _gate = gate::pass(GLOBAL_TIMEOUT);
            // SAFETY: the last owner, so nothing refers to it any more; queues and topics own the handle too.
            unsafe { sys::rd_kafka_destroy_flags(self.rk, sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE) };
        }
    }
}

/// Ends a client as an error that cannot be mended would.
#[cfg(test)]
pub(super) fn end_for_test(handle: &Handle) {
    let code = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    // SAFETY: the handle is alive; the text is a constant.
    unsafe { sys::rd_kafka_test_fatal_error(handle.rk, code, c"a test".as_ptr()) };
}

/// Keys that are of no use for the purpose; librdkafka would log a warning for each.
fn fits(purpose: ClientPurpose, key: &str) -> bool {
    const SENDING: &[&str] = &[
        "acks",
        "batch.num.messages",
        "batch.size",
        "compression.level",
        "compression.type",
        "enable.idempotence",
        "linger.ms",
        "message.timeout.ms",
        "partitioner",
        "queue.buffering.max.kbytes",
        "queue.buffering.max.messages",
        "request.timeout.ms",
        "retries",
        "sticky.partitioning.linger.ms",
        "topic.metadata.propagation.max.ms",
    ];
    const READING: &[&str] = &[
        "check.crcs",
        "fetch.max.bytes",
        "fetch.min.bytes",
        "fetch.queue.backoff.ms",
        "fetch.wait.max.ms",
        "group.instance.id",
        "heartbeat.interval.ms",
        "isolation.level",
        "max.partition.fetch.bytes",
        "max.poll.interval.ms",
        "partition.assignment.strategy",
        "queued.max.messages.kbytes",
        "queued.min.messages",
        "session.timeout.ms",
    ];
    match purpose {
        ClientPurpose::Publish => !READING.contains(&key),
        ClientPurpose::Subscribe(_) => !SENDING.contains(&key),
        ClientPurpose::Admin | ClientPurpose::AskGroup => !READING.contains(&key) && !SENDING.contains(&key),
    }
}

/// librdkafka's configuration of a client.
fn native_config<'a>(settings: impl Iterator<Item = (&'a str, &'a str)>) -> Result<NativeClientConfig> {
    let mut config = ClientConfig::new();
    for (key, value) in settings {
        config.set(key, value);
    }
    config.create_native_config().map_err(|error| {
        let (key, value, why) = match error {
            KafkaError::ClientConfig(_, why, key, value) => (key, value, why),
            other => return Error::Config(format!("librdkafka does not take the settings: {other}").into()),
        };
        let (value, why) = if is_secret(&key) { ("(secret)", "it is not valid") } else { (&*value, &*why) };
        Error::Config(format!("librdkafka does not take {key}={value}: {why}").into())
    })
}

#[cfg(unix)]
type Resolve = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const libc::addrinfo,
    *mut *mut libc::addrinfo,
    *mut c_void,
) -> c_int;

// librdkafka has it; its bindings leave out what needs the C library's own types.
#[cfg(unix)]
unsafe extern "C" {
    fn rd_kafka_conf_set_resolve_cb(conf: *mut sys::rd_kafka_conf_t, resolve: Option<Resolve>);
}

/// Looks a broker's name up such that a fork meanwhile leaves the child able to do so too.
#[cfg(unix)]
unsafe extern "C" fn resolve(
    node: *const c_char,
    service: *const c_char,
    hints: *const libc::addrinfo,
    found: *mut *mut libc::addrinfo,
    _: *mut c_void,
) -> c_int {
    if node.is_null() && service.is_null() {
        // SAFETY: so librdkafka gives back what it was given below.
        unsafe { libc::freeaddrinfo(*found) };
        return 0;
    }
    // SAFETY: librdkafka calls it as it would call the C library's.
    unsafe { gds_process::resolve::getaddrinfo(node, service, hints, found) }
}

/// What comes before there is a queue for log lines; nothing of ours goes to stderr.
unsafe extern "C" fn no_log(_: *const sys::rd_kafka_t, _: c_int, _: *const c_char, _: *const c_char) {}

/// Decides as OpenSSL did, and remembers its reason, which librdkafka would not tell.
unsafe extern "C" fn verify_certificate(
    _: *mut sys::rd_kafka_t,
    _: *const c_char,
    _: i32,
    error: *mut c_int,
    _: c_int,
    _: *const c_char,
    _: usize,
    text: *mut c_char,
    size: usize,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: librdkafka gives the address of a number of its own.
    let code = unsafe { *error };
    if code == 0 {
        return 1;
    }
    let reason = errors::certificate_error(code);
    // SAFETY: the opaque is the `ClientContext` that the handle owns until it is destroyed.
    unsafe { &*opaque.cast::<ClientContext>() }.certificate_refused(&reason);
    if size > 0 {
        let length = reason.len().min(size - 1);
        // SAFETY: librdkafka's buffer has `size` bytes, and length + 1 is no more.
        unsafe {
            ptr::copy_nonoverlapping(reason.as_ptr().cast::<c_char>(), text, length);
            *text.add(length) = 0;
        }
    }
    0
}

/// A queue of librdkafka; it keeps the handle alive.
pub(super) struct Queue {
    queue: *mut sys::rd_kafka_queue_t,
    handle: Arc<Handle>,
}

// SAFETY: queues may be used from all threads at once.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    pub(super) fn raw(&self) -> *mut sys::rd_kafka_queue_t {
        self.queue
    }

    pub(super) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// The next event, if one comes within `timeout`.
    pub(super) fn poll(&self, timeout: Duration) -> Option<Event> {
        // SAFETY: the queue is alive; the event returned, if any, is ours.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue, millis(timeout)) };
        (!event.is_null()).then(|| Event { event, handle: self.handle.clone() })
    }

    /// Ends the wait of another thread in [`poll`](Self::poll).
    pub(super) fn wake(&self) {
        // SAFETY: the queue is alive.
        unsafe { sys::rd_kafka_queue_yield(self.queue) }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.handle.ours() {
            // SAFETY: our reference, given back once, while the handle is alive.
            unsafe { sys::rd_kafka_queue_destroy(self.queue) }
        }
    }
}

/// Something that librdkafka tells.
pub(super) struct Event {
    event: *mut sys::rd_kafka_event_t,
    handle: Arc<Handle>,
}

impl Event {
    pub(super) fn raw(&self) -> *mut sys::rd_kafka_event_t {
        self.event
    }

    pub(super) fn shared(&self) -> &Arc<ClientContext> {
        &self.handle.shared
    }

    /// What ended the client that tells it, if something did.
    pub(super) fn fatal_error(&self) -> Option<Error> {
        self.handle.fatal_error()
    }

    pub(super) fn kind(&self) -> i32 {
        // SAFETY: the event is alive.
        unsafe { sys::rd_kafka_event_type(self.event) }
    }

    /// librdkafka's number of what went wrong, 0 for nothing.
    pub(super) fn code(&self) -> i32 {
        // SAFETY: the event is alive.
        unsafe { sys::rd_kafka_event_error(self.event) as i32 }
    }

    /// What became of each partition, where the event is of some.
    pub(super) fn partitions(&self) -> Vec<Line> {
        // SAFETY: the event is alive, and the list, if there is one, with it.
        unsafe { lines(sys::rd_kafka_event_topic_partition_list(self.event)) }
    }

    /// librdkafka's words for it, without secrets.
    pub(super) fn text(&self) -> String {
        // SAFETY: the event is alive, and so is its text, which ends in NUL.
        let text = unsafe { owned_text(sys::rd_kafka_event_error_string(self.event)) };
        self.handle.shared.scrubbed(&text)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.handle.ours() {
            // SAFETY: ours, and destroyed once, while the handle is alive.
            unsafe { sys::rd_kafka_event_destroy(self.event) }
        }
    }
}
