"""A running ``gds alert run``, the samples it reads, and a `gds_notification` that takes its messages."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from typing_extensions import Self

from gds_kafka import KafkaProducerClient
from tests.cli.commands import COMMAND, clean_environment

LONG_SECONDS = 60.0
TOPIC = "gds.metrics.postgresql.production"


class Watcher:
    """The process, and what it prints on both ways."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.printed: list[str] = []
        self._lines: Queue[str | None] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_for(self, part: str) -> str:
        """The next line with ``part``."""
        until = time.monotonic() + LONG_SECONDS
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                line = None
            assert line is not None, f"no line with {part!r}:\n" + "\n".join(self.printed)
            self.printed.append(line)
            if part in line:
                return line

    def end(self, number: int) -> int:
        """Send a signal; the exit code, and all that was printed is there."""
        self.process.send_signal(number)
        code = self.process.wait(LONG_SECONDS)
        while (line := self._lines.get(timeout=LONG_SECONDS)) is not None:
            self.printed.append(line)
        return code


@contextmanager
def watching(rules: Path, hub: str, *arguments: str, **variables: str) -> Iterator[Watcher]:
    """``gds alert run`` from when it says that it watches; killed where a test gives up."""
    command = [*COMMAND, "alert", "run", "--rules", str(rules), "--hub", hub, *arguments]
    with subprocess.Popen(
        command, env=clean_environment(variables), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            watcher = Watcher(process)
            watcher.wait_for("gds: watching ")
            yield watcher
        finally:
            process.kill()


class Ingest:
    """Answers ``POST /ingest`` as `gds_notification` does, and keeps what it had not seen by its id."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.by_id: dict[str, dict[str, Any]] = {}
        self.requests = 0
        self._changed = threading.Condition()

    def take(self, message: dict[str, Any]) -> None:
        with self._changed:
            self.requests += 1
            self.by_id.setdefault(message["message_id"], message)
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """The first messages, in the order in which they came, once there are as many."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.by_id) >= count, LONG_SECONDS)
            assert enough, f"{len(self.by_id)} of {count} messages"
            return list(self.by_id.values())


@contextmanager
def ingest() -> Iterator[Ingest]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["content-length"])))
            valid = self.path == "/ingest" and {"alert_name", "subject", "body_text", "message_id"} <= message.keys()
            if valid:
                received.take(message)
            self.send_response(202 if valid else 422)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received = Ingest(server)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def signs_of_life() -> Iterator[tuple[str, Queue[dict[str, Any]]]]:
    """A URL, and what is posted to it."""
    posted: Queue[dict[str, Any]] = Queue()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            posted.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", posted
        finally:
            server.shutdown()
            thread.join()


class Measuring:
    """Publishes values of ``cpu_usage``, each newer than the one before."""

    def __init__(self, hub: str) -> None:
        self._producer = KafkaProducerClient(hub)
        self._ms = time.time_ns() // 1_000_000

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close()

    def measure(self, instance: str, value: float) -> None:
        """Returns once the hub has it."""
        self._ms += 1
        message = {
            "timestamp": self._ms / 1000,
            "database_type": "postgresql",
            "instance_id": instance,
            "metric_name": "cpu_usage",
            "value": value,
            "tags": {"environment": "production"},
        }
        self._producer.send(TOPIC, message, key=instance)
        assert self._producer.flush(LONG_SECONDS) == 0
