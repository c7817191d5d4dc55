//! A record as JSON.

use std::borrow::Cow;

use gds_process::clock;
use gds_redact::Redactor;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::attributes::{
    ARGS, CREATED, EXC_INFO, EXC_TEXT, FUNCTION, LEVEL, LINE, MSG, PATH, PROCESS, RecordAttributes, STACK, THREAD,
};
use super::message::{RaisedException, RecordMessage, masked};
use super::objects::{describe, full_name, swallow_exception};
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
        attributes: &RecordAttributes<'py>,
        name: &str,
        constant: &[u8],
    ) -> PyResult<()> {
        let py = record.py();
        self.out.extend_from_slice(b"{\"timestamp\":");
        // The first six are in every record, whoever made it.
        let created = attributes.get(CREATED).and_then(|created| created.extract::<f64>().ok());
        self.float(created.filter(|created| created.is_finite()).unwrap_or_else(|| clock::since_epoch().as_secs_f64()));
        self.name("logger");
        self.text(name);
        self.name("level");
        self.plain(attributes.text(LEVEL).filter(|level| !level.is_empty()).as_deref().unwrap_or("NOTSET"));
        self.out.extend_from_slice(b",\"message\":");
        let content = RecordMessage::of(record, attributes);
        self.message(record, attributes, content.message)?;
        self.name("path");
        self.plain(attributes.text(PATH).as_deref().unwrap_or_default());
        self.name("lineno");
        self.whole(attributes.get(LINE).and_then(|line| line.extract::<u32>().ok()).unwrap_or(0));
        self.named_plain("function", attributes.text(FUNCTION).as_deref());
        if let Some(process) = attributes.get(PROCESS).and_then(|process| process.extract::<u32>().ok()) {
            self.name("process");
            self.whole(process);
        }
        self.named_text("thread", attributes.text(THREAD).as_deref());
        self.out.extend_from_slice(constant);
        self.exception(attributes, content.raised)?;
        self.named_text("stack", attributes.text(STACK).as_deref());
        if let Some(trace) = trace::active_span(py) {
            self.hex("trace_id", &trace.trace_id);
            self.hex("span_id", &trace.span_id);
        }
        let extra = content.fields.as_ref().unwrap_or(&attributes.extra);
        if !extra.is_empty() {
            self.out.extend_from_slice(b",\"extra\":");
            self.members(extra, MAX_DEPTH)?;
        }
        self.flags.lone_surrogate |= attributes.replaced.get();
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
        attributes: &RecordAttributes<'py>,
        message: PyResult<Bound<'py, PyString>>,
    ) -> PyResult<()> {
        match message {
            Ok(message) => self.readable(&message),
            Err(error) => {
                swallow_exception(record.py(), error)?;
                self.flags.unformatted = true;
                let mut message = match attributes.get(MSG) {
                    Some(message) => describe(message, Bound::str)?,
                    None => describe(record, Bound::repr)?,
                };
                let arguments = attributes.get(ARGS).filter(|arguments| !arguments.is_truthy().is_ok_and(|any| !any));
                if let Some(arguments) = arguments {
                    let masked = masked(arguments).unwrap_or_default();
                    let shown = masked.map_or_else(|| arguments.clone(), Bound::into_any);
                    message.push(' ');
                    message.push_str(&describe(&self.without_secrets(&shown)?, Bound::repr)?);
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
    fn exception(&mut self, attributes: &RecordAttributes<'_>, raised: Option<RaisedException<'_>>) -> PyResult<()> {
        let cached = attributes.text(EXC_TEXT);
        let Some(raised) = attributes.get(EXC_INFO).and_then(RaisedException::of).or(raised) else {
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
        let message = describe(&raised.error, Bound::str)?;
        self.text(&message);
        let traceback = match raised.format() {
            Ok(traceback) => Some(Cow::Owned(traceback)),
            Err(error) => {
                swallow_exception(raised.error.py(), error)?;
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
