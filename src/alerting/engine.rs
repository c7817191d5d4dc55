//! The engine alone: what was measured goes in, what has to be done comes out, as the JSON that it is kept in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gds_alerting::effect::AlertView;
use gds_alerting::engine::{Engine, Snapshot};
use gds_alerting::event::Event;
use gds_alerting::replay::{noise, replay_samples};
use gds_alerting::rules::Rules;
use gds_alerting::sample::Sample;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde::Serialize;

/// Metric, instance, type of database, tags, value, its digits where they are exact, and milliseconds since 1970.
type Measured = (String, String, String, BTreeMap<String, String>, f64, Option<String>, Option<i64>);

/// Rules and the state of what they have seen; no clock, no thread, no file.
#[pyclass(frozen, module = "gds_native._lib")]
pub(crate) struct AlertEngine {
    engine: Mutex<Engine>,
}

#[pymethods]
impl AlertEngine {
    /// Begins with what `state()` gave, or with nothing.
    #[new]
    #[pyo3(signature = (rules, state = None))]
    fn new(py: Python<'_>, rules: &str, state: Option<&str>) -> PyResult<Self> {
        py.detach(|| {
            let rules = parse(rules)?;
            let Some(state) = state else { return Ok(Engine::new(rules)) };
            let kept: Snapshot = serde_json::from_str(state)
                .map_err(|error| PyValueError::new_err(format!("no state of an engine: {error}")))?;
            Ok(Engine::restore(&rules, kept))
        })
        .map(|engine| Self { engine: Mutex::new(engine) })
    }

    /// Takes samples, then looks at what the clock brings. A list of what has to be done.
    #[allow(clippy::needless_pass_by_value)] // as Python gives it
    fn evaluate(&self, py: Python<'_>, samples: Vec<Measured>, now_ms: i64) -> PyResult<String> {
        py.detach(|| {
            let mut engine = self.locked();
            let mut effects = Vec::new();
            for sample in samples {
                engine.step(&Event::Sample(sampled(sample)), now_ms, &mut effects);
            }
            engine.step(&Event::Tick, now_ms, &mut effects);
            json(&effects)
        })
    }

    /// The alerts that are not over, pending ones among them.
    fn alerts(&self, py: Python<'_>) -> PyResult<String> {
        py.detach(|| json(&self.locked().alerts().collect::<Vec<AlertView>>()))
    }

    /// Everything it knows.
    fn state(&self, py: Python<'_>) -> PyResult<String> {
        py.detach(|| json(&self.locked().snapshot()))
    }

    /// Takes other rules into use; what is open stays open.
    fn reload(&self, py: Python<'_>, rules: &str) -> PyResult<()> {
        py.detach(|| {
            let rules = parse(rules)?;
            self.locked().reload(&rules);
            Ok(())
        })
    }
}

/// Runs samples through rules as a running engine does, each with the time of its arrival and its partition: what would
/// have been done, and how noisy each rule would have been.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)] // as Python gives it
pub(crate) fn replay_alerts(
    py: Python<'_>,
    rules: &str,
    samples: Vec<(i64, i32, Measured)>,
    until_ms: i64,
) -> PyResult<String> {
    py.detach(|| {
        let samples = samples
            .into_iter()
            .map(|(now_ms, partition, measured)| (now_ms, Sample { partition, ..sampled(measured) }));
        let effects = replay_samples(parse(rules)?, samples, until_ms);
        json(&(&effects, noise(&effects)))
    })
}

impl AlertEngine {
    fn locked(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(rules: &str) -> PyResult<Arc<Rules>> {
    Rules::parse(rules).map(Arc::new).map_err(|problems| PyValueError::new_err(problems.to_string()))
}

fn sampled((metric, instance_id, database_type, tags, value, text, time_ms): Measured) -> Sample {
    Sample { metric, instance_id, database_type, tags, value, text, time_ms, ..Sample::default() }
}

fn json<T: Serialize>(value: &T) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| PyValueError::new_err(error.to_string()))
}
