"""``/healthz`` and ``/readyz``, from a thread of their own: they answer also when the event loop does not."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HealthServer"]

TIMEOUT_SECONDS = 5.0


class HealthServer:
    """Answers 200 if all is well, else 503, with a JSON object that says why.

    Args:
        healthz: Whether the process is alive; if not, a restart is what helps.
        readyz: Whether it does what it is there for.
        host: Where it listens.
        port: 0 is any that is free.
        page: Gives what ``/metrics`` shows, in the text format of Prometheus; None is nothing.

    Raises:
        OSError: It cannot listen there.
    """

    def __init__(
        self,
        healthz: Callable[[], tuple[bool, dict[str, Any]]],
        readyz: Callable[[], tuple[bool, dict[str, Any]]],
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        page: Callable[[], bytes] | None = None,
    ) -> None:
        checks = {"/healthz": healthz, "/readyz": readyz}

        class Handler(BaseHTTPRequestHandler):
            timeout = TIMEOUT_SECONDS

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics" and page is not None:
                    self._answer(200, "text/plain; version=0.0.4; charset=utf-8", page())
                    return
                check = checks.get(path)
                good, body = (False, {"error": "there are /healthz and /readyz"}) if check is None else check()
                code = 404 if check is None else 200 if good else 503
                self._answer(code, "application/json", json.dumps(body, ensure_ascii=False).encode())

            def _answer(self, code: int, kind: str, body: bytes) -> None:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: somebody asks every few seconds."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="gds-monitor-health", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
