//! What log handlers and collectors send: it never waits, and without room it is dropped and counted.

use gds_events::metric;
use gds_hub::producer::Linger;
use gds_hub::{Record, check_topic, codec};
use gds_process::clock;
use pyo3::prelude::*;

use super::{ProducerCore, send_now};
use crate::errors::hub_error;
use crate::json::write::Flags;
use crate::kafka::outgoing::{KeyBytes, MessageFields, topic_name, with_scratch};
use crate::logging::LogEncoder;
use crate::metrics::arguments;

#[pymethods]
impl ProducerCore {
    /// Queue a log record as `encoder` writes it. Never raises, never waits: without room the record is dropped, counted.
    /// False if `encoder` has nothing to send for it.
    fn send_record(
        &self,
        py: Python<'_>,
        topic: &str,
        encoder: &Bound<'_, LogEncoder>,
        record: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let instance = self.instance(py)?;
        with_scratch(|frame| {
            let mut draft = None;
            let begin = |frame: &mut Vec<u8>, key: &[u8]| draft = Some(codec::begin(frame, Some(key)));
            if !encoder.get().encode(py, record, frame, begin)? {
                return Ok(false);
            }
            let Some(draft) = draft else { return Ok(false) };
            let parts = Record { topic, timestamp: clock::now_ms(), ..Record::default() };
            instance.producer.finish(frame, draft, true, &parts);
            let producer = &instance.producer;
            if producer.drop_if_full(send_now(py, producer, frame, Linger::Long, None)).is_err() {
                producer.no_room(None);
            }
            Ok(true)
        })
    }

    /// Queue a measurement as `KafkaMetrics` writes it, keyed by its name unless there is a `key`.
    ///
    /// False, and nothing is done, unless all is of the plain kinds that nearly all is: a `str` that is not empty, a
    /// finite `float` or an `int` of 64 bits, of a counter not below zero, a `dict` of `str` to `str` or None, and no
    /// serializers. It never waits; see `send_nowait`.
    #[allow(clippy::too_many_arguments)] // a measurement's
    fn send_measurement(
        &self,
        py: Python<'_>,
        topic: &str,
        key: Option<&Bound<'_, PyAny>>,
        kind: &str,
        name: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        labels: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let (instance, config) = (self.instance(py)?, self.config(py)?);
        let fits = |value: &f64| value.is_finite() && (*value >= 0.0 || kind != "counter");
        let Some(value) = arguments::plain_number(value).filter(fits) else { return Ok(false) };
        if !config.serializers.are_none() || check_topic(topic).is_err() {
            return Ok(false);
        }
        let mut flags = Flags::default();
        let given = key.map(|key| KeyBytes::read(key, None, &mut flags)).transpose()?;
        if flags.lone_surrogate {
            return Ok(false);
        }
        with_scratch(|frame| {
            let written = arguments::with_borrowed_text(name, labels, None, |name, labels| {
                if name.is_empty() {
                    return false;
                }
                let now = clock::since_epoch();
                let key = given.as_ref().map_or(Some(name.as_bytes()), KeyBytes::get);
                let draft = codec::begin(frame, key);
                metric::write(frame, now.as_secs_f64(), kind, name, value, labels);
                let parts = Record { topic, timestamp: clock::milliseconds(now), ..Record::default() };
                instance.producer.finish(frame, draft, true, &parts);
                true
            });
            if written != Some(true) {
                return Ok(false);
            }
            let sent = send_now(py, &instance.producer, frame, Linger::Long, None);
            instance.producer.drop_if_full(sent).map(|()| true).map_err(|error| hub_error(py, &error))
        })
    }

    /// Queue what only watches, without ever waiting: for which there is no room is dropped, and counted, whatever `on_full`
    /// says. Raises as `send` what is wrong with the message.
    #[pyo3(signature = (topic, value, key = None))]
    fn send_nowait(
        &self,
        topic: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = value.py();
        let instance = self.instance(py)?;
        with_scratch(|frame| {
            let fields = MessageFields { key, ..MessageFields::default() };
            self.config(py)?.serializers.write(&instance.producer, frame, topic_name(topic)?, value, fields)?;
            let sent = send_now(py, &instance.producer, frame, Linger::Long, None);
            instance.producer.drop_if_full(sent).map_err(|error| hub_error(py, &error))
        })
    }
}
