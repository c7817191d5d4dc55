//! The server as clients meet it: over sockets, on free ports, each wait with a deadline.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream as BlockingStream;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use gds_net::testing::Pki;
#[cfg(unix)]
use gds_net::testing::listening_on;
use gds_net::tls::{client_config, server_config};
use gds_net::{Auth, Error, Limits, Server, ServerOptions};
use gds_process::sync::Mutex;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsConnector;

use super::{Page, PageHandler};
use crate::format::Format;
#[cfg(unix)]
use gds_process::fork::testing::{Child, FORKS};

/// Far beyond what any of this takes; only a failure waits for it.
const DEADLINE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

/// A page that is always the same.
struct Fixed(Vec<u8>);

impl Page for Fixed {
    fn render(&self, _: Format, names: &[String]) -> crate::Result<Vec<u8>> {
        Ok(if names.is_empty() { self.0.clone() } else { names.join(",").into_bytes() })
    }
}

/// A page that says when it is asked for and is ready when told.
struct Slow {
    asked: mpsc::Sender<()>,
    ready: Mutex<mpsc::Receiver<()>>,
}

impl Page for Slow {
    fn render(&self, _: Format, _: &[String]) -> crate::Result<Vec<u8>> {
        self.asked.send(()).unwrap();
        self.ready.lock().recv_timeout(DEADLINE).unwrap();
        Ok(b"at last\n".to_vec())
    }
}

fn slow() -> (Arc<Slow>, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let ((asked, was_asked), (be_ready, ready)) = (mpsc::channel(), mpsc::channel());
    (Arc::new(Slow { asked, ready: Mutex::new(ready) }), was_asked, be_ready)
}

fn options() -> ServerOptions {
    ServerOptions::new("127.0.0.1", 0)
}

fn limited(change: impl FnOnce(&mut Limits)) -> ServerOptions {
    let mut options = options();
    change(&mut options.limits);
    options
}

fn start(options: ServerOptions) -> Server {
    start_with(options, Arc::new(Fixed(b"up 1\n".to_vec())))
}

fn start_with(options: ServerOptions, page: Arc<dyn Page>) -> Server {
    start_for(options, page, Auth::None)
}

fn start_for(options: ServerOptions, page: Arc<dyn Page>, auth: Auth) -> Server {
    Server::start(options, Arc::new(PageHandler { page, auth }), runtime().handle()).unwrap()
}

