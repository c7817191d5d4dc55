//! One connection of the built-in server, from the TLS handshake to the last byte.
//!
//! Every wait has an end: the handshake, the head of a request, the pause between two requests, the writing of a
//! response. Hyper bounds the pause; [`Paced`] adds the head and the writing.

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep, timeout};

use crate::message::{RequestHead, Response};
use crate::state::{Limits, ServerState};
use gds_process::fork;

/// What Prometheus says of how long it waits.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";

/// Hyper refuses to work with less.
const SMALLEST_BUFFER: usize = 8192;

/// Serves `stream` until the client or a limit ends it, or until the server is stopped and what is in flight is done.
pub(super) async fn serve(stream: TcpStream, shared: &Arc<ServerState>) {
    let mut stop = shared.stop.subscribe();
    // A response is written in one go; waiting for more to send would only delay its last packet.
    let _ = stream.set_nodelay(true);
    let busy = Arc::new(AtomicBool::new(false));
    let mut stream = Paced::new(stream, shared.limits, Arc::clone(&busy));
    let Some(acceptor) = &shared.tls else {
        stream.expect_head();
        return exchange(stream, busy, shared, stop).await;
    };
    let handshake = timeout(shared.limits.handshake_timeout, acceptor.accept(stream));
    let accepted = tokio::select! {
        accepted = handshake => accepted,
        () = stopped(&mut stop) => return,
    };
    if let Ok(Ok(mut stream)) = accepted {
        stream.get_mut().0.expect_head();
        exchange(stream, busy, shared, stop).await;
    } else {
        shared.stats.handshake_failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns when the server is stopped.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stopped| *stopped).await;
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    busy: Arc<AtomicBool>,
    shared: &Arc<ServerState>,
    mut stop: watch::Receiver<bool>,
) {
    let limits = &shared.limits;
    let service = service_fn(|request: Request<Incoming>| {
        busy.store(true, Ordering::Relaxed);
        let shared = Arc::clone(shared);
        async move { Ok::<_, Infallible>(answer(request, shared).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_headers(limits.headers)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(SMALLEST_BUFFER))
        // Clients such as netcat end their side once they have asked.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // How a connection fails is the client's business, and nobody is there to be told.
    tokio::select! {
        // First, so that a response written after the stop says that the connection ends with it.
        biased;
        () = stopped(&mut stop) => {}
        _ = connection.as_mut() => return,
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(limits.drain_timeout, connection).await;
}

async fn answer(request: Request<Incoming>, shared: Arc<ServerState>) -> hyper::Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = match read(body, &shared.limits).await {
        Ok(body) => body,
        Err(refusal) => {
            // Unread, hyper takes what came along with the head and closes.
            let mut response = into_hyper(refusal);
            response.headers_mut().insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
            return response;
        }
    };
    // An answer may take milliseconds to write and to compress, which must not hold up other connections.
    let answered = tokio::task::spawn_blocking(move || respond_to(&parts, &body, &shared)).await;
    into_hyper(
        answered.unwrap_or_else(|_| Response::text(500, "the answer could not be written: see standard error\n")),
    )
}

/// The body of a request, if it is one that is taken.
async fn read(body: Incoming, limits: &Limits) -> Result<Bytes, Response> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if limits.body_bytes == 0 {
        return Err(Response::text(413, "content too large: send no body\n"));
    }
    // More than its declared length, or a connection that breaks, is no body either; to whom it broke nothing is told.
    match timeout(limits.header_timeout, Limited::new(body, limits.body_bytes).collect()).await {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(_)) => Err(Response::text(413, "content too large: send less\n")),
        Err(_) => Err(Response::text(408, "the request took too long: send it at once\n")),
    }
}

fn respond_to(parts: &Parts, body: &[u8], shared: &ServerState) -> Response {
    let (accept, accept_encoding) = (joined(&parts.headers, &ACCEPT), joined(&parts.headers, &ACCEPT_ENCODING));
    let head = RequestHead {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        accept: accept.as_deref(),
        accept_encoding: accept_encoding.as_deref(),
        authorization: parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()),
        scrape_timeout: parts.headers.get(SCRAPE_TIMEOUT).and_then(|value| value.to_str().ok()),
        content_type: parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()),
        body,
    };
    shared.handler.respond(&head)
}

/// A header that is a list, which may come in several lines (RFC 9110 section 5.3).
fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let first = values.next()?;
    Some(values.fold(Cow::Borrowed(first), |list, value| Cow::Owned(format!("{list}, {value}"))))
}

fn into_hyper(response: Response) -> hyper::Response<Full<Bytes>> {
    let mut answer = hyper::Response::new(Full::new(Bytes::from(response.body)));
    *answer.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in response.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    answer
}

/// A socket on which a request head and a response each have a time to be through.
///
/// The time for a head runs from its first byte (of the first one: from the beginning), that for a response from the
/// first moment that the client takes no more. Neither starts anew when a few bytes pass, so that a client which
/// sends or takes one byte now and then gains nothing.
struct Paced {
    /// Before the stream in order of dropping, as its contract wants.
    _close: fork::ChildClose,
    stream: TcpStream,
    limits: Limits,
    /// Set by the service when a request is complete, unset here when the response is out.
    busy: Arc<AtomicBool>,
    /// Whether anything was written since `busy` was set.
    answering: bool,
    head: Deadline,
    response: Deadline,
    /// Whether requests may come, as opposed to a handshake.
    expecting: bool,
}

impl Paced {
    fn new(stream: TcpStream, limits: Limits, busy: Arc<AtomicBool>) -> Self {
        Self {
            _close: fork::close_in_child(&stream),
            stream,
            limits,
            busy,
            answering: false,
            head: Deadline(None),
            response: Deadline(None),
            expecting: false,
        }
    }

    /// What comes next is the first request: before, a handshake has its own limit.
    fn expect_head(&mut self) {
        self.expecting = true;
        self.head.start(self.limits.header_timeout);
    }

    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// Passes `written` on, or bounds the wait for it.
    fn written<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.answering |= self.is_busy();
        if written.is_ready() || !self.expecting {
            return written;
        }
        self.response.start(self.limits.write_timeout);
        self.response.poll(cx).map(Err)
    }
}

impl AsyncRead for Paced {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if !this.expecting || this.is_busy() {
            // What arrives now is another request, sent ahead, or nothing that matters.
            this.head.stop();
            return read;
        }
        if read.is_ready() {
            this.head.start(this.limits.header_timeout);
            return read;
        }
        this.head.poll(cx).map(Err)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Hyper flushes when it has nothing more to write, and a socket keeps nothing back.
        if self.answering {
            self.answering = false;
            self.busy.store(false, Ordering::Relaxed);
            self.head.stop();
        }
        self.response.stop();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A point in time that may or may not have been set.
struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    /// Sets it, unless it is set.
    fn start(&mut self, after: Duration) {
        self.0.get_or_insert_with(|| Box::pin(sleep(after)));
    }

    fn stop(&mut self) {
        self.0 = None;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into()),
            None => Poll::Pending,
        }
    }
}
