//! `gds_native._lib`: what the Python packages of this wheel call. A table of contents; every room says what it binds.

mod asyncio;
mod call_sites;
mod dicts;
mod drop_detached;
mod errors;
mod exit;
mod input;
mod json;
mod kafka;
mod logging;
mod noop;
mod observe;
mod once;
mod otlp;
mod page_server;
mod prometheus;
mod python_metrics;
mod runtime;
mod scrape;
mod statsd;
mod trace;

use pyo3::prelude::*;

#[pymodule]
fn _lib(module: &Bound<'_, PyModule>) -> PyResult<()> {
    once::make_ready(module.py())?;
    module.add_class::<noop::NoOpMetrics>()?;
    module.add_class::<prometheus::PrometheusCore>()?;
    module.add_class::<otlp::OtlpCore>()?;
    module.add_class::<statsd::StatsdCore>()?;
    errors::add(module)?;
    module.add_class::<kafka::admin::HubAdmin>()?;
    module.add_class::<kafka::aio::AsyncConsumerCore>()?;
    module.add_class::<kafka::aio::AsyncProducerCore>()?;
    module.add_class::<kafka::consumer::ConsumerCore>()?;
    module.add_class::<kafka::mock::MockCluster>()?;
    module.add_class::<kafka::outcomes::DeliveredMessage>()?;
    module.add_class::<kafka::outgoing::OutgoingMessage>()?;
    module.add_class::<kafka::producer::ProducerCore>()?;
    module.add_class::<logging::LogEncoder>()?;
    module.add_function(wrap_pyfunction!(asyncio::prepare_asyncio, module)?)?;
    module.add_function(wrap_pyfunction!(exit::interpreter_ends, module)?)?;
    module.add_function(wrap_pyfunction!(noop::empty_call, module)?)?;
    module.add_function(wrap_pyfunction!(json::json_dumps, module)?)?;
    module.add_function(wrap_pyfunction!(json::json_loads, module)?)?;
    Ok(())
}
