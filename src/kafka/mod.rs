//! The clients of `gds_kafka`: settings and values in, the hub's crate called, outcomes and messages out.

pub(crate) mod admin;
pub(crate) mod aio;
pub(crate) mod consumer;
pub(crate) mod hub;
mod loops;
mod messages;
pub(crate) mod mock;
pub(crate) mod outcomes;
pub(crate) mod outgoing;
mod partitions;
pub(crate) mod producer;
mod reading;
pub(crate) mod settings;
