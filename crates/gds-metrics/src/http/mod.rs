//! The metrics page over HTTP: what is answered ([`mod@respond`]), who may ask ([`auth`]), and the built-in server
//! ([`server`]) with its certificates ([`tls`]).

pub mod auth;
mod connection;
pub mod respond;
pub mod server;
mod stamp;
pub mod tls;

pub use auth::Auth;
pub use respond::{RequestHead, Response, respond};
pub use server::{Limits, Server, ServerOptions, ServerStats};

use crate::format::Format;

/// Something that can be shown as a metrics page.
pub trait Page: Send + Sync {
    /// The page in `format`, with the families called `names` only; an empty `names` means everything.
    ///
    /// This may take its time: the server calls it where blocking is allowed. An error becomes a response with status
    /// 503, a panic one with status 500.
    fn render(&self, format: Format, names: &[String]) -> crate::Result<Vec<u8>>;
}
