//! Which series of two sides belong together.

use crate::ast::VectorMatching;
use crate::labels::Labels;
use crate::matcher::METRIC_NAME;

/// The labels that have to be the same.
pub(in crate::engine) fn signature(labels: &Labels, matching: &VectorMatching) -> Labels {
    if matching.on {
        labels.only(&matching.labels)
    } else {
        labels.filtered(|name| name != METRIC_NAME && !matching.labels.iter().any(|ignored| ignored == name))
    }
}
