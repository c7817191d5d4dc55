//! Handing records to librdkafka and reading its reports: the hot path of sending.
//!
//! Per record nothing is allocated on this side: the topic's handle is looked up by name, the record's id travels as
//! the opaque pointer, and librdkafka makes the only copy. (Headers are a list of librdkafka's own.)
#![allow(unsafe_code)] // each block says why it is sound

use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use rdkafka_sys as sys;
use sys::rd_kafka_vtype_t as Type;

use super::errors;
use super::native::{Event, Handle};
use super::text::c_text;
use crate::error::{Error, Failure, Result};
use crate::headers::{Headers, OwnedHeader};
use crate::hub::Delivery;
use crate::record::Record;

// The id of a record is a pointer to librdkafka.
const _: () = assert!(size_of::<usize>() == size_of::<u64>(), "ids need pointers of 64 bits");

const UNKNOWN_PARTITION: i32 = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION as i32;
const UNKNOWN_TOPIC: i32 = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC as i32;
const NOT_AUTHORIZED: i32 = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED as i32;

/// How long an answer about a topic is believed, and waited for.
const BELIEVED: Duration = Duration::from_secs(1);

type Field = sys::rd_kafka_vu_s;
type Content = sys::rd_kafka_vu_s__bindgen_ty_1;

/// The topics that were published to, by name.
pub(super) struct Topics {
    handle: Arc<Handle>,
    known: HashMap<Box<str>, *mut sys::rd_kafka_topic_t, foldhash::fast::RandomState>,
    /// Topics of which something was refused: when the brokers were asked about them, and whether they answered.
    asked: HashMap<Box<str>, (Instant, bool), foldhash::fast::RandomState>,
}

// SAFETY: topic handles may be used from any thread.
unsafe impl Send for Topics {}

impl Topics {
    pub(super) fn new(handle: Arc<Handle>) -> Self {
        Self { handle, known: HashMap::default(), asked: HashMap::default() }
    }

    fn get(&mut self, name: &str) -> Result<*mut sys::rd_kafka_topic_t> {
        if let Some(topic) = self.known.get(name) {
            return Ok(*topic);
        }
        if name.is_empty() {
            return Err(Error::Message("the topic's name is empty".into()));
        }
        let text = c_text(name, "the topic's name")?;
        // SAFETY: the handle is alive; the name ends in NUL and is copied; no configuration means the default one.
        let topic = unsafe { sys::rd_kafka_topic_new(self.handle.raw(), text.as_ptr(), ptr::null_mut()) };
        if topic.is_null() {
            // SAFETY: reads a number of this thread.
            let code = unsafe { sys::rd_kafka_last_error() } as i32;
            let reason = errors::text(code);
            return Err(errors::error(code, format!("topic {name:?} cannot be published to: {reason}")));
        }
        self.known.insert(name.into(), topic);
        Ok(topic)
    }

    /// Hands a copy of `record` to librdkafka; its report will carry `id`.
    ///
    /// librdkafka refuses by what it knows of the topic, which may be minutes old: it has grown, or was made, or rights
    /// were granted. So the brokers are asked again first.
    pub(super) fn produce(&mut self, id: u64, record: &Record<'_>) -> Result<()> {
        let topic = self.get(record.topic)?;
        let refused = match self.hand_over(topic, id, record) {
            Err(error) if matches!(error.code(), Some(UNKNOWN_PARTITION | UNKNOWN_TOPIC | NOT_AUTHORIZED)) => error,
            done => return done,
        };
        let answered = match self.asked.get(record.topic) {
            Some((when, answered)) if when.elapsed() < BELIEVED => *answered,
            _ => self.ask(topic, record.topic),
        };
        match self.hand_over(topic, id, record) {
            Err(_) if !answered => {
                let what = format!("{refused}; and whether that is still so, no broker says now");
                Err(Error::Full(Failure::new(what).retriable()))
            }
            done => done,
        }
    }

    /// Has librdkafka learn anew what the brokers know of a topic; whether one answered.
    fn ask(&mut self, topic: *mut sys::rd_kafka_topic_t, name: &str) -> bool {
        let mut found = ptr::null();
        // SAFETY: handle and topic are alive; the answer, if there is one, is ours and given back once.
        let answered = unsafe {
            let timeout = super::native::millis(BELIEVED);
            let code = sys::rd_kafka_metadata(self.handle.raw(), 0, topic, &raw mut found, timeout);
            if !found.is_null() {
                sys::rd_kafka_metadata_destroy(found);
            }
            code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        };
        self.asked.insert(name.into(), (Instant::now(), answered));
        answered
    }

