//! librdkafka's log lines on their way to the program.
#![allow(unsafe_code)] // each block says why it is sound

use std::ptr;

use rdkafka_sys as sys;

use super::native::{Event, owned_text};
use super::shared::{LogLevel, Shared};

/// Passes on the line of a log event.
pub(super) fn pass_on(event: &Event, shared: &Shared) {
    if shared.callbacks.log.is_none() {
        return;
    }
    let (mut facility, mut text, mut level) = (ptr::null(), ptr::null(), 0);
    // SAFETY: the event is alive, and so are its texts, which end in NUL; they are copied before it goes.
    let (result, facility, text) = unsafe {
        let result = sys::rd_kafka_event_log(event.raw(), &raw mut facility, &raw mut text, &raw mut level);
        (result, owned_text(facility), owned_text(text))
    };
    if result == 0 {
        // librdkafka warns of an answer that every new cluster gives once.
        let passing = facility == "GETPID" && text.ends_with("retrying");
        let level = LogLevel::of_syslog(level);
        shared.log(if passing { level.min(LogLevel::Info) } else { level }, &facility, &text);
    }
}
