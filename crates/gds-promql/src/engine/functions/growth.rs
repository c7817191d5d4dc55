//! What all ways to compute a growth have in common.

use crate::annotations::{Combination, Note};
use crate::engine::window::Window;
use crate::histogram::FloatHistogram;

/// Which growth is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Growth {
    /// Whether a smaller value is a reset rather than a fall.
    pub(super) is_counter: bool,
    pub(super) per_second: bool,
}

/// Adds or subtracts a histogram and says what happened; nothing where the two do not fit together.
pub(super) fn combine(
    window: &Window<'_>,
    how: Combination,
    target: &mut FloatHistogram,
    other: &FloatHistogram,
) -> Option<()> {
    let combined = if how == Combination::Subtraction { target.subtract(other) } else { target.add(other) };
    match combined {
        Ok(combined) => {
            if combined.bounds_reconciled {
                window.notes.add(Note::BoundsReconciled(how), window.span);
            }
            Some(())
        }
        Err(_) => {
            window.notes.add(Note::MixedExponentialCustom(window.metric_name()), window.span);
            None
        }
    }
}
