//! `gds_native._lib`: what the Python packages of this wheel call. A table of contents; every room says what it binds.

mod alerting;
mod errors;
mod events;
mod interop;
mod json;
mod kafka;
mod logging;
mod metrics;
mod store;

use pyo3::prelude::*;

#[pymodule]
fn _lib(module: &Bound<'_, PyModule>) -> PyResult<()> {
    interop::once::make_ready(module.py())?;
    module.add_class::<alerting::engine::AlertEngine>()?;
    module.add_class::<alerting::AlertService>()?;
    module.add_class::<metrics::noop::NoOpMetrics>()?;
    module.add_class::<metrics::prometheus::PrometheusCore>()?;
    module.add_class::<metrics::otlp::OtlpCore>()?;
    module.add_class::<metrics::statsd::StatsdCore>()?;
    errors::add(module)?;
    module.add_class::<events::MetricWriter>()?;
    module.add_class::<kafka::admin::HubAdmin>()?;
    module.add_class::<kafka::aio::AsyncConsumerCore>()?;
    module.add_class::<kafka::aio::AsyncProducerCore>()?;
    module.add_class::<kafka::consumer::ConsumerCore>()?;
    module.add_class::<kafka::mock::MockCluster>()?;
    module.add_class::<kafka::outcomes::DeliveredMessage>()?;
    module.add_class::<kafka::outgoing::OutgoingMessage>()?;
    module.add_class::<kafka::producer::ProducerCore>()?;
    module.add_class::<logging::LogEncoder>()?;
    module.add_class::<store::QueryResult>()?;
    module.add_class::<store::StoreCore>()?;
    module.add_function(wrap_pyfunction!(alerting::engine::replay_alerts, module)?)?;
    module.add_function(wrap_pyfunction!(alerting::files::check_alert_rules, module)?)?;
    module.add_function(wrap_pyfunction!(alerting::files::hub_metrics, module)?)?;
    module.add_function(wrap_pyfunction!(alerting::files::run_alert_case, module)?)?;
    module.add_function(wrap_pyfunction!(events::read::parse_metric, module)?)?;
    module.add_function(wrap_pyfunction!(interop::asyncio::prepare_asyncio, module)?)?;
    module.add_function(wrap_pyfunction!(interop::exit::interpreter_ends, module)?)?;
    module.add_function(wrap_pyfunction!(metrics::noop::empty_call, module)?)?;
    module.add_function(wrap_pyfunction!(json::json_dumps, module)?)?;
    module.add_function(wrap_pyfunction!(json::json_loads, module)?)?;
    module.add_function(wrap_pyfunction!(store::restore_store, module)?)?;
    Ok(())
}
