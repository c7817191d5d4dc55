//! Opening a hub for a client, with the Python functions that it calls back.

use std::sync::Arc;
use std::time::Duration;

use gds_hub::Hub;
use gds_hub::kafka::{Callbacks, LogLevel, Token};
use pyo3::prelude::*;

use crate::errors::hub_error;
use crate::interop::{exit, runtime};

/// Python functions for the hub's threads: `log(level, facility, text)` with syslog's level, and `token()`.
pub(crate) fn callbacks(log: Option<Py<PyAny>>, token: Option<Py<PyAny>>) -> Callbacks {
    Callbacks {
        log: log.map(|log| -> gds_hub::kafka::LogCallback {
            Arc::new(move |level, facility, text| {
                // Nothing to attach to while the interpreter ends; what logging raises has nowhere to go.
                let _ = Python::try_attach(|py| {
                    exit::reporting_to_python(py, || log.call1(py, (syslog(level), facility, text)).map(drop))
                });
            })
        }),
        token: token.map(|token| -> gds_hub::kafka::TokenCallback {
            Arc::new(move || {
                let asked = Python::try_attach(|py| exit::reporting_to_python(py, || ask(py, &token)));
                asked.unwrap_or_else(|| Err("the interpreter is ending".to_owned()))
            })
        }),
    }
}

fn syslog(level: LogLevel) -> u8 {
    match level {
        LogLevel::Critical => 2,
        LogLevel::Error => 3,
        LogLevel::Warning => 4,
        LogLevel::Info => 6,
        LogLevel::Debug => 7,
    }
}

fn ask(py: Python<'_>, provider: &Py<PyAny>) -> Result<Token, String> {
    let answer = provider
        .call0(py)
        .and_then(|answer| answer.extract::<(String, f64, String, std::collections::BTreeMap<String, String>)>(py));
    // The exception's text may hold the token.
    let (token, expires, principal, extensions) = answer.map_err(|error| {
        let kind = error.get_type(py).name().map_or_else(|_| "an exception".to_owned(), |name| name.to_string());
        format!("sasl_oauth_token_provider raised {kind}")
    })?;
    // Far inside what i64 holds, or the provider's mistake, which the cast bounds.
    #[allow(clippy::cast_possible_truncation)]
    let expires_ms = (expires * 1000.0) as i64;
    Ok(Token { token, principal, expires_ms, extensions: extensions.into_iter().collect() })
}

/// Waits until the hub answers, or says why it does not.
pub(crate) fn reach(py: Python<'_>, hub: &Arc<dyn Hub>, timeout: Duration) -> PyResult<()> {
    let hub = Arc::clone(hub);
    runtime::wait_blocking(py, move || hub.check(timeout))?.map_err(|error| hub_error(py, &error))
}
