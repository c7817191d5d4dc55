//! The whole client, over sockets of this machine.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::error::Error;

use super::super::{Outcome, Reason, Statsd, StatsdOptions};
use super::{LONG, Server, key};

fn udp(bind: &str) -> (UdpSocket, StatsdOptions) {
    let socket = UdpSocket::bind(bind).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let address = socket.local_addr().unwrap();
    let options =
        StatsdOptions { host: Some(address.ip().to_string()), port: address.port().into(), ..StatsdOptions::default() };
    (socket, options)
}

fn unix(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

fn unix_options(path: &Path) -> StatsdOptions {
    StatsdOptions { socket_path: Some(path.to_owned()), ..StatsdOptions::default() }
}

/// Receives until `done`.
fn receive(mut recv: impl FnMut(&mut [u8]) -> std::io::Result<usize>, done: impl Fn(&Server) -> bool) -> Server {
    let mut server = Server::default();
    let mut packet = vec![0; 70_000];
    while !done(&server) {
        let length = recv(&mut packet).unwrap();
        server.take(&packet[..length]);
    }
    server
}

#[test]
fn increments_of_many_threads_arrive_exactly() {
    let (socket, options) = udp("127.0.0.1:0");
    let statsd = Statsd::new(options).unwrap();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    for n in 0..100_000 {
                        let labels = [("parity", if n % 2 == 0 { "even" } else { "odd" })];
                        assert_eq!(statsd.increment(&key("hits", &labels), 1.0), Outcome::Counted);
                    }
                })
            })
            .collect();
        // A flush while they run, and few enough for the receiver's queue.
        for _ in 0..20 {
            statsd.flush(LONG).unwrap();
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
    statsd.close(LONG).unwrap();
    let sum = |server: &Server| server.counters.values().sum::<f64>();
    let server = receive(|packet| socket.recv(packet), |server| sum(server) >= 800_000.0);
    assert_eq!(server.counters["hits|#parity:even"], 400_000.0);
    assert_eq!(server.counters["hits|#parity:odd"], 400_000.0);
    let stats = statsd.stats();
    assert_eq!((stats.packets_sent, stats.packets_failed, stats.series), (server.packets.len() as u64, 0, 2));
    assert_eq!(stats.bytes_sent, server.packets.iter().map(Vec::len).sum::<usize>() as u64);
}

#[test]
fn a_udp_server_that_comes_late_gets_every_increment() {
    // An address of its own, so that no other test is given the port meanwhile.
    let (socket, options) = udp("127.0.0.92:0");
    let address = socket.local_addr().unwrap();
    drop(socket);
    let statsd = Statsd::new(options).unwrap();
    for n in 0..10 {
        let _ = statsd.increment(&key("hits", &[]), 1.0);
        let _ = statsd.gauge(&key("level", &[]), f64::from(n));
        // A refusal is known at once or at the next flush, so this one may succeed.
        let _ = statsd.flush(LONG);
    }
    assert!(statsd.stats().packets_failed > 0);
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let _ = statsd.increment(&key("hits", &[]), 1.0);
    statsd.flush(LONG).unwrap();
    let server = receive(|packet| socket.recv(packet), |server| !server.counters.is_empty());
    assert_eq!((server.counters["hits"], server.plain_gauges["level"]), (11.0, 9.0));
    assert_eq!(server.packets.len(), 1);
}

#[test]
fn a_unix_server_that_comes_late_and_restarts_gets_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let statsd = Statsd::new(unix_options(&path)).unwrap();
    let report = || {
        let _ = statsd.increment(&key("hits", &[]), 1.0);
        let _ = statsd.timing_ms(&key("duration", &[]), 2.5);
    };
    for _ in 0..3 {
        report();
        let error = statsd.flush(LONG).unwrap_err();
        assert!(matches!(error, Error::Unreachable { timed_out: false, .. }) && error.retriable(), "{error}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot reach unixgram://{}: ", path.display())), "{text}");
        assert!(text.ends_with("kept for the next flush"), "{text}");
    }
    let socket = unix(&path);
    statsd.flush(LONG).unwrap();
    let server = receive(|packet| socket.recv(packet), |server| !server.counters.is_empty());
    assert_eq!((server.counters["hits"], server.sample_count()), (3.0, 3));
    // It restarts: another socket with the same path, and one flush is enough.
    drop(socket);
    std::fs::remove_file(&path).unwrap();
    let socket = unix(&path);
    report();
    statsd.flush(LONG).unwrap();
    let server = receive(|packet| socket.recv(packet), |server| !server.counters.is_empty());
    assert_eq!((server.counters["hits"], server.sample_count()), (1.0, 1));
    assert_eq!((statsd.stats().flushes_failed, statsd.stats().samples_dropped), (3, 0));
}

