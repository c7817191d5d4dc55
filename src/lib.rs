//! `gds_native._lib`: what the Python packages of this wheel call. A table of contents; every room says what it binds.

mod errors;
mod input;
mod noop;
mod observe;
mod prometheus;
mod python_metrics;
mod runtime;
mod sites;
mod trace;

use pyo3::prelude::*;

#[pymodule]
fn _lib(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<noop::NoOpMetrics>()?;
    module.add_class::<prometheus::PrometheusCore>()?;
    module.add_function(wrap_pyfunction!(noop::empty_call, module)?)?;
    Ok(())
}
