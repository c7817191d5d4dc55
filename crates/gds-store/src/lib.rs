//! A store of time series on one machine, which [`gds_promql`] asks.
//!
//! Samples that are appended are in the log when [`append`](Store::append) returns, and in memory, compressed. From there
//! [`maintain`](Store::maintain) writes them to parts: immutable folders for one day and one class of retention, which are
//! merged, and removed when their time is over. Queries see both.
//!
//! ```
//! use gds_promql::engine::Engine;
//! use gds_promql::labels::Labels;
//! use gds_promql::value::{Sample, Value};
//! use gds_store::{Options, Row, Store};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let folder = folder.path();
//! let store = Store::open(folder, Options { clock: std::sync::Arc::new(|| 180_000), ..Options::default() })?;
//! let labels = Labels::from_pairs([("__name__", "requests_total"), ("job", "api")]);
//! let row = |minute: i64, count: f64| {
//!     Row { labels: &labels, time: minute * 60_000, start: 0, value: Sample::Float(count) }
//! };
//! store.append(&[row(1, 60.0), row(2, 120.0), row(3, 180.0)])?;
//! let answer = Engine::default().instant("rate(requests_total[3m])", &store, 180_000).unwrap();
//! let Value::Vector(series) = answer.value else { unreachable!("rate gives a vector") };
//! assert_eq!(series[0].value, Sample::Float(1.0));
//! # Ok::<(), gds_store::Error>(())
//! ```
//!
//! Times are milliseconds since 1970. Nothing is written that is not checked when it is read: what is damaged is set
//! aside, [said](Store::findings), and the rest is served.

mod codec;
mod error;
mod finding;
mod frame;
pub mod fs;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod head;
mod log;
mod maintainer;
mod manifest;
mod options;
mod part;
mod samples;
mod store;

pub use error::Error;
pub use finding::{Finding, FindingKind};
pub use head::limits::Limits;
pub use head::shard::{Appended, Row};
pub use maintainer::Maintainer;
pub use options::{Durability, Options, RetentionClass};
pub use store::{BackedUp, Deleted, Maintained, Stats, Store};
