"""A web application under gunicorn whose workers are killed: every request that was answered is counted once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.metrics.programs import environment
from tests.services.process import http_text, wait_until

pytestmark = pytest.mark.timing

WORKERS = 3

APP = """
import os
from gds_metrics import PrometheusMetrics

made_by = os.getpid()
metrics = PrometheusMetrics(prefix="app", start_server=False)
page = metrics.wsgi_app()

def app(environ, start_response):
    if environ["PATH_INFO"] == "/metrics":
        return page(environ, start_response)
    metrics.increment("requests", labels={"path": environ["PATH_INFO"]})
    metrics.timing("took", 1.5)
    body = b"%d %d" % (os.getpid(), made_by)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""


class Gunicorn:
    """A master with its workers."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log
        found = wait_until(
            lambda: re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", log.read_text()), what=log.read_text
        )
        assert found is not None
        self.port = int(found[1])
        self.wait_for_workers()

    def wait_for_workers(self) -> None:
        wait_until(lambda: len(self.workers()) == WORKERS, what=self.log.read_text)

    def workers(self) -> set[int]:
        alive = set()
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # it ended while it was asked
                if child.status() != psutil.STATUS_ZOMBIE:
                    alive.add(child.pid)
        return alive

    def request(self, path: str = "/") -> tuple[int, int]:
        """The worker that answered, and the process that made its collector."""
        worker, maker = http_text(self.port, path).split()
        return int(worker), int(maker)

    def kill(self, worker: int) -> None:
        """Returns when the worker is gone and the number of workers is what it was."""
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: worker not in self.workers(), what="the end of a killed worker")
        self.wait_for_workers()

    def counted(self) -> Counter[str]:
        """Requests by path, and how many took a time."""
        counts: Counter[str] = Counter()
        for family in text_string_to_metric_families(http_text(self.port, "/metrics")):
            for sample in family.samples:
                if sample.name == "app_requests_total":
                    counts[sample.labels["path"]] = int(sample.value)
                if sample.name == "app_took_count":
                    counts["took"] = int(sample.value)
        return counts


@contextmanager
def gunicorn(folder: Path, *options: str) -> Iterator[Gunicorn]:
    (folder / "served.py").write_text(APP)
    log = folder / "log"
    # A short path, because gunicorn keeps a socket beside its files.
    with tempfile.TemporaryDirectory() as short, log.open("wb") as output:
        command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-m", "gunicorn"]
        # A worker told to end before it listens to signals is not told again: it is killed when this time is over.
        command += ["--graceful-timeout", "10", "--bind", "127.0.0.1:0", "--chdir", str(folder)]
        command += ["--workers", str(WORKERS), *options, "served:app"]
        extra = {"PROMETHEUS_MULTIPROC_DIR": str(folder / "shared"), "HOME": short, "XDG_RUNTIME_DIR": short}
        process = subprocess.Popen(command, cwd=folder, env=environment(extra), stdout=output, stderr=output)
        try:
            yield Gunicorn(process, log)
            process.terminate()
            assert process.wait(30) == 0, log.read_text()
            assert "Traceback" not in log.read_text(), log.read_text()
        finally:
            if process.poll() is None:
                for worker in psutil.Process(process.pid).children():
                    worker.kill()
                process.kill()
                process.wait()


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["each-loads", "preload"])
@pytest.mark.parametrize("kind", [("sync",), ("gthread", "--threads", "4")], ids=["sync", "gthread"])
def test_totals_are_exact_when_workers_are_killed_between_requests(
    tmp_path: Path, kind: tuple[str, ...], preload: tuple[str, ...]
) -> None:
    with gunicorn(tmp_path, "--worker-class", *kind, *preload) as server:
        answered: Counter[str] = Counter()
        answering = set()
        for kill in range(8):
            for _ in range(5):
                for path in ("/a", "/b"):
                    worker, maker = server.request(path)
                    answering.add(worker)
                    answered[path] += 1
                    answered["took"] += 1
                    assert maker == (server.process.pid if preload else worker)
                    assert server.counted() == answered
            server.kill(max(answering & server.workers()) if kill % 2 else sorted(server.workers())[0])
            assert server.counted() == answered
        assert len(answering) > 4
        alive = len(server.workers()) + bool(preload)
        # Workers that have not answered yet may still be without a file.
        assert len(list((tmp_path / "shared").glob("*.gds"))) <= alive
        assert len(list((tmp_path / "shared").glob("*.gds-archive"))) == 1


def test_counters_never_go_back_when_workers_are_killed_under_load(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "--worker-class", "gthread", "--threads", "4", "--preload") as server:
        answered, failed, stop = [0] * 3, [0] * 3, threading.Event()

        def load(client: int) -> None:
            while not stop.is_set():
                counts = answered if is_answered(server) else failed
                counts[client] += 1

        clients = [threading.Thread(target=load, args=(client,)) for client in range(3)]
        for client in clients:
            client.start()
        try:
            last = 0
            for kill in range(10):
                before = sum(answered)
                wait_until(lambda before=before: sum(answered) > before + 20, what="answers")  # type: ignore[misc]
                acknowledged = sum(answered)
                now = wait_until(lambda: scraped(server), what="a scrape that no kill cut off")
                assert now >= acknowledged
                assert now >= last
                last = now
                if kill < 9:
                    server.kill(sorted(server.workers())[kill % 3])
        finally:
            stop.set()
            for client in clients:
                client.join()
        # A request that was cut off was counted, or it was not.
        total = server.counted()["/load"]
        assert sum(answered) <= total <= sum(answered) + sum(failed)


def is_answered(server: Gunicorn) -> bool:
    try:
        return bool(server.request("/load"))
    except (OSError, HTTPException):
        return False


def scraped(server: Gunicorn) -> int:
    try:
        return server.counted()["/load"]
    except (OSError, HTTPException):
        return 0
