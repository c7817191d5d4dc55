//! PromQL of Prometheus 3.14, all experimental parts switched on.
//!
//! A text becomes an [expression](ast) by [parsing](parser): each node knows where in the text it stands, so that errors
//! and annotations can point at it. [Functions](functions) says what each function takes and returns, [matchers](matcher)
//! choose series, a [printer](printer) makes texts of expressions.
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
