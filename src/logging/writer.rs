//! A record as JSON.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use gds_redact::Redactor;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::objects::{described, full_name, unless_program};
use super::parts::{
    ARGS, CREATED, EXC_INFO, EXC_TEXT, FUNCTION, LEVEL, LINE, MSG, PATH, PROCESS, RecordFields, STACK, THREAD,
};
use super::said::{Raised, Said, masked};
use crate::interop::text::lossy;
use crate::interop::trace;

/// Containers within containers of `extra`; what lies deeper is left out.
pub(super) const MAX_DEPTH: usize = 16;

/// What could not be taken as it was.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own in the record
pub(super) struct Flags {
    pub(super) lone_surrogate: bool,
    pub(super) non_finite: bool,
    pub(super) truncated: bool,
    unformatted: bool,
    pub(super) unserialisable: bool,
}

impl Flags {
    fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.lone_surrogate, "lone_surrogate"),
            (self.non_finite, "non_finite"),
            (self.truncated, "truncated"),
            (self.unformatted, "unformatted"),
            (self.unserialisable, "unserialisable"),
        ];
        all.into_iter().filter_map(|(is_set, name)| is_set.then_some(name))
    }
}

pub(super) struct Writer<'a> {
    pub(super) redactor: &'a Redactor,
    pub(super) out: &'a mut Vec<u8>,
    /// Where the record begins in `out`.
    pub(super) start: usize,
    pub(super) flags: Flags,
}

impl Writer<'_> {
    pub(super) fn record<'py>(
        &mut self,
        record: &Bound<'py, PyAny>,
        parts: &RecordFields<'py>,
        name: &str,
        constant: &[u8],
    ) -> PyResult<()> {
        let py = record.py();
        self.out.extend_from_slice(b"{\"timestamp\":");
        // The first six are in every record, whoever made it.
        let created = parts.get(CREATED).and_then(|created| created.extract::<f64>().ok());
        self.float(created.filter(|created| created.is_finite()).unwrap_or_else(now));
        self.name("logger");
        self.text(name);
        self.name("level");
        self.plain(parts.text(LEVEL).filter(|level| !level.is_empty()).as_deref().unwrap_or("NOTSET"));
        self.out.extend_from_slice(b",\"message\":");
        let said = Said::of(record, parts);
        self.message(record, parts, said.message)?;
        self.name("path");
        self.plain(parts.text(PATH).as_deref().unwrap_or_default());
        self.name("lineno");
        self.whole(parts.get(LINE).and_then(|line| line.extract::<u32>().ok()).unwrap_or(0));
        self.named_plain("function", parts.text(FUNCTION).as_deref());
        if let Some(process) = parts.get(PROCESS).and_then(|process| process.extract::<u32>().ok()) {
            self.name("process");
            self.whole(process);
        }
        self.named_text("thread", parts.text(THREAD).as_deref());
        self.out.extend_from_slice(constant);
        self.exception(parts, said.raised)?;
        self.named_text("stack", parts.text(STACK).as_deref());
        if let Some(trace) = trace::active_span(py) {
            self.hex("trace_id", &trace.trace_id);
            self.hex("span_id", &trace.span_id);
        }
        let extra = said.fields.as_ref().unwrap_or(&parts.extra);
        if !extra.is_empty() {
            self.out.extend_from_slice(b",\"extra\":");
            self.members(extra, MAX_DEPTH)?;
        }
        self.flags.lone_surrogate |= parts.replaced.get();
        let mut separator = &b",\"flags\":["[..];
        for flag in self.flags.names() {
            self.out.extend_from_slice(separator);
            self.plain(flag);
            separator = b",";
        }
        let close: &[u8] = if self.flags == Flags::default() { b"}" } else { b"]}" };
        self.out.extend_from_slice(close);
        Ok(())
    }

    /// The message; where it cannot be formatted, what there is to see of it.
    fn message<'py>(
        &mut self,
        record: &Bound<'py, PyAny>,
        parts: &RecordFields<'py>,
        message: PyResult<Bound<'py, PyString>>,
    ) -> PyResult<()> {
        match message {
            Ok(message) => self.readable(&message),
            Err(error) => {
                unless_program(record.py(), error)?;
                self.flags.unformatted = true;
                let mut message = match parts.get(MSG) {
                    Some(message) => described(message, Bound::str)?,
                    None => described(record, Bound::repr)?,
                };
                let arguments = parts.get(ARGS).filter(|arguments| !arguments.is_truthy().is_ok_and(|any| !any));
                if let Some(arguments) = arguments {
                    let masked = masked(arguments).unwrap_or_default();
                    let shown = masked.map_or_else(|| arguments.clone(), Bound::into_any);
                    message.push(' ');
                    message.push_str(&described(&self.without_secrets(&shown)?, Bound::repr)?);
                }
                self.text(&message);
            }
        }
        Ok(())
    }

    /// Arguments whose texts have no secrets, taken out before `repr` escapes what they are known by.
    fn without_secrets<'py>(&self, arguments: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let Ok(tuple) = arguments.cast_exact::<PyTuple>() else { return Ok(arguments.clone()) };
        let items = tuple.iter().map(|item| match item.cast::<PyString>() {
            Ok(text) => PyString::new(item.py(), &self.redactor.redact(&lossy(text))).into_any(),
            Err(_) => item,
        });
        PyTuple::new(arguments.py(), items.collect::<Vec<_>>()).map(Bound::into_any)
    }

    /// What the record says was raised, else what the message does. The text that formatters of other handlers have
    /// left in the record is theirs, so it is only taken where there is no exception: in records of another process.
    fn exception(&mut self, parts: &RecordFields<'_>, raised: Option<Raised<'_>>) -> PyResult<()> {
        let cached = parts.text(EXC_TEXT);
        let Some(raised) = parts.get(EXC_INFO).and_then(Raised::of).or(raised) else {
            if let Some(traceback) = cached {
                self.out.extend_from_slice(b",\"exception\":{\"traceback\":");
                self.tail(&traceback);
                self.out.push(b'}');
            }
            return Ok(());
        };
        self.out.extend_from_slice(b",\"exception\":{\"type\":");
        self.plain(&full_name(&raised.error));
        self.out.extend_from_slice(b",\"message\":");
        let message = described(&raised.error, Bound::str)?;
        self.text(&message);
        let traceback = match raised.format() {
            Ok(traceback) => Some(Cow::Owned(traceback)),
            Err(error) => {
                unless_program(raised.error.py(), error)?;
                self.flags.unserialisable = true;
                cached
            }
        };
        if let Some(traceback) = traceback {
            self.out.extend_from_slice(b",\"traceback\":");
            self.tail(traceback.trim_end());
        }
        self.out.push(b'}');
        Ok(())
    }
}

/// Seconds since the epoch.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
