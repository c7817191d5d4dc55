"""HTTP for `gds_vault.testing.VaultServer`: it listens, and hands each request to the Vault behind it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

if TYPE_CHECKING:
    import ssl

    from gds_vault.testing import VaultServer

__all__ = ["Server", "SocketServer"]


class Server(ThreadingHTTPServer):
    """Listens on a port of 127.0.0.1."""

    # Threads are joined: `stop` leaves nothing behind.
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, vault: VaultServer, port: int, ssl_context: ssl.SSLContext | None) -> None:
        self.vault = vault
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)
        if ssl_context is not None:
            # The handshake is the connection's own business: it must not keep others from being accepted.
            self.socket = ssl_context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def finish_request(self, request: Any, client_address: Any) -> None:
        kind = _Handler if self.address_family == socket.AF_INET else _SocketHandler
        kind(request, client_address or ("", 0), self)  # a Unix socket has no address of a client

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or refused our certificate, is no news."""

    def close(self) -> None:
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class SocketServer(Server):
    """Listens at a Unix socket."""

    address_family = getattr(socket, "AF_UNIX", socket.AF_INET)

    def __init__(self, vault: VaultServer, path: str) -> None:
        self._path = path
        super().__init__(vault, 0, None)

    def server_bind(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108 - left by one that was stopped
        self.socket.bind(self._path)
        self.server_address = ("localhost", 0)
        self.server_name, self.server_port = self.server_address


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "gds-vault-testing"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length") or 0))
        vault = cast("Server", self.server).vault
        if vault.on_headers is not None:
            vault.on_headers(dict(self.headers))
        token = self.headers.get("x-vault-token")
        status, body, retry_after = vault._answer(self.command, self.path, token, content)
        redirect_to = vault.redirect_to
        if redirect_to is not None:
            status, body = 307, None
        if status == 0:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        encoded = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("cache-control", "no-store")
        if retry_after is not None:
            self.send_header("retry-after", retry_after)
        if redirect_to is not None:
            self.send_header("location", redirect_to.format(target=self.path, path=unquote(self.path)))
        if status != 204:
            self.send_header("content-length", str(len(encoded)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(encoded)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_LIST = _serve  # noqa: N815 - what http.server looks for

    def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002 - it asks for now only
        """The header ``Date``, by the clock that `VaultServer.advance` puts forward."""
        return super().date_time_string(cast("Server", self.server).vault._date().timestamp())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test has its own output."""


class _SocketHandler(_Handler):
    disable_nagle_algorithm = False  # which is a thing of TCP
