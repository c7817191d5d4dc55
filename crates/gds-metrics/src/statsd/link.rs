//! The socket: resolved, connected and written by whoever flushes, never by whoever reports.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use crate::clock::Clock;

use super::options::Target;

/// How long an answer of the resolver is used. Agents in containers change address when they are replaced.
const RESOLVE_EVERY_MILLIS: u64 = 60_000;

/// What a flush needs of a network.
pub(super) trait Wire {
    /// Whether a packet that [`send`](Wire::send) took is in the receiver's queue, rather than on its way.
    fn is_certain(&self) -> bool;

    /// An error that came back since the last call, about a packet that was taken before.
    fn late_error(&mut self) -> Option<io::Error>;

    /// Makes ready to send, which may mean a look-up.
    fn prepare(&mut self, deadline: Instant) -> io::Result<()>;

    /// Hands over one packet, or fails with nothing of it handed over. Waits for room until `deadline` at most.
    fn send(&mut self, packet: &[u8], deadline: Instant) -> io::Result<()>;
}

/// Whether the peer is not there, as opposed to this side being busy.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    // What Linux tells a connected UDP socket after "port unreachable" and "host prohibited"; softer ICMP messages
    // it keeps to itself.
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable)
}

/// Whether the packet, rather than the moment, is at fault.
pub(super) fn is_too_big(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

/// Whether the socket is as good as before.
fn leaves_the_socket_alone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS) || is_too_big(error)
}

/// The two kinds of datagram socket as one.
enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Socket {
    fn send(&self, packet: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(packet).map(drop),
            Self::Unix(socket) => socket.send(packet).map(drop),
        }
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.set_nonblocking(nonblocking),
            Self::Unix(socket) => socket.set_nonblocking(nonblocking),
        }
    }

    fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.set_write_timeout(Some(timeout)),
            Self::Unix(socket) => socket.set_write_timeout(Some(timeout)),
        }
    }

    /// Sends without waiting if that goes, and else waits for room: a unix socket's queue holds ten datagrams by
    /// default, so a burst is more often early than unwanted.
    fn send_until(&self, packet: &[u8], deadline: Instant) -> io::Result<()> {
        match self.send(packet) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
        self.set_nonblocking(false)?;
        let result = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // A time-out of zero would mean none, and one that rounds to zero too.
            if left < Duration::from_millis(1) {
                break Err(io::Error::new(io::ErrorKind::WouldBlock, "the server reads too slowly for its queue"));
            }
            match self.set_write_timeout(left).and_then(|()| self.send(packet)) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                other => break other,
            }
        };
        self.set_nonblocking(true)?;
        result
    }
}

/// Looks a host name up; may take as long as the system's resolver does.
pub(super) type Lookup = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// The way to one target.
pub(super) struct Link {
    target: Target,
    clock: Clock,
    lookup: Lookup,
    answer: Option<Receiver<io::Result<Vec<SocketAddr>>>>,
    /// Asked for at this time, or never.
    asked_at_millis: Option<u64>,
    addresses: Vec<SocketAddr>,
    /// Which address is next: a name often has one on which nobody listens (`localhost` is `::1` first).
    next: usize,
    socket: Option<Socket>,
    /// Whether the socket took a packet yet.
    carried: bool,
    /// Device and inode of the unix socket that it is connected to.
    bound: Option<(u64, u64)>,
}

impl Link {
    /// A link that looks names up with the system's resolver.
    pub(super) fn new(target: Target, clock: Clock) -> Self {
        Self::with_lookup(target, clock, Arc::new(gds_process::resolve::resolve))
    }

    pub(super) fn with_lookup(target: Target, clock: Clock, lookup: Lookup) -> Self {
        Self {
            target,
            clock,
            lookup,
            answer: None,
            asked_at_millis: None,
            addresses: Vec::new(),
            next: 0,
            socket: None,
            carried: false,
            bound: None,
        }
    }

    /// Learns the addresses of a host name. Waits only while there is none at all; a later look-up goes on beside
    /// the flushes, and whichever finds its answer takes it.
    fn resolve(&mut self, host: &str, port: u16, deadline: Instant) -> io::Result<()> {
        if let Ok(address) = host.parse::<IpAddr>() {
            if self.addresses.is_empty() {
                self.addresses.push(SocketAddr::new(address, port));
            }
            return Ok(());
        }
        let now = self.clock.coarse_millis();
        let is_old = self.asked_at_millis.is_none_or(|asked| asked.abs_diff(now) >= RESOLVE_EVERY_MILLIS);
        if self.answer.is_none() && (is_old || self.addresses.is_empty()) {
            self.answer = Some(self.ask(host, port)?);
            self.asked_at_millis = Some(now);
        }
        let Some(answer) = &self.answer else { return Ok(()) };
        let answer = if self.addresses.is_empty() {
            match answer.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(answer) => answer,
                // The look-up goes on; the next flush takes its answer.
                Err(RecvTimeoutError::Timeout) => {
                    let reason = format!("{host} is not resolved yet; check the resolver of this machine");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
                }
                Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the resolver gave no answer")),
            }
        } else {
            match answer.try_recv() {
                Ok(answer) => answer,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => Err(io::Error::other("the resolver gave no answer")),
            }
        };
        self.answer = None;
        match answer {
            Ok(addresses) if !addresses.is_empty() => {
                self.adopt(addresses);
                Ok(())
            }
            // The resolver may be away while the agent is not.
            _ if !self.addresses.is_empty() => Ok(()),
            Ok(_) => Err(io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address; check the host"))),
            Err(error) => {
                Err(io::Error::new(error.kind(), format!("{host} does not resolve: {error}; check the host")))
            }
        }
    }

