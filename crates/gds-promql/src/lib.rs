//! PromQL of Prometheus 3.14, all experimental parts switched on.
//!
//! A text becomes an [expression](ast) by [parsing](parser): each node knows where in the text it stands, so that errors
//! and annotations can point at it. [Functions](functions) says what each function takes and returns, [matchers](matcher)
//! choose series, a [printer](printer) makes texts of expressions.
//!
//! ```
//! use gds_promql::engine::{Engine, EngineOptions};
//! use gds_promql::labels::Labels;
//! use gds_promql::memory::MemorySource;
//! use gds_promql::value::{Sample, Value};
//!
//! let mut source = MemorySource::new();
//! let labels = Labels::from_pairs([("__name__", "requests_total"), ("job", "api")]);
//! for (minute, count) in [(1, 60.0), (2, 120.0), (3, 180.0)] {
//!     source.append(&labels, minute * 60_000, 0, Sample::Float(count));
//! }
//! let engine = Engine::new(EngineOptions::default());
//! let answer = engine.instant("rate(requests_total[3m])", &source, 180_000)?;
//! let Value::Vector(series) = answer.value else { unreachable!("rate gives a vector") };
//! assert_eq!((series[0].labels.get("job"), &series[0].value), ("api", &Sample::Float(1.0)));
//! # Ok::<(), gds_promql::error::Error>(())
//! ```
//!
//! Times are milliseconds since 1970 as `i64`, durations milliseconds as `i64`; a number that a query writes as a
//! duration (`5m`) is the `f64` of its seconds.

pub mod annotations;
pub mod api;
pub mod ast;
mod calendar;
pub mod duration;
pub mod engine;
pub mod error;
pub mod functions;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod histogram;
mod kahan;
pub mod labels;
mod lexer;
pub mod matcher;
pub mod memory;
pub mod parser;
pub mod printer;
pub mod promqltest;
pub mod source;
mod text;
mod types;
pub mod value;
