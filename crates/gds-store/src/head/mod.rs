//! What is in memory: the series that have samples which are in no part yet.

pub(crate) mod buffer;
pub(crate) mod limits;
pub(crate) mod series;
pub(crate) mod shard;
pub(crate) mod symbols;
