//! A metrics core: series that cost an atomic to update, and providers that show them.
//!
//! A [`registry`] keeps families of series and updates them by the key as given; a [`page`] shows them to Prometheus
//! ([`http`], [`push`], [`textfile`]), [`otlp`] exports them, [`shared`] adds up those of many processes. [`statsd`] adds
//! up by itself, since it sends differences. Nothing here knows Python.

pub mod cells;
pub mod clock;
pub mod error;
pub mod exemplar;
mod expiry;
pub mod exposition;
pub mod family;
pub mod format;
mod headers;
pub mod http;
pub mod index;
pub mod key;
mod lifetime;
pub mod naming;
#[cfg(test)]
mod ordering;
pub mod otlp;
pub mod outage;
pub mod page;
pub mod page_server;
pub mod push;
pub mod registry;
mod resolver;
pub mod series;
pub mod settings;
pub mod shared;
pub mod snapshot;
pub mod statsd;
pub mod textfile;
pub mod view;

pub use error::{Error, Result};
