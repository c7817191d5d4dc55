//! A metrics core: series that cost an atomic to update, and providers that show them.

pub mod cells;
pub mod clock;
pub mod error;
pub mod fork;
pub mod format;
pub mod http;
pub mod index;
pub mod key;
pub mod push;
pub mod snapshot;
pub mod textfile;

pub use error::{Error, Result};
