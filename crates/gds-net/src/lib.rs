//! What services need of the network, with no idea of what they serve: [certificates](tls), [who may ask](Auth), and a
//! [server](Server) that answers with a [`Handler`], within limits that hold whoever connects.

mod auth;
mod connection;
mod error;
mod message;
mod server;
mod stamp;
mod state;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tls;

pub use auth::Auth;
pub use error::{Error, Result};
pub use message::{Handler, PLAIN_TEXT, RequestHead, Response};
pub use server::{Server, ServerOptions, ServerStats, probe};
pub use state::Limits;
