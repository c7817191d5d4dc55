//! Names that do not resolve, that resolve late, and that mean several addresses.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use gds_process::sync::Mutex;

use crate::clock::Clock;

use super::super::link::{Link, Wire};
use super::super::options::Target;
use super::LONG;

type Answers = SyncSender<io::Result<Vec<SocketAddr>>>;

/// A link whose look-ups wait for the answers that the test sends.
fn link(clock: &Clock) -> (Link, Answers) {
    let (answers, answer): (Answers, Receiver<_>) = sync_channel(8);
    let answer = Mutex::new(answer);
    let lookup = Arc::new(move |host: &str, port: u16| {
        assert_eq!((host, port), ("agent", 8125));
        // Ends with the test, for the look-up after the last.
        answer.lock().recv().unwrap_or_else(|_| Err(io::ErrorKind::NotFound.into()))
    });
    let target = Target::Udp { host: "agent".into(), port: 8125 };
    (Link::with_lookup(target, clock.clone(), lookup), answers)
}

fn agent() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn soon() -> Instant {
    Instant::now() + LONG
}

fn received(socket: &UdpSocket) -> String {
    let mut packet = [0; 100];
    let length = socket.recv(&mut packet).unwrap();
    String::from_utf8(packet[..length].to_vec()).unwrap()
}

#[test]
fn a_name_that_does_not_resolve_is_asked_for_again() {
    let (mut link, answers) = link(&Clock::manual(0));
    let (socket, address) = agent();
    answers.send(Err(io::Error::other("no such host"))).unwrap();
    let error = link.prepare(soon()).unwrap_err().to_string();
    assert_eq!(error, "agent does not resolve: no such host; check the host");
    answers.send(Ok(Vec::new())).unwrap();
    assert_eq!(link.prepare(soon()).unwrap_err().to_string(), "agent has no address; check the host");
    answers.send(Ok(vec![address])).unwrap();
    link.prepare(soon()).unwrap();
    link.send(b"x", soon()).unwrap();
    assert_eq!(received(&socket), "x");
}

#[test]
fn a_slow_resolver_is_waited_for_until_the_deadline_only() {
    let (mut link, answers) = link(&Clock::manual(0));
    let (socket, address) = agent();
    for _ in 0..2 {
        let error = link.prepare(Instant::now() + Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
    // One answer is enough: the look-up of the first flush was still under way.
    answers.send(Ok(vec![address])).unwrap();
    link.prepare(soon()).unwrap();
    link.send(b"x", soon()).unwrap();
    assert_eq!(received(&socket), "x");
}

#[test]
fn an_address_on_which_nobody_listens_is_followed_by_the_next() {
    let (mut link, answers) = link(&Clock::manual(0));
    let (socket, address) = agent();
    // An address of its own, so that no other test is given the port meanwhile.
    let nobody = UdpSocket::bind("127.0.0.91:0").unwrap().local_addr().unwrap();
    answers.send(Ok(vec![nobody, address])).unwrap();
    link.prepare(soon()).unwrap();
    link.send(b"x", soon()).unwrap();
    assert_eq!(received(&socket), "x");
}

#[test]
fn a_name_is_resolved_again_without_waiting() {
    let clock = Clock::manual(1_000_000);
    let (mut link, answers) = link(&clock);
    let ((old, old_address), (new, new_address)) = (agent(), agent());
    answers.send(Ok(vec![old_address])).unwrap();
    link.prepare(soon()).unwrap();
    clock.advance(Duration::from_secs(61));
    // The look-up hangs; packets go where they went.
    link.prepare(Instant::now()).unwrap();
    link.send(b"first", soon()).unwrap();
    assert_eq!(received(&old), "first");
    answers.send(Ok(vec![new_address])).unwrap();
    let end = soon();
    new.set_nonblocking(true).unwrap();
    let mut packet = [0; 100];
    while new.recv(&mut packet).is_err() {
        assert!(Instant::now() < end, "the new address was never used");
        link.prepare(Instant::now()).unwrap();
        link.send(b"second", soon()).unwrap();
    }
}