    fn hand_over(&self, topic: *mut sys::rd_kafka_topic_t, id: u64, record: &Record<'_>) -> Result<()> {
        let field = |vtype, u| Field { vtype, u };
        let memory = |bytes: Option<&[u8]>| Content {
            mem: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
                ptr: bytes.map_or(ptr::null_mut(), |bytes| bytes.as_ptr().cast_mut().cast()),
                size: bytes.map_or(0, <[u8]>::len),
            },
        };
        let headers = if record.headers.is_empty() { ptr::null_mut() } else { new_headers(&record.headers)? };
        #[allow(clippy::cast_possible_truncation)] // as wide, asserted above
        let opaque = ptr::without_provenance_mut::<c_void>(id as usize);
        let fields = [
            field(Type::RD_KAFKA_VTYPE_RKT, Content { rkt: topic }),
            field(Type::RD_KAFKA_VTYPE_MSGFLAGS, Content { i: sys::RD_KAFKA_MSG_F_COPY }),
            field(Type::RD_KAFKA_VTYPE_PARTITION, Content { i32_: record.partition.unwrap_or(-1) }),
            field(Type::RD_KAFKA_VTYPE_TIMESTAMP, Content { i64_: record.timestamp }),
            field(Type::RD_KAFKA_VTYPE_OPAQUE, Content { ptr: opaque }),
            field(Type::RD_KAFKA_VTYPE_VALUE, memory(record.value)),
            field(Type::RD_KAFKA_VTYPE_KEY, memory(record.key)),
            field(Type::RD_KAFKA_VTYPE_HEADERS, Content { headers }),
        ];
        // Without headers the last field is left out.
        let count = fields.len() - usize::from(headers.is_null());
        // SAFETY: handle and topic are alive; the fields are as many as said, each of the type it says; key and value
        // are only read, as the flag asks for a copy; the headers are librdkafka's if the call succeeds.
        let error = unsafe { sys::rd_kafka_produceva(self.handle.raw(), fields.as_ptr(), count) };
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: the error is ours, read and then destroyed once; so are the headers, as the call failed.
        let (code, fatal) = unsafe {
            let (code, fatal) = (sys::rd_kafka_error_code(error) as i32, sys::rd_kafka_error_is_fatal(error) != 0);
            sys::rd_kafka_error_destroy(error);
            if !headers.is_null() {
                sys::rd_kafka_headers_destroy(headers);
            }
            (code, fatal)
        };
        Err(if fatal { errors::fatal(code, &errors::text(code)) } else { refused(code, record) })
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        if self.handle.ours() {
            for topic in self.known.values() {
                // SAFETY: our reference, given back once, while the handle is alive.
                unsafe { sys::rd_kafka_topic_destroy(*topic) }
            }
        }
    }
}

fn new_headers(headers: &Headers<'_>) -> Result<*mut sys::rd_kafka_headers_t> {
    // SAFETY: takes a number only; aborts rather than returns null.
    let list = unsafe { sys::rd_kafka_headers_new(headers.len()) };
    for (name, value) in headers {
        let length = |length: usize| isize::try_from(length).unwrap_or(isize::MAX);
        let (start, size) = value.map_or((ptr::null(), 0), |value| (value.as_ptr(), length(value.len())));
        // SAFETY: the list is alive; name and value are as long as said, and copied.
        let code =
            unsafe { sys::rd_kafka_header_add(list, name.as_ptr().cast(), length(name.len()), start.cast(), size) };
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            // SAFETY: ours, destroyed once.
            unsafe { sys::rd_kafka_headers_destroy(list) };
            return Err(errors::error(code as i32, format!("header {name:?} cannot be sent")));
        }
    }
    Ok(list)
}

/// Why librdkafka did not take a record.
fn refused(code: i32, record: &Record<'_>) -> Error {
    let topic = record.topic;
    let message = match code {
        errors::QUEUE_FULL => "librdkafka's queue is full: the brokers take less than is sent".to_owned(),
        errors::TOO_LARGE => {
            let size = record.value.map_or(0, <[u8]>::len) + record.key.map_or(0, <[u8]>::len);
            format!(
                "a record of {size} bytes for topic {topic:?} is more than max_request_size: raise it, and the topic's max.message.bytes"
            )
        }
        UNKNOWN_PARTITION => {
            format!("topic {topic:?} has no partition {}", record.partition.unwrap_or(-1))
        }
        _ => format!("topic {topic:?} takes no record: {}", errors::text(code)),
    };
    errors::error(code, message)
}

