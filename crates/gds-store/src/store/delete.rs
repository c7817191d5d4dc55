//! Deletes samples, at once.

use std::sync::Arc;

use gds_promql::matcher::Matcher;
use gds_promql::source::{Select, Source};

use super::Store;
use crate::error::Error;
use crate::manifest::Deletion;
use crate::samples::within;

/// What a deletion takes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Series with samples in the time.
    pub series: u64,
    /// Their samples.
    pub samples: u64,
}

impl Store {
    /// What [`delete`](Self::delete) would take away now.
    pub fn delete_dry_run(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Deleted, Error> {
        if matchers.iter().all(|matcher| matcher.matches("")) {
            return Err(Error::Setting(
                "expected a matcher that does not match the empty text, as in job=\"api\"".into(),
            ));
        }
        let failed = |error: gds_promql::source::SourceError| Error::Setting(error.message);
        let mut deleted = Deleted::default();
        for series in self.select(&Select { matchers, start, end, step: 0 }).map_err(failed)? {
            let samples = within(&series.map_err(failed)?.samples, (start, end)).len() as u64;
            deleted.series += u64::from(samples > 0);
            deleted.samples += samples;
        }
        Ok(deleted)
    }

    /// Deletes the samples of the series that all matchers choose, from `start` to `end`, both included, in milliseconds
    /// since 1970. No query sees them when this returns, and none ever will; samples that are appended afterwards stay.
    /// [`maintain`](Self::maintain) gives their space back when it is called next, and when they are in parts.
    pub fn delete(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Deleted, Error> {
        self.writable()?;
        let deleted = self.delete_dry_run(matchers, start, end)?;
        let mut upkeep = self.upkeep.lock();
        let generation = self.end_generation();
        let state = self.state.read().clone();
        let mut manifest = state.manifest.clone();
        let number = upkeep.number();
        manifest.deletions.push(Deletion::new(number, generation, matchers, (start, end)));
        self.commit(&mut upkeep, manifest, state.parts.iter().map(Arc::clone).collect())?;
        Ok(deleted)
    }
}
