//! What a server and its connections have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use gds_process::fork::ChildClose;
use gds_process::sync::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::message::Handler;

/// What no client can exceed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; further ones are answered 503 (with TLS: nothing) and closed.
    pub connections: usize,
    /// Bytes of a request's first line and headers; more are answered 431.
    pub header_bytes: usize,
    /// Headers of a request; more are answered 431.
    pub headers: usize,
    /// Bytes of a request's body; more are answered 413. With 0 nothing of it is read.
    pub body_bytes: usize,
    /// Time for a TLS handshake.
    pub handshake_timeout: Duration,
    /// Time from the first byte of a request head (from the connection, for the first one) to its last; as long again for
    /// a body.
    pub header_timeout: Duration,
    /// Time without a request on an open connection.
    pub idle_timeout: Duration,
    /// Time for a response to be taken, counted from when the client first takes no more.
    pub write_timeout: Duration,
    /// Time that open connections get when the server is stopped.
    pub drain_timeout: Duration,
}

impl Limits {
    /// The limits that servers have unless told otherwise: generous to a dozen scrapers, small to an attacker.
    pub const DEFAULT: Self = Self {
        connections: 64,
        header_bytes: 16 * 1024,
        headers: 64,
        body_bytes: 0,
        handshake_timeout: Duration::from_secs(5),
        header_timeout: Duration::from_secs(5),
        // Longer than the usual scrape interval of 15 to 60 seconds, so that scrapers keep their connection.
        idle_timeout: Duration::from_secs(75),
        // Three times the usual scrape time-out.
        write_timeout: Duration::from_secs(30),
        drain_timeout: Duration::from_secs(5),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) open: AtomicUsize,
    pub(super) accepted: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) handshake_failures: AtomicU64,
}

/// What the tasks of a server have in common.
pub(super) struct ServerState {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) limits: Limits,
    pub(super) stats: Counters,
    /// True once stopped.
    pub(super) stop: watch::Sender<bool>,
    /// None once stopped. Not owned by the accepting task, so that stopping needs no answer from the runtime,
    /// which may be busy, or be the thread that stops.
    pub(super) listening: Mutex<Option<Listening>>,
}

pub(super) struct Listening {
    /// Before the listener in order of dropping, as its contract wants.
    pub(super) _close: ChildClose,
    pub(super) listener: TcpListener,
}