/// What a delivery report says of one record.
pub(super) enum Outcome<'a> {
    Delivered(Delivery<'a>),
    /// librdkafka's number, and the record as it was handed over.
    Failed(i32, Record<'a>),
}

/// Calls `each` with the id, the bytes and the outcome of every record of a delivery report.
pub(super) fn outcomes(event: &Event, mut each: impl FnMut(u64, usize, &Outcome<'_>)) {
    loop {
        // SAFETY: the event is alive and a report; the message, if any, lives as long as the event.
        let message = unsafe { sys::rd_kafka_event_message_next(event.raw()) };
        if message.is_null() {
            return;
        }
        // SAFETY: not null, alive. The number is read as one, as a newer broker may send some that the type lacks.
        let (code, opaque, partition, offset, size) = unsafe {
            (
                (&raw const (*message).err).cast::<i32>().read(),
                (*message)._private,
                (*message).partition,
                (*message).offset,
                (*message).len + (*message).key_len,
            )
        };
        let id = opaque.addr() as u64;
        // SAFETY: the message is alive, and so is its topic's name for as long as the event.
        let topic = unsafe { topic_name(message) };
        if code == 0 {
            // SAFETY: the message is alive; no place for the kind of timestamp is asked for.
            let timestamp = unsafe { sys::rd_kafka_message_timestamp(message, ptr::null_mut()) };
            each(id, size, &Outcome::Delivered(Delivery { topic, partition, offset: offset.max(-1), timestamp }));
            continue;
        }
        // SAFETY: the message is alive, and its parts live as long as the event.
        let (key, value, headers) = unsafe {
            (bytes((*message).key, (*message).key_len), bytes((*message).payload, (*message).len), headers_of(message))
        };
        // SAFETY: the message is alive, and for as long as the event, of which this is the one owner, nobody else has it.
        let timestamp = unsafe { timestamp_of_failed(message.cast_mut()) };
        let partition = (partition >= 0).then_some(partition);
        let record = Record { topic, partition, timestamp, key, value, headers: Headers::new(&headers) };
        each(id, size, &Outcome::Failed(code, record));
    }
}

/// The time that a message which failed was handed over with. librdkafka still has it, and hides it as long as the
/// message says that it failed.
///
/// # Safety
/// The message is alive, from a delivery report, and nobody else reads or writes it meanwhile.
unsafe fn timestamp_of_failed(message: *mut sys::rd_kafka_message_t) -> i64 {
    // SAFETY: the caller's promise. The message is memory of librdkafka's heap, given to the owner of the event, and
    // the number is a field of its public struct; it is moved as a number, and is the same as before at the end.
    unsafe {
        let code = (&raw mut (*message).err).cast::<i32>();
        let failed = code.replace(0);
        let timestamp = sys::rd_kafka_message_timestamp(message, ptr::null_mut());
        code.write(failed);
        timestamp
    }
}

/// The name of a message's topic.
///
/// # Safety
/// The message is alive for `'a`.
pub(super) unsafe fn topic_name<'a>(message: *const sys::rd_kafka_message_t) -> &'a str {
    // SAFETY: the caller's promise; a topic handle has a name that ends in NUL.
    unsafe {
        let topic = (*message).rkt;
        if topic.is_null() {
            return "";
        }
        CStr::from_ptr(sys::rd_kafka_topic_name(topic)).to_str().unwrap_or_default()
    }
}

/// Bytes of librdkafka, none for a null pointer.
///
/// # Safety
/// `start` is null, or `length` bytes from it live for `'a`.
pub(super) unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: not null; the rest is the caller's promise.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) })
}

/// Copies of a message's headers.
///
/// # Safety
/// The message is alive.
pub(super) unsafe fn headers_of(message: *const sys::rd_kafka_message_t) -> Vec<OwnedHeader> {
    let mut list = ptr::null_mut();
    let mut headers = Vec::new();
    // SAFETY: the caller's promise. The list lives as long as the message, and so do name (ending in NUL) and value.
    unsafe {
        if sys::rd_kafka_message_headers(message, &raw mut list) != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return headers;
        }
        loop {
            let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
            let more =
                sys::rd_kafka_header_get_all(list, headers.len(), &raw mut name, &raw mut value, &raw mut length);
            if more != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return headers;
            }
            headers.push((super::text::owned_text(name), bytes(value, length).map(<[u8]>::to_vec)));
        }
    }
}

/// Has librdkafka send batches that are not full: those it gets to before all is delivered, or within `timeout`.
pub(super) fn send_now(handle: &Handle, timeout: Duration) {
    // SAFETY: the handle is alive. As outcomes are events here, the call serves no callbacks and only waits.
    unsafe { sys::rd_kafka_flush(handle.raw(), super::native::millis(timeout)) };
}

/// Gives up on everything that was handed over: each record is reported as failed.
pub(super) fn purge(handle: &Handle) {
    let flags = sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT | sys::RD_KAFKA_PURGE_F_NON_BLOCKING;
    // SAFETY: the handle is alive.
    unsafe { sys::rd_kafka_purge(handle.raw(), flags) };
}
