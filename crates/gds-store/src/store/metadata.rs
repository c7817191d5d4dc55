//! What metrics are: their type, what they say, and in what they are measured.

use std::collections::BTreeMap;
use std::sync::Arc;

use gds_promql::api::Metadata;

use super::Store;
use crate::error::Error;

const TYPES: [&str; 8] = ["counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset", "unknown"];

/// The longest text of a metric, in bytes: all of it is in a file that is written anew with each change.
const LONGEST: usize = 4_096;

impl Store {
    /// Says what metrics are, by name; the last word on each counts. How many are said to be something else than before.
    ///
    /// It is on the disk when this returns, and in every backup. It stays until something else is said.
    pub fn set_metadata(&self, said: impl IntoIterator<Item = (String, Metadata)>) -> Result<u64, Error> {
        self.writable()?;
        let said: BTreeMap<String, Metadata> = said.into_iter().collect();
        said.iter().try_for_each(|(name, metadata)| check(name, metadata))?;
        let mut upkeep = self.upkeep.lock();
        let state = self.state.read().clone();
        let known = &state.manifest.metadata;
        let changed: Vec<_> = said.into_iter().filter(|(name, metadata)| known.get(name) != Some(metadata)).collect();
        let count = changed.len() as u64;
        if count > 0 {
            let mut manifest = state.manifest.clone();
            manifest.metadata.extend(changed);
            self.commit(&mut upkeep, manifest, state.parts.iter().map(Arc::clone).collect())?;
        }
        Ok(count)
    }

    /// What metrics were said to be, by name.
    pub fn metadata(&self) -> BTreeMap<String, Metadata> {
        self.state.read().manifest.metadata.clone()
    }
}

fn check(name: &str, metadata: &Metadata) -> Result<(), Error> {
    let kind = &metadata.r#type;
    if name.is_empty() {
        return Err(Error::Setting("expected the name of a metric, got an empty text".into()));
    }
    if !TYPES.contains(&kind.as_str()) {
        return Err(Error::Setting(format!("metric {name:?} has type {kind:?}: expected one of {}", TYPES.join(", "))));
    }
    let bytes = name.len() + metadata.help.len() + metadata.unit.len();
    if bytes > LONGEST {
        return Err(Error::Setting(format!(
            "metric {name:?} is described by {bytes} bytes: expected at most {LONGEST}"
        )));
    }
    Ok(())
}
