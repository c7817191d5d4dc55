//! Operators between two expressions.

pub(super) mod element;
pub(super) mod matched;
pub(super) mod scalar;
pub(super) mod set;
pub(super) mod signature;
