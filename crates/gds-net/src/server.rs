//! The server: HTTP/1.1 within limits that hold whoever connects.
//!
//! It listens when [`Server::start`] returns and does not when [`Server::stop`] returns. It runs on a runtime that
//! the caller keeps; the handler is called on that runtime's threads for blocking work. In a forked child the server is
//! not there: its sockets were closed ([`gds_process::fork`]), stopping or dropping it does nothing.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream as BlockingStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use gds_process::sync::Mutex;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::connection::{serve, stopped};
use crate::error::{Error, Result};
use crate::message::Handler;
use crate::state::{Counters, Limits, Listening, ServerState};
use gds_process::fork;

/// Connections that the kernel may hold for us between two rounds of the accepting task.
const BACKLOG: i32 = 1024;

/// After a failed accept, mostly for want of descriptors: retrying at once would take a whole core.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 44\r\n\r\ntoo many connections: close some, try again\n";

/// How and where to serve.
#[derive(Debug)]
pub struct ServerOptions {
    /// An IPv4 or IPv6 address, or a host name of this machine. `::` takes IPv4 as well.
    pub addr: String,
    /// The port; 0 takes a free one, which [`Server::local_addr`] tells.
    pub port: u16,
    /// TLS settings, from [`crate::tls::server_config`]; plain HTTP without.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whether other processes of this user may listen on the same port, each getting a share of the connections.
    pub reuse_port: bool,
    /// What no client can exceed.
    pub limits: Limits,
}

impl ServerOptions {
    /// Plain HTTP on `addr` and `port`.
    pub fn new(addr: impl Into<String>, port: u16) -> Self {
        let addr = addr.into();
        Self { addr, port, tls: None, reuse_port: false, limits: Limits::DEFAULT }
    }
}

/// What happened to the connections of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// Open now, those in a handshake included.
    pub open: usize,
    /// Accepted since the start, refused ones included.
    pub accepted: u64,
    /// Refused because the limit of connections was reached.
    pub refused: u64,
    /// Ended by a TLS handshake that failed or took too long.
    pub handshake_failures: u64,
}

/// A server that listens until it is stopped or dropped.
pub struct Server {
    pub(crate) shared: Arc<ServerState>,
    local_addr: SocketAddr,
    generation: u32,
}

impl Server {
    /// Listens at once, and answers with `handler` on `runtime`.
    ///
    /// Fails with setting `addr` when that is no address of any machine, with [`Error::Listen`] when it cannot be
    /// listened on.
    ///
    /// # Panics
    ///
    /// When `runtime` was built without its drivers for input, output and time.
    pub fn start(options: ServerOptions, handler: Arc<dyn Handler>, runtime: &Handle) -> Result<Self> {
        fork::watch();
        let ServerOptions { addr, port, tls, reuse_port, limits } = options;
        let failed = |source| listen_error(&addr, port, source);
        let socket = listen(&addr, port, reuse_port)?;
        let local_addr = socket.local_addr().and_then(|addr| addr.as_socket().ok_or(io::ErrorKind::Unsupported.into()));
        let local_addr = local_addr.map_err(failed)?;
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(socket.into()).map_err(failed)?
        };
        let listening = Listening { _close: fork::close_in_child(&listener), listener };
        let shared = Arc::new(ServerState {
            handler,
            tls: tls.map(TlsAcceptor::from),
            limits,
            stats: Counters::default(),
            stop: watch::Sender::new(false),
            listening: Mutex::new(Some(listening)),
        });
        runtime.spawn(accept(Arc::clone(&shared)));
        Ok(Self { shared, local_addr, generation: fork::generation() })
    }

    /// Where it listens, with the port that was chosen for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What happened so far.
    pub fn stats(&self) -> ServerStats {
        let counters = &self.shared.stats;
        ServerStats {
            open: counters.open.load(Ordering::Relaxed),
            accepted: counters.accepted.load(Ordering::Relaxed),
            refused: counters.refused.load(Ordering::Relaxed),
            handshake_failures: counters.handshake_failures.load(Ordering::Relaxed),
        }
    }

    /// Stops listening: the port is free when this returns. Does not wait for open connections, which may finish
    /// what they are at within [`Limits::drain_timeout`]. Again, or in a forked child, it does nothing.
    pub fn stop(&self) {
        // In a child the lock may be held by a thread that is not there, and the descriptor may be another file's.
        if self.generation != fork::generation() {
            return;
        }
        drop(self.shared.listening.lock().take());
        self.shared.stop.send_replace(true);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        if self.generation != fork::generation() {
            // Nothing in there may be dropped here, even if the runtime's tasks let go of it: neither the listener,
            // whose number may be another file's by now, nor what takes locks that another thread held at the fork.
            std::mem::forget(Arc::clone(&self.shared));
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local_addr", &self.local_addr)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

async fn accept(shared: Arc<ServerState>) {
    let mut stop = shared.stop.subscribe();
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stop) => return,
            accepted = next_connection(&shared) => accepted,
        };
        match accepted {
            Ok(stream) => admit(stream, &shared),
            // The client was gone before we came to it: nothing to wait for.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => tokio::time::sleep(PAUSE_AFTER_FAILURE).await,
        }
    }
}

