//! What every room of the binding needs of Python: its locks, its ends, its event loops, its objects.

pub(crate) mod asyncio;
pub(crate) mod dicts;
pub(crate) mod drop_detached;
pub(crate) mod exit;
pub(crate) mod once;
pub(crate) mod reporting;
pub(crate) mod runtime;
pub(crate) mod text;
pub(crate) mod trace;
pub(crate) mod warnings;