#[test]
fn a_full_queue_is_waited_for_and_what_does_not_fit_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let socket = unix(&path);
    let statsd = Statsd::new(StatsdOptions { max_packet_bytes: Some(64), ..unix_options(&path) }).unwrap();
    for n in 0..20_000 {
        let _ = statsd.histogram(&key("size", &[]), f64::from(n));
    }
    // Nobody reads: the queue fills, and the flush ends in time.
    let error = statsd.flush(Duration::from_millis(20)).unwrap_err();
    assert!(matches!(error, Error::Unreachable { timed_out: true, .. }), "{error}");
    let reader = thread::spawn(move || receive(|packet| socket.recv(packet), |server| server.sample_count() >= 20_000));
    statsd.flush(LONG).unwrap();
    let server = reader.join().unwrap();
    let mut values: Vec<_> = server.samples["size"].iter().map(|(value, _)| *value).collect();
    values.sort_by(f64::total_cmp);
    assert_eq!(values, (0..20_000).map(f64::from).collect::<Vec<_>>());
    assert!(server.longest_packet() <= 64);
}

#[test]
fn close_flushes_refuses_reports_and_may_be_repeated() {
    let (socket, options) = udp("127.0.0.1:0");
    let statsd = Statsd::new(options).unwrap();
    let _ = statsd.increment(&key("hits", &[]), 1.0);
    for _ in 0..3 {
        statsd.close(LONG).unwrap();
    }
    assert_eq!(statsd.increment(&key("hits", &[]), 1.0), Outcome::Dropped(Reason::Closed));
    let server = receive(|packet| socket.recv(packet), |server| !server.counters.is_empty());
    assert_eq!(server.counters["hits"], 1.0);
    assert_eq!((statsd.stats().packets_sent, statsd.stats().refused), (1, 1));
}

#[test]
fn close_may_insist_after_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let statsd = Statsd::new(unix_options(&path)).unwrap();
    let _ = statsd.increment(&key("hits", &[]), 1.0);
    assert!(statsd.close(LONG).is_err());
    let socket = unix(&path);
    statsd.close(Duration::MAX).unwrap();
    assert_eq!(receive(|packet| socket.recv(packet), |server| server.lines > 0).counters["hits"], 1.0);
}

#[test]
fn a_flush_without_anything_to_send_needs_no_server() {
    let statsd = Statsd::new(unix_options(Path::new("/nowhere/agent.sock"))).unwrap();
    statsd.flush(Duration::ZERO).unwrap();
    statsd.close(Duration::ZERO).unwrap();
}

#[test]
fn a_started_client_flushes_until_it_is_dropped_or_closed() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    for close in [true, false] {
        let (socket, options) = udp("127.0.0.1:0");
        let statsd = Statsd::new(StatsdOptions { flush_interval: Duration::from_millis(5), ..options }).unwrap();
        statsd.start(runtime.handle());
        statsd.start(runtime.handle());
        for _ in 0..2 {
            let _ = statsd.increment(&key("hits", &[]), 1.0);
            assert_eq!(receive(|packet| socket.recv(packet), |server| server.lines > 0).counters["hits"], 1.0);
        }
        let task = statsd.task.lock().take().unwrap();
        if close {
            statsd.close(LONG).unwrap();
            statsd.start(runtime.handle());
            assert!(statsd.task.lock().is_none(), "a closed client does not start");
        } else {
            drop(statsd);
        }
        runtime.block_on(async { tokio::time::timeout(LONG, task).await }).unwrap().unwrap();
    }
}

#[test]
fn another_client_is_made_from_the_options() {
    let (socket, options) = udp("127.0.0.1:0");
    let statsd = Statsd::new(StatsdOptions { prefix: "app".into(), ..options }).unwrap();
    let _ = statsd.increment(&key("lost", &[]), 1.0);
    let other = Statsd::new(statsd.options().clone()).unwrap();
    drop(statsd);
    let _ = other.increment(&key("hits", &[]), 1.0);
    other.flush(LONG).unwrap();
    let server = receive(|packet| socket.recv(packet), |server| server.lines > 0);
    assert_eq!(server.counters.keys().collect::<Vec<_>>(), ["app.hits"]);
}
