//! What the threads and callbacks of one client share: where to log, what went wrong last, the latest figures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gds_process::sync::Mutex;

use super::callbacks::{Callbacks, LogLevel};
use super::errors;
use super::membership_state::Rebalance;
use crate::error::Error;
use crate::settings::{Settings, is_secret};

/// Shared by the handle, its callbacks and the thread of its events.
pub(super) struct ClientContext {
    pub(super) callbacks: Callbacks,
    pub(super) brokers: String,
    secrets: Vec<String>,
    kerberos: bool,
    trouble: Mutex<ConnectionTrouble>,
    troubled: AtomicBool,
    statistics: Mutex<BTreeMap<String, f64>>,
    pub(super) rebalance: Mutex<Rebalance>,
    /// What the program's log is to be told.
    lines: Mutex<Vec<Line>>,
}

struct Line {
    level: LogLevel,
    facility: String,
    text: String,
}

#[derive(Default)]
struct ConnectionTrouble {
    last: Option<(i32, String)>,
    certificate: Option<String>,
}

impl ClientContext {
    pub(super) fn new(settings: &Settings, brokers: &str, callbacks: &Callbacks) -> Arc<Self> {
        // Shorter ones would tear common words apart, and are no secrets.
        let secrets = settings.client.iter().filter(|(key, value)| is_secret(key) && value.len() >= 4);
        Arc::new(Self {
            callbacks: callbacks.clone(),
            brokers: brokers.to_owned(),
            kerberos: settings.client.get("sasl.mechanisms").is_some_and(|mechanism| mechanism == "GSSAPI"),
            secrets: secrets.map(|(_, value)| value.clone()).collect(),
            trouble: Mutex::default(),
            troubled: AtomicBool::new(false),
            statistics: Mutex::default(),
            rebalance: Mutex::default(),
            lines: Mutex::default(),
        })
    }

    /// The text without the secrets of the settings.
    pub(super) fn scrubbed(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }

    /// For the program's log. Its own code runs there, and may ask for anything; so it is told by the thread of the
    /// client's events, which holds nothing, and not by whoever has something to say.
    pub(super) fn log(&self, level: LogLevel, facility: &str, text: &str) {
        if self.callbacks.log.is_some() {
            self.lines.lock().push(Line { level, facility: facility.to_owned(), text: self.scrubbed(text) });
        }
    }

    /// Tells the program's log what there is; nothing may be locked.
    pub(super) fn flush_log(&self) {
        let Some(log) = &self.callbacks.log else { return };
        let lines = std::mem::take(&mut *self.lines.lock());
        for Line { level, facility, text } in lines {
            log(level, &facility, &text);
        }
    }

    /// Remembers what went wrong with a broker. That all are down says less than why the last one is.
    pub(super) fn went_wrong(&self, code: i32, text: &str) {
        let mut trouble = self.trouble.lock();
        if code == errors::ALL_BROKERS_DOWN && trouble.last.is_some() {
            return;
        }
        trouble.last = Some((code, text.to_owned()));
        self.troubled.store(true, Ordering::Release);
    }

    pub(super) fn certificate_refused(&self, reason: &str) {
        self.trouble.lock().certificate = Some(reason.to_owned());
    }

    /// The brokers answer: what was wrong is over.
    pub(super) fn is_well(&self) {
        if self.troubled.swap(false, Ordering::AcqRel) {
            *self.trouble.lock() = ConnectionTrouble::default();
        }
    }

    /// Why the brokers cannot be reached, as far as is known; `otherwise` if nothing is.
    pub(super) fn reason(&self, otherwise: (i32, &str)) -> (i32, String) {
        let trouble = self.trouble.lock();
        let (code, text) = trouble.last.as_ref().map_or(otherwise, |(code, text)| (*code, text.as_str()));
        let text = errors::located(text, &self.brokers);
        match &trouble.certificate {
            Some(reason) if text.contains("certificate verify failed") => {
                (code, format!("the broker's certificate is refused: {reason}"))
            }
            _ => (code, text),
        }
    }

    /// That reason as an error.
    pub(super) fn unreachable(&self, otherwise: (i32, &str)) -> Error {
        let (code, reason) = self.reason(otherwise);
        errors::unreachable(&self.brokers, self.kerberos, code, &reason)
    }

    pub(super) fn keep_statistics(&self, figures: BTreeMap<String, f64>) {
        *self.statistics.lock() = figures;
    }

    pub(super) fn statistics(&self) -> BTreeMap<String, f64> {
        self.statistics.lock().clone()
    }
}