async fn next_connection(shared: &ServerState) -> io::Result<TcpStream> {
    poll_fn(|cx| match &*shared.listening.lock() {
        Some(listening) => listening.listener.poll_accept(cx).map_ok(|(stream, _)| stream),
        // Stopped: the word is on its way to `accept`.
        None => Poll::Pending,
    })
    .await
}

fn admit(stream: TcpStream, shared: &Arc<ServerState>) {
    let stats = &shared.stats;
    stats.accepted.fetch_add(1, Ordering::Relaxed);
    // Nothing else adds to it, so it cannot grow between the look and the step.
    if stats.open.load(Ordering::Relaxed) >= shared.limits.connections {
        stats.refused.fetch_add(1, Ordering::Relaxed);
        if shared.tls.is_none()
            && let Ok(stream) = stream.into_std()
        {
            // A client that has gone has nothing to be told.
            let _ = refuse(stream);
        }
        return;
    }
    let open = OpenConnection::new(Arc::clone(shared));
    tokio::spawn(async move { serve(stream, &open.0).await });
}

/// Says why and hangs up, without waiting: the socket does not block.
fn refuse(mut stream: BlockingStream) -> io::Result<()> {
    stream.write_all(BUSY)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    // Closing with a request unread would reset the connection, and the client might lose the answer with it.
    stream.read(&mut [0; 4096]).map(drop)
}

/// Counts a connection as open while it lives.
struct OpenConnection(Arc<ServerState>);

impl OpenConnection {
    fn new(shared: Arc<ServerState>) -> Self {
        shared.stats.open.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.stats.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether the port could be listened on by this process alone; what it opens it closes again.
pub fn probe(addr: &str, port: u16) -> Result<()> {
    listen(addr, port, false).map(drop)
}

/// A listening socket on the first address that `addr` stands for and this machine has.
fn listen(addr: &str, port: u16, reuse_port: bool) -> Result<Socket> {
    let mut failure = None;
    for candidate in resolve(addr, port)? {
        match listen_on(candidate, reuse_port) {
            Ok(socket) => return Ok(socket),
            // `localhost` is also ::1, which a machine without IPv6 does not have. A port in use is in use, though:
            // the next address would be one that the user did not mean.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(listen_error(addr, port, error)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let failure = failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
    Err(listen_error(addr, port, failure))
}

fn resolve(addr: &str, port: u16) -> Result<Vec<SocketAddr>> {
    const EXPECTED: &str = "an IP address or host name of this machine, such as 127.0.0.1, ::1, or 0.0.0.0 for all";
    let bare = addr.strip_prefix('[').and_then(|addr| addr.strip_suffix(']')).unwrap_or(addr);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    if addr.is_empty() {
        return Err(Error::setting("addr", "", EXPECTED));
    }
    let found = (addr, port).to_socket_addrs();
    found.map(Iterator::collect).map_err(|error| Error::setting("addr", addr, format!("{EXPECTED} ({error})")))
}

fn listen_on(addr: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // On Windows this would let another program take the port over.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(reuse_port)?;
    #[cfg(not(unix))]
    let _ = reuse_port;
    if addr.is_ipv6() {
        // Systems differ on what `::` includes.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn listen_error(addr: &str, port: u16, source: io::Error) -> Error {
    let remedy = match source.kind() {
        io::ErrorKind::AddrInUse => "choose another port=, use port=0, or stop the process that has it",
        io::ErrorKind::PermissionDenied => "choose a port= of 1024 or above, or allow this process to use lower ones",
        io::ErrorKind::AddrNotAvailable => "give addr= an address of this machine, or 0.0.0.0 for all of them",
        _ => "choose another addr= or port=",
    };
    Error::Listen { addr: addr.to_owned(), port, remedy, source }
}
