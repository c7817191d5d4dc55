//! The collectors: Python base classes over the registry and its providers.

pub(crate) mod arguments;
mod call_sites;
mod methods;
pub(crate) mod noop;
mod observe;
pub(crate) mod otlp;
mod page_server;
pub(crate) mod prometheus;
mod python_metrics;
mod scrape;
pub(crate) mod statsd;