fn connect(server: &Server) -> BlockingStream {
    let stream = BlockingStream::connect(server.local_addr()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Everything that the server says until it hangs up.
fn rest(mut stream: BlockingStream) -> String {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8(said).unwrap(),
    }
}

fn ask(server: &Server, request: &str) -> String {
    let mut stream = connect(server);
    stream.write_all(request.as_bytes()).unwrap();
    rest(stream)
}

fn get(server: &Server, target: &str, headers: &str) -> String {
    ask(server, &format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"))
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn the_page_is_served_with_its_headers() {
    let server = start(options());
    let answer = get(&server, "/metrics", "");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    assert!(answer.contains("content-length: 5\r\n") && answer.ends_with("\r\n\r\nup 1\n"), "{answer}");
    let lists = "accept: text/html\r\naccept: application/openmetrics-text\r\n";
    assert!(get(&server, "/", lists).contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(get(&server, "/metrics?name%5B%5D=a&name[]=b", "").ends_with("\r\n\r\na,b"));
    assert!(get(&server, "/healthz", "").ends_with("\r\n\r\nok\n"));
    assert!(get(&server, "/other", "").starts_with("HTTP/1.1 404 "));
}

#[test]
fn head_tells_the_length_and_sends_no_body() {
    let server = start(options());
    let answer = ask(&server, "HEAD /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("content-length: 5\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn other_methods_are_refused_and_bodies_are_not_read() {
    let server = start(options());
    let answer = ask(&server, "DELETE /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    for body in ["content-length: 100000000000", "transfer-encoding: chunked"] {
        let answer = ask(&server, &format!("GET /metrics HTTP/1.1\r\nhost: x\r\n{body}\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
}

#[test]
fn a_large_page_is_zipped_on_the_wire() {
    let server = start_with(options(), Arc::new(Fixed(b"up 1\n".repeat(1000))));
    let mut stream = connect(&server);
    let request = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\naccept-encoding: gzip\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut zipped = false;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        zipped |= line == "content-encoding: gzip\r\n";
        if line == "\r\n" {
            break;
        }
    }
    assert!(zipped);
    let mut page = Vec::new();
    flate2::read::GzDecoder::new(reader).read_to_end(&mut page).unwrap();
    assert_eq!(page, b"up 1\n".repeat(1000));
}

#[test]
fn a_rotated_token_counts_from_the_next_request() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old").unwrap();
    let page = Arc::new(Fixed(b"up 1\n".to_vec()));
    let server = start_for(options(), page, Auth::bearer_file(file.path()).unwrap());
    let status = |token: &str| {
        get(&server, "/metrics", &format!("authorization: Bearer {token}\r\n")).split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!((&*status("old"), &*status("new")), ("200", "401"));
    std::fs::write(file.path(), "new").unwrap();
    assert_eq!((&*status("old"), &*status("new")), ("401", "200"));
    assert!(get(&server, "/healthz", "").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_connection_serves_many_requests_and_ends_when_idle() {
    let server = start(limited(|limits| limits.idle_timeout = SHORT));
    let mut stream = connect(&server);
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    for _ in 0..3 {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut line = String::new();
        while line != "up 1\n" {
            line.clear();
            assert_ne!(reader.read_line(&mut line).unwrap(), 0, "closed too early");
        }
    }
    assert_eq!(reader.read_line(&mut String::new()).unwrap(), 0);
    assert_eq!(server.stats().accepted, 1);
}

#[test]
fn a_client_that_ends_its_side_still_gets_the_page() {
    let server = start(options());
    let mut stream = connect(&server);
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(rest(stream).ends_with("up 1\n"));
}

#[test]
fn silence_and_trickled_headers_end_at_the_limit() {
    let server = start(limited(|limits| limits.header_timeout = SHORT));
    assert_eq!(rest(connect(&server)), "");

    for first in ["", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let mut stream = connect(&server);
        stream.write_all(first.as_bytes()).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
        // A byte every few milliseconds, each within the limit of the one before.
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let started = Instant::now();
        let mut scratch = [0; 4096];
        loop {
            assert!(started.elapsed() < DEADLINE, "a client that sends slowly was waited for");
            if stream.write_all(b"x").is_err() {
                break;
            }
            match stream.read(&mut scratch) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => break,
                Ok(_) => assert!(!first.is_empty(), "half a request was answered"),
            }
        }
    }
    eventually("no connection is left", || server.stats().open == 0);
}

#[test]
fn headers_beyond_the_limits_are_a_431() {
    let server = start(options());
    let answer = get(&server, "/", &format!("large: {}\r\n", "x".repeat(17 * 1024)));
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer = get(&server, "/", &"many: x\r\n".repeat(65));
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(get(&server, "/", &"many: x\r\n".repeat(60)).starts_with("HTTP/1.1 200 "));
}

#[test]
fn connections_beyond_the_limit_are_told_to_come_back() {
    let server = start(limited(|limits| limits.connections = 2));
    let both = [connect(&server), connect(&server)];
    eventually("both are open", || server.stats().open == 2);
    let answer = rest(connect(&server));
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1\r\n"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    drop(both);
    eventually("both are closed", || server.stats().open == 0);
    assert!(get(&server, "/", "").starts_with("HTTP/1.1 200 "));
    assert_eq!((server.stats().accepted, server.stats().refused), (4, 1));
}

#[test]
fn a_reader_that_stops_or_dawdles_is_let_go() {
    const SIZE: usize = 64 * 1024 * 1024;
    let page = Arc::new(Fixed(vec![b'x'; SIZE]));
    let server = start_with(limited(|limits| limits.write_timeout = 2 * SHORT), page);

    let mut stopped = connect(&server);
    stopped.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    eventually("the connection is open", || server.stats().open == 1);
    eventually("the reader that stopped is gone", || server.stats().open == 0);

    let mut dawdling = connect(&server);
    dawdling.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    eventually("the connection is open", || server.stats().accepted == 2);
    let (mut taken, mut piece) = (0, vec![0; 32 * 1024]);
    while server.stats().open > 0 {
        // 32 KiB in a millisecond: what the kernel's buffers hold is taken well within the limit, the page in ten
        // times as long.
        taken += dawdling.read(&mut piece).unwrap_or(0);
        assert!(taken < SIZE, "the page was written however long it took");
        let next = Instant::now() + Duration::from_millis(1);
        eventually("the next turn", || Instant::now() > next);
    }
}

#[test]
fn a_slow_page_holds_up_nobody_else() {
    let (page, asked, ready) = slow();
    // Far less than the page takes: no limit runs while the server is the one that is waited for.
    let server = start_with(limited(|limits| (limits.header_timeout, limits.write_timeout) = (SHORT, SHORT)), page);
    let mut waiting = connect(&server);
    waiting.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    asked.recv_timeout(DEADLINE).unwrap();
    assert!(get(&server, "/healthz", "").ends_with("ok\n"));
    let until = Instant::now() + 2 * SHORT;
    eventually("the limits have passed", || Instant::now() > until);
    ready.send(()).unwrap();
    assert!(rest(waiting).ends_with("at last\n"));
}

#[test]
fn stop_frees_the_port_and_lets_requests_in_flight_finish() {
    #[cfg(unix)]
    let _unforked = FORKS.read();
    let (page, asked, ready) = slow();
    let server = start_with(options(), page);
    let mut waiting = connect(&server);
    waiting.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    asked.recv_timeout(DEADLINE).unwrap();

    server.stop();
    let refused = BlockingStream::connect(server.local_addr()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let again = start(ServerOptions::new("127.0.0.1", server.local_addr().port()));
    assert_eq!(again.local_addr(), server.local_addr());

    ready.send(()).unwrap();
    assert!(rest(waiting).ends_with("at last\n"), "whole, and then the connection ends");
    server.stop();
}

#[test]
fn stop_hangs_up_at_the_limit_and_on_idle_connections() {
    let server = start(limited(|limits| limits.drain_timeout = SHORT));
    let silent = connect(&server);
    eventually("it is open", || server.stats().open == 1);
    server.stop();
    assert_eq!(rest(silent), "");
    eventually("it is closed", || server.stats().open == 0);
}

#[test]
fn dropping_a_server_stops_it() {
    #[cfg(unix)]
    let _unforked = FORKS.read();
    let server = start(options());
    let addr = server.local_addr();
    drop(server);
    assert_eq!(BlockingStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn an_address_that_cannot_be_used_is_told_at_start() {
    let server = start(options());
    let port = server.local_addr().port();
    let failed = |addr: &str, port| {
        let page = Arc::new(Fixed(Vec::new()));
        let handler = Arc::new(PageHandler { page, auth: Auth::None });
        Server::start(ServerOptions::new(addr, port), handler, runtime().handle()).unwrap_err()
    };
    let error = failed("127.0.0.1", port);
    assert!(matches!(error, Error::Listen { .. }));
    let text = error.to_string();
    assert!(text.contains(&format!("port {port}")) && text.contains("use port=0"), "{text}");
    for addr in ["", "no such host", "127.0.0.1:80", "[::1"] {
        assert!(matches!(failed(addr, 0), Error::Setting { setting: "addr", .. }), "{addr}");
    }
    // An address set aside for documentation, which no machine has (RFC 5737).
    assert!(failed("192.0.2.1", 0).to_string().contains("an address of this machine"));
}

#[test]
fn ipv6_works_with_and_without_brackets() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return; // A machine without IPv6.
    }
    for addr in ["::1", "[::1]"] {
        let server = start(ServerOptions::new(addr, 0));
        assert!(server.local_addr().is_ipv6());
        assert!(get(&server, "/", "").ends_with("up 1\n"));
    }
    let both = start(ServerOptions::new("::", 0));
    BlockingStream::connect(("127.0.0.1", both.local_addr().port())).unwrap();
}

#[test]
fn a_port_can_be_shared_when_both_want_to() {
    let shared = || ServerOptions { reuse_port: true, ..options() };
    let first = start(shared());
    let second = start(ServerOptions { port: first.local_addr().port(), ..shared() });
    assert_eq!(first.local_addr(), second.local_addr());
}

#[cfg(unix)]
#[test]
fn a_forked_child_keeps_neither_the_port_nor_a_connection() {
    let _alone = FORKS.write();
    let server = start(options());
    let mut stream = connect(&server);
    stream.write_all(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
    let child = Child::fork();
    let addr = server.local_addr();
    drop(server);
    std::net::TcpListener::bind(addr).unwrap();
    // The rest of the answer, should it have come in pieces; what counts is that it ends although the child lives.
    rest(stream);
    drop(child);
}

#[cfg(unix)]
#[test]
fn a_server_dropped_in_a_forked_child_leaves_the_number_of_its_socket_alone() {
    let _alone = FORKS.write();
    let server = start(options());
    let fd = listening_on(&server).unwrap();
    assert!(Child::keeps_open(fd, &server));
    assert!(get(&server, "/", "").ends_with("up 1\n"), "the parent goes on");
}

/// The answer to a request over TLS, or None when the server did not want to talk.
async fn ask_tls(server: &Server, client: rustls::ClientConfig) -> Option<String> {
    let stream = tokio::net::TcpStream::connect(server.local_addr()).await.unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.ok()?;
    let mut answer = String::new();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.ok()?;
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

#[test]
fn tls_serves_those_who_trust_it() {
    let pki = Pki::new();
    let (cert, key) = pki.issue("server");
    let tls = server_config(Some(&cert), Some(&key), None).unwrap();
    let server = start(ServerOptions { tls, ..options() });
    let trusting = client_config(Some(&pki.path("ca.pem")), None, None).unwrap();
    let answer = runtime().block_on(ask_tls(&server, trusting)).unwrap();
    assert!(answer.ends_with("up 1\n"), "{answer}");

    let other = Pki::new();
    let distrusting = client_config(Some(&other.path("ca.pem")), None, None).unwrap();
    assert_eq!(runtime().block_on(ask_tls(&server, distrusting)), None);
    eventually("the failure is counted", || server.stats().handshake_failures == 1);
}

#[test]
fn mutual_tls_serves_those_it_knows() {
    let pki = Pki::new();
    let (cert, key) = pki.issue("server");
    let (client_cert, client_key) = pki.issue("client");
    let ca = pki.path("ca.pem");
    let tls = server_config(Some(&cert), Some(&key), Some(&ca)).unwrap();
    let server = start(ServerOptions { tls, ..options() });

    let known = client_config(Some(&ca), Some(&client_cert), Some(&client_key)).unwrap();
    assert!(runtime().block_on(ask_tls(&server, known)).unwrap().ends_with("up 1\n"));
    let anonymous = client_config(Some(&ca), None, None).unwrap();
    assert_eq!(runtime().block_on(ask_tls(&server, anonymous)), None);
    let strangers = Pki::new();
    let (stranger_cert, stranger_key) = strangers.issue("client");
    let stranger = client_config(Some(&ca), Some(&stranger_cert), Some(&stranger_key)).unwrap();
    assert_eq!(runtime().block_on(ask_tls(&server, stranger)), None);
}

#[test]
fn a_handshake_that_does_not_come_ends_at_the_limit() {
    let pki = Pki::new();
    let (cert, key) = pki.issue("server");
    let mut options = limited(|limits| limits.handshake_timeout = SHORT);
    options.tls = server_config(Some(&cert), Some(&key), None).unwrap();
    let server = start(options);
    assert_eq!(rest(connect(&server)), "");
    eventually("the failure is counted", || server.stats().handshake_failures == 1);
}
