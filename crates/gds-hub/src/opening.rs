//! From settings to the hub they name.

use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::hub::Hub;
use crate::kafka::{Callbacks, Kafka};
use crate::settings::{Address, Settings};

/// The hub of `settings`. Kafka is not connected yet: see [`check`](Hub::check).
pub fn open(settings: &Settings, callbacks: Callbacks) -> Result<Arc<dyn Hub>> {
    match &settings.address {
        Address::Kafka(_) => Ok(Kafka::open(settings, callbacks)?),
        Address::Embedded(path) => {
            Err(Error::new(Kind::Config, format!("embedded:{} cannot be opened yet", path.display())))
        }
    }
}
