//! Values between two samples.

use super::context::Notes;
use crate::annotations::{Combination, Note};
use crate::ast::Span;
use crate::histogram::{FloatHistogram, IncompatibleSchemas};

/// The number at a time between two samples. After a reset in between, a counter grew from zero.
pub(super) fn float(before: (i64, f64), after: (i64, f64), time: i64, is_counter: bool) -> f64 {
    let start = if is_counter && after.1 < before.1 { 0.0 } else { before.1 };
    start + (after.1 - start) * (time - before.0) as f64 / (after.0 - before.0) as f64
}

/// The histogram at a time between two samples, likewise.
pub(super) fn histogram(
    before: (i64, &FloatHistogram),
    after: (i64, &FloatHistogram),
    time: i64,
    is_counter: bool,
    (notes, span): (&Notes, Span),
) -> Result<FloatHistogram, IncompatibleSchemas> {
    if before.1.uses_custom_buckets() != after.1.uses_custom_buckets() {
        return Err(IncompatibleSchemas);
    }
    if time == before.0 {
        return Ok(before.1.clone());
    }
    if time == after.0 {
        return Ok(after.1.clone());
    }
    let fraction = (time - before.0) as f64 / (after.0 - before.0) as f64;
    let mut between = after.1.clone();
    if is_counter && after.1.detect_reset(before.1) {
        between.multiply(fraction);
        return Ok(between);
    }
    if between.subtract(before.1)?.bounds_reconciled {
        notes.add(Note::BoundsReconciled(Combination::Subtraction), span);
    }
    between.multiply(fraction);
    if between.add(before.1)?.bounds_reconciled {
        notes.add(Note::BoundsReconciled(Combination::Addition), span);
    }
    Ok(between)
}
