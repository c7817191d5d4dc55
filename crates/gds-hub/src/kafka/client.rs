//! A handle with the thread that serves its events.

use std::fmt;
use std::panic;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use gds_process::sync::Mutex;
use rdkafka_sys as sys;

use super::callbacks::{Callbacks, LogLevel};
use super::context::ClientContext;
use super::native::{ClientPurpose, Event, Handle, Queue};
use super::{errors, logs, oauth, statistics};
use crate::error::{Error, Result};
use crate::settings::Settings;

/// How long the end of a client waits for its thread and librdkafka's; longer than a name server takes to answer is
/// not worth a caller's time, and the thread ends by itself.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the thread looks up without an event.
const TICK: Duration = Duration::from_millis(500);

/// What the thread of a client does besides logs, errors, statistics and tokens.
pub(super) trait EventHandler: Send {
    /// Delivery reports.
    fn outcomes(&mut self, _event: &Event) {}

    /// The client has ended: it takes nothing more, and sends nothing of what it has.
    fn ended(&mut self, _handle: &Arc<Handle>) {}

    /// Called now and then.
    fn tick(&mut self, _handle: &Arc<Handle>) {}

    /// Whether nothing is left to be told before the end.
    fn finished(&self) -> bool {
        true
    }
}

/// For clients that handle no events.
pub(super) struct NoHandler;

impl EventHandler for NoHandler {}

/// A client of librdkafka and its thread.
///
/// Dropping it ends both, within seconds. In a forked child dropping does nothing, and nothing else may be done.
/// Callbacks run on the thread: who drops a client must not hold a lock that they take.
pub(super) struct Client {
    /// None only while being dropped.
    handle: Option<Arc<Handle>>,
    events: Option<Queue>,
    /// Carries the handle to the thread, which is to be its last owner.
    stop: Sender<Arc<Handle>>,
    done: Mutex<Receiver<()>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn start(
        purpose: ClientPurpose,
        settings: &Settings,
        brokers: &str,
        more: &[(&str, &str)],
        callbacks: &Callbacks,
        handler: Box<dyn EventHandler>,
    ) -> Result<Self> {
        let shared = ClientContext::new(settings, brokers, callbacks);
        let handle = Handle::new(purpose, settings, brokers, more, &shared)?;
        let (stop, stopped) = mpsc::channel();
        let (ended, done) = mpsc::channel();
        let events = handle.events();
        let served = handle.events();
        let serve = move || {
            serve(served, &stopped, handler);
            // The other end may be gone.
            let _ = ended.send(());
        };
        let made = thread::Builder::new().name("gds-kafka".to_owned()).spawn(serve);
        made.map_err(|error| Error::Storage(format!("no thread for the Kafka client: {error}").into()))?;
        Ok(Self { handle: Some(handle), events: Some(events), stop, done: Mutex::new(done) })
    }

    pub(super) fn handle(&self) -> &Arc<Handle> {
        self.handle.as_ref().expect("only taken in drop")
    }

    pub(super) fn shared(&self) -> &Arc<ClientContext> {
        self.handle().shared()
    }

    /// As [`ClientContext::log`], and soon.
    pub(super) fn log(&self, level: LogLevel, facility: &str, text: &str) {
        self.shared().log(level, facility, text);
        if let Some(events) = &self.events {
            events.wake();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let (Some(handle), Some(events)) = (self.handle.take(), self.events.take()) else { return };
        if !handle.ours() {
            return;
        }
        if self.stop.send(handle).is_ok() {
            events.wake();
            drop(events);
            let _ = self.done.get_mut().recv_timeout(END_TIMEOUT);
        }
    }
}

fn serve(events: Queue, stopped: &Receiver<Arc<Handle>>, mut handler: Box<dyn EventHandler>) {
    let mut end: Option<(Instant, Arc<Handle>)> = None;
    loop {
        let timeout = if end.is_some() { Duration::from_millis(10) } else { TICK };
        let event = events.poll(timeout);
        if end.is_none()
            && let Ok(handle) = stopped.try_recv()
        {
            end = Some((Instant::now() + END_TIMEOUT, handle));
        }
        match event {
            Some(event) => {
                // A callback of the program that panics must not end the reports of what became of records.
                let handle = || handle_event(&event, events.handle(), handler.as_mut());
                let _ = panic::catch_unwind(panic::AssertUnwindSafe(handle));
            }
            None => match &end {
                Some((latest, _)) if handler.finished() || Instant::now() >= *latest => break,
                _ => {}
            },
        }
        if end.is_none() {
            handler.tick(events.handle());
        }
        flush_log(&events);
    }
    flush_log(&events);
    drop(handler);
    drop(events);
    drop(end);
}

fn flush_log(events: &Queue) {
    let tell = || events.handle().shared().flush_log();
    let _ = panic::catch_unwind(panic::AssertUnwindSafe(tell));
}

fn handle_event(event: &Event, handle: &Arc<Handle>, handler: &mut dyn EventHandler) {
    let shared = handle.shared();
    match event.kind() {
        sys::RD_KAFKA_EVENT_DR => handler.outcomes(event),
        sys::RD_KAFKA_EVENT_LOG => logs::pass_on(event, shared),
        sys::RD_KAFKA_EVENT_STATS => statistics::keep(event, handle),
        sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH => oauth::refresh(handle),
        sys::RD_KAFKA_EVENT_ERROR => {
            let (code, text) = (event.code(), event.text());
            shared.went_wrong(code, &text);
            if code == errors::FATAL {
                handler.ended(handle);
            }
            // What happens to a connection, and the end of a client, librdkafka logs by itself.
            if !errors::logged(code) {
                shared.log(LogLevel::Warning, "ERROR", &text);
            }
        }
        _ => {}
    }
}
