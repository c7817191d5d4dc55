//! The log: what was accepted since the last parts were written, in files of one generation, shard and sequence.
//!
//! A generation ends when what it holds is to become parts, or when something is deleted; its files do not change from
//! then on. Each generation says the labels of its series anew, so that none is needed to read another.

pub(crate) mod file;
pub(crate) mod record;
pub(crate) mod scan;
