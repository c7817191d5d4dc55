//! What a collector of a registry is set to.

use std::collections::HashMap;
use std::sync::Arc;

use gds_process::sync::RwLock;

use crate::error::{Error, Result};
use crate::family::Description;

/// Buckets of distributions that nobody described, the ones every Prometheus client starts with (seconds).
pub const DEFAULT_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Series of one family before the rest goes to its overflow series.
pub const DEFAULT_MAX_SERIES: usize = 10_000;

/// Settings of one collector of a registry.
#[derive(Clone, Debug)]
pub struct ViewOptions {
    /// Put before every name.
    pub prefix: String,
    /// Buckets of histograms and timings that were not described.
    pub buckets: Arc<[f64]>,
    /// Series of a family before the rest goes to its overflow series.
    pub max_series: usize,
}

impl Default for ViewOptions {
    fn default() -> Self {
        Self { prefix: String::new(), buckets: Arc::from(DEFAULT_BUCKETS), max_series: DEFAULT_MAX_SERIES }
    }
}

pub(crate) struct ViewData {
    pub(crate) number: u64,
    pub(crate) options: ViewOptions,
    pub(crate) descriptions: RwLock<HashMap<String, Description>>,
}

/// Buckets must be finite and ascend; the last, infinite one is added by itself.
pub fn check_buckets(buckets: &[f64]) -> Result<()> {
    let ascending = buckets.windows(2).all(|pair| pair[0] < pair[1]);
    if !buckets.is_empty() && ascending && buckets.iter().all(|bound| bound.is_finite()) {
        return Ok(());
    }
    Err(Error::setting(
        "buckets",
        &format!("{buckets:?}"),
        "at least one finite bound, each larger than the one before",
    ))
}
