"""A `gds_notification` that answers as it is told to: a status, Retry-After, a reset, nothing."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LONG_SECONDS = 60.0
RESET = "reset"
HANG = "hang"


class Answering:
    """What came, and what is answered next: statuses, with headers or without, `RESET` or `HANG`; then 202."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.answers: deque[Any] = deque()
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.goes_on = threading.Event()
        self._changed = threading.Condition()

    def take(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Any:
        with self._changed:
            self.requests.append((path, headers, body))
            self._changed.notify_all()
            return self.answers.popleft() if self.answers else 202

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """The bodies, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, LONG_SECONDS), self.requests
            return [body for _, _, body in self.requests]


@contextmanager
def answering() -> Iterator[Answering]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answer = service.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            if answer == HANG:
                service.goes_on.wait(LONG_SECONDS)
            if answer in (HANG, RESET):
                self.close_connection = True
                return
            status, headers = answer if isinstance(answer, tuple) else (answer, {})
            self.send_response(status)
            for name, value in {"content-length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service = Answering(server)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield service
        finally:
            service.goes_on.set()
            server.shutdown()
            thread.join()
