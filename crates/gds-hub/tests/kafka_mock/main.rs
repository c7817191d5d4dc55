//! Kafka as a hub against librdkafka's mock cluster: what needs no real broker, and what a real one does not do on
//! demand.

mod asking;
mod reading;
mod sending;
mod support;
