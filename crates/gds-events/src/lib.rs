//! The messages on the hub, as bytes that other programs read; `schemas/` describes them.

pub mod metric;
