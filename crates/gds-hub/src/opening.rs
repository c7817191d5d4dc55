//! From settings to the hub they name.

use std::sync::Arc;

use crate::embedded::{Embedded, EmbeddedOptions, Retention};
use crate::error::Result;
use crate::hub::Hub;
use crate::kafka::{Callbacks, Kafka};
use crate::settings::{Address, Settings};

/// The hub of `settings`. Kafka is not connected yet: see [`check`](Hub::check).
pub fn open(settings: &Settings, callbacks: Callbacks) -> Result<Arc<dyn Hub>> {
    match &settings.address {
        Address::Kafka(_) => Ok(Kafka::open(settings, callbacks)?),
        Address::Embedded(path) => {
            let kept = &settings.embedded;
            let age_ms = kept.retention.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
            let options = EmbeddedOptions {
                partitions: i32::try_from(kept.partitions).unwrap_or(i32::MAX),
                retention: Retention { age_ms, bytes: kept.retention_bytes },
                ..EmbeddedOptions::default()
            };
            Ok(Arc::new(Embedded::open(path, options)?))
        }
    }
}
