//! The messages on the hub: their types, their bytes, their topics and keys; `schemas/` describes them to other programs.
//!
//! A measurement of a database is written as a [`DatabaseMetric`], as JSON or as Avro, and read as a [`Sample`], which is
//! also what messages of other programs become: [`parse`] says which.
//!
//! ```
//! let message = br#"{"timestamp": "2026-03-01T12:00:00.25+01:00", "database_type": "postgresql", "instance_id": "pg-1",
//!     "metric_name": "postgresql.backends", "value": 7, "tags": {"db.namespace": "app"}}"#;
//! let sample = gds_events::parse(message, 0)?;
//! assert_eq!((sample.time_ms, sample.value), (1_772_362_800_250, 7.0));
//! assert_eq!(sample.tag("db.namespace"), Some("app"));
//! assert_eq!(sample.tag("instance_id"), Some("pg-1"));
//! # Ok::<(), gds_events::ParseError>(())
//! ```

pub mod alert;
pub mod avro;
pub mod database;
pub mod database_text;
pub mod dead_letter;
pub mod envelope;
mod fault;
pub mod heartbeat;
pub mod metric;
mod parse;
mod sample;
mod tags;
mod text;
pub mod time;
pub mod topic;

pub use alert::{AlertEvent, AlertState};
pub use database::{DatabaseMetric, MetricType, Number};
pub use database_text::DatabaseText;
pub use envelope::Event;
pub use fault::ParseError;
pub use heartbeat::{CollectorHeartbeat, HeartbeatStatus};
pub use parse::{SCHEMA_HEADER, parse, parse_heartbeat, parse_message};
pub use sample::Sample;
pub use tags::Tags;
pub use time::Timestamp;
