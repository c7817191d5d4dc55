//! Export to an OpenTelemetry receiver: OTLP over gRPC or over HTTP with protobuf.
//!
//! # Contract
//!
//! - [`resolve`] turns options and the standard environment into an [`OtlpConfig`] without touching the network. What
//!   the caller passed and cannot be used is an error; what the environment holds and cannot be used is a warning.
//! - [`Exporter::start`] opens nothing. One task exports on the interval, on [`Exporter::flush`] and, a last time, on
//!   [`Exporter::close`]; one export is in flight at any time.
//! - Nothing is queued. A failed export is made up for by the next one, which takes a new snapshot: cumulative values
//!   carry the totals by themselves, and deltas count from what the receiver last acknowledged. An outage therefore
//!   costs resolution, never totals, and memory grows with live series only.
//! - No message, `Debug` output or warning holds a header's value, a password or a query string of the endpoint.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use gds_metrics::otlp::{Exporter, OtlpOptions, Source, resolve};
//! use gds_metrics::snapshot::Family;
//!
//! struct Nothing;
//!
//! impl Source for Nothing {
//!     fn snapshot(&self) -> Vec<Family> {
//!         Vec::new()
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let options = OtlpOptions { endpoint: Some("collector:4317".into()), insecure: Some(true), ..Default::default() };
//! let config = resolve(&options, |name| std::env::var(name).ok())?;
//! let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
//! let exporter = Exporter::start(config, Arc::new(Nothing), runtime.handle());
//! exporter.flush(Duration::from_secs(5))?;
//! exporter.close(Duration::from_secs(5))?;
//! # Ok(())
//! # }
//! ```
//!
//! gRPC does not go through a proxy; HTTP honours the system's, except for loopback.

pub mod config;
pub mod convert;
mod delta;
mod endpoint;
mod env;
pub mod exporter;
mod status;
mod tls;
mod transport;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use config::{Backoff, Compression, OtlpConfig, OtlpOptions, Protocol, Temporality, resolve};
pub use endpoint::Endpoint;
pub use exporter::{Exporter, Source, Stats};
pub use tls::Tls;
