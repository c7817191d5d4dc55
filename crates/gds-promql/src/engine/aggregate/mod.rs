//! Aggregations over the series of a vector.

pub(super) mod choose;
pub(super) mod count_values;
pub(super) mod fold;
pub(super) mod grouping;
pub(super) mod quantile;
