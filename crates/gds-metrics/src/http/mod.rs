//! The metrics page over HTTP: what is answered ([`mod@respond`]); the server and who may ask are `gds_net`'s.

pub mod respond;
#[cfg(test)]
mod tests;

pub use respond::{PageHandler, respond};

use std::sync::Arc;

use gds_net::Handler;

use crate::format::Format;

/// Something that can be shown as a metrics page.
pub trait Page: Send + Sync {
    /// The page in `format`, with the families called `names` only; an empty `names` means everything.
    ///
    /// This may take its time: the server calls it where blocking is allowed. An error becomes a response with status
    /// 503, a panic one with status 500.
    fn render(&self, format: Format, names: &[String]) -> crate::Result<Vec<u8>>;

    /// What answers at another path of the same server, to those who may see the page; nothing does unless it is said.
    fn beside(&self, path: &str) -> Option<Arc<dyn Handler>> {
        let _ = path;
        None
    }
}
