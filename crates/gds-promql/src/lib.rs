//! PromQL of Prometheus 3.14, all experimental parts switched on.
//!
//! A text becomes an [expression](ast): each node knows where in the text it stands, so that errors and annotations can
//! point at it. [Functions](functions) says what each function takes and returns, [matchers](matcher) choose series.
//! Times are milliseconds since 1970 as `i64`, durations milliseconds as `i64`; a number that a query writes as a
//! duration (`5m`) is the `f64` of its seconds.

pub mod ast;
pub mod functions;
pub mod matcher;
mod text;
