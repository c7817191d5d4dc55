//! Opening a hub for a client, with the Python functions that it calls back.

use std::sync::Arc;
use std::time::Duration;

use gds_hub::settings::Settings;
use gds_hub::{Hub, Result};
use pyo3::prelude::*;

use super::errors::to_python;
use crate::runtime;

/// Python functions that the hub's threads call.
#[derive(Clone, Default)]
pub(crate) struct Callbacks {
    log: Option<Arc<Py<PyAny>>>,
    token: Option<Arc<Py<PyAny>>>,
}

impl Callbacks {
    pub(crate) fn new(log: Option<Py<PyAny>>, token: Option<Py<PyAny>>) -> Self {
        Self { log: log.map(Arc::new), token: token.map(Arc::new) }
    }
}

/// The hub that the settings name.
pub(crate) fn open(settings: &Settings, callbacks: &Callbacks) -> Result<Arc<dyn Hub>> {
    let _ = callbacks;
    Err(gds_hub::Error::new(gds_hub::Kind::Config, format!("{settings:?}")))
}

/// Waits until the hub answers, or says why it does not.
pub(crate) fn reach(py: Python<'_>, hub: &Arc<dyn Hub>, patience: Duration) -> PyResult<()> {
    let hub = Arc::clone(hub);
    runtime::wait_blocking(py, move || hub.check(patience))?.map_err(|error| to_python(py, &error))
}