    /// A thread for each look-up, since the system's resolver cannot be told to stop waiting.
    fn ask(&self, host: &str, port: u16) -> io::Result<Receiver<io::Result<Vec<SocketAddr>>>> {
        let (sender, receiver) = sync_channel(1);
        let (lookup, host) = (Arc::clone(&self.lookup), host.to_owned());
        std::thread::Builder::new().name("gds-statsd-resolve".to_owned()).spawn(move || {
            // Nobody listens any more when the client was dropped meanwhile.
            let _ = sender.send(lookup(&host, port));
        })?;
        Ok(receiver)
    }

    fn adopt(&mut self, addresses: Vec<SocketAddr>) {
        let current = match &self.socket {
            Some(Socket::Udp(socket)) => socket.peer_addr().ok(),
            _ => None,
        };
        if let Some(at) = current.and_then(|peer| addresses.iter().position(|address| *address == peer)) {
            self.next = at;
        } else {
            // Not back to the first: with the same addresses that would try the one that just refused.
            self.socket = None;
            self.next %= addresses.len();
        }
        self.addresses = addresses;
    }

    fn connect(&mut self) -> io::Result<()> {
        let socket = match &self.target {
            Target::Unix { addr, .. } => {
                // Before it is connected to: were it bound anew in between, the next flush connects again.
                self.bound = identity(addr);
                let socket = UnixDatagram::unbound()?;
                socket.connect_addr(addr)?;
                Socket::Unix(socket)
            }
            Target::Udp { .. } => {
                let mut failure = io::Error::from(io::ErrorKind::NotFound);
                let found = (0..self.addresses.len()).find_map(|step| {
                    let at = (self.next + step) % self.addresses.len();
                    connected(self.addresses[at]).map(|socket| (at, socket)).map_err(|error| failure = error).ok()
                });
                let Some((at, socket)) = found else { return Err(failure) };
                self.next = at;
                Socket::Udp(socket)
            }
        };
        socket.set_nonblocking(true)?;
        self.socket = Some(socket);
        self.carried = false;
        Ok(())
    }

    /// Starts over with another socket, for UDP at the next address and with a new look-up under way.
    fn give_up_socket(&mut self) {
        self.socket = None;
        self.next = (self.next + 1) % self.addresses.len().max(1);
        self.asked_at_millis = None;
    }

    fn send_once(&mut self, packet: &[u8], deadline: Instant) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        socket.send_until(packet, deadline)?;
        // On this machine the refusal of a packet is there before `send` returns; asking here names the right one.
        self.late_error().map_or(Ok(()), Err)
    }
}

fn connected(address: SocketAddr) -> io::Result<UdpSocket> {
    let local: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((local, 0))?;
    socket.connect(address)?;
    Ok(socket)
}

/// Which socket the path leads to, if any.
fn identity(addr: &UnixAddr) -> Option<(u64, u64)> {
    let found = std::fs::metadata(addr.as_pathname()?).ok()?;
    Some((found.dev(), found.ino()))
}

impl Wire for Link {
    fn is_certain(&self) -> bool {
        matches!(self.target, Target::Unix { .. })
    }

    fn late_error(&mut self) -> Option<io::Error> {
        match &self.socket {
            Some(Socket::Udp(socket)) => socket.take_error().ok().flatten(),
            _ => None,
        }
    }

    fn prepare(&mut self, deadline: Instant) -> io::Result<()> {
        if let Target::Udp { host, port } = &self.target {
            let (host, port) = (host.clone(), *port);
            self.resolve(&host, port, deadline)?;
        }
        if let (Target::Unix { addr, .. }, Some(_)) = (&self.target, &self.socket)
            && identity(addr).is_some_and(|now| Some(now) != self.bound)
        {
            // Another agent has taken the path over while the one before it still holds its socket open.
            self.socket = None;
        }
        if self.socket.is_none() { self.connect() } else { Ok(()) }
    }

    fn send(&mut self, packet: &[u8], deadline: Instant) -> io::Result<()> {
        // An agent that restarted listens on a new socket with the old path, and a name may have an address on which
        // nobody listens: then this packet needs no other flush. Only on a UDP socket that carried nothing before is
        // the refusal surely about this packet.
        let mut retries = match self.target {
            Target::Unix { .. } => 1,
            Target::Udp { .. } if self.carried => 0,
            Target::Udp { .. } => self.addresses.len().saturating_sub(1),
        };
        loop {
            match self.send_once(packet, deadline) {
                Err(error) if !leaves_the_socket_alone(&error) => {
                    self.give_up_socket();
                    if retries == 0 || self.connect().is_err() {
                        return Err(error);
                    }
                    retries -= 1;
                }
                other => {
                    self.carried |= other.is_ok();
                    return other;
                }
            }
        }
    }
}
