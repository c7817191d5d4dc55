"""Where a collector lives: threads, event loops, signals, sub-interpreters, and the end of the interpreter."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gds_metrics import PrometheusMetrics
from tests.metrics.programs import Program, run
from tests.services.process import http_get

pytestmark = pytest.mark.timing


@pytest.fixture
def metrics() -> PrometheusMetrics:
    return PrometheusMetrics(prefix="", start_server=False)


def test_eight_threads_lose_no_increment(metrics: PrometheusMetrics) -> None:
    times = 100_000

    def count(thread: int) -> None:
        own = {"thread": str(thread)}
        for _ in range(times):
            metrics.increment("requests")
            metrics.increment("requests_by_thread", 1, own)

    threads = [threading.Thread(target=count, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    last = 0.0
    while any(thread.is_alive() for thread in threads):
        now = metrics.sample("requests") or 0.0
        assert now >= last
        last = now
    for thread in threads:
        thread.join()
    assert metrics.sample("requests") == 8 * times
    assert [metrics.sample("requests_by_thread", {"thread": str(n)}) for n in range(8)] == [times] * 8


def test_threads_that_name_a_series_first_at_once_share_it(metrics: PrometheusMetrics) -> None:
    together = threading.Barrier(8)

    def count() -> None:
        for n in range(300):
            together.wait()
            # Made anew, so that nothing but the text tells that they are the same.
            metrics.increment(f"requests_{n % 10}", 1, {"n": f"{n:04}"})
            metrics.histogram("size", n, {"n": f"{n:04}"})

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in range(300):
        assert metrics.sample(f"requests_{n % 10}", {"n": f"{n:04}"}) == 8
        assert metrics.sample("size", {"n": f"{n:04}"}) == 8


async def scrape(app: Any) -> dict[str, float]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    await app({"type": "http", "method": "GET", "path": "/metrics", "query_string": b"", "headers": []}, receive, send)
    assert sent[0]["status"] == 200
    page = b"".join(message.get("body", b"") for message in sent[1:]).decode()
    return {sample.name: sample.value for family in text_string_to_metric_families(page) for sample in family.samples}


@pytest.mark.anyio
async def test_tasks_count_while_their_loop_serves_the_page(metrics: PrometheusMetrics) -> None:
    app = metrics.asgi_app()

    async def work(n: int) -> None:
        for _ in range(5):
            metrics.increment("requests")
            metrics.timing("took", n)
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(work(n)) for n in range(4000)]
    seen = []
    while not all(task.done() for task in tasks):
        values = await scrape(app)
        seen.append(values.get("requests_total", 0.0))
    await asyncio.gather(*tasks)
    assert seen == sorted(seen)
    assert (await scrape(app))["requests_total"] == 20_000
    assert metrics.sample("took_count") == 20_000


def test_a_signal_handler_counts_while_the_main_thread_does() -> None:
    source = """
import signal
from gds_metrics import PrometheusMetrics
metrics = PrometheusMetrics(prefix="", start_server=False)
handled = 0

class Slow:
    # Python code that runs inside of an increment, where a handler may run too.
    def __str__(self):
        return "".join(["s", "l", "o", "w"])

def handle(number, frame):
    global handled
    handled += 1
    metrics.increment("requests", 1, {"from": "handler"})
    metrics.increment("both")
    metrics.histogram("size", handled, {"n": str(handled)})
    if handled % 50 == 0:
        metrics.render()

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
times = 0
while handled < 300 or times < 20_000:
    metrics.increment("requests", 1, {"from": "main", "kind": Slow()})
    metrics.increment("both")
    metrics.histogram("size", times, {"n": str(times % 100)})
    times += 1
signal.setitimer(signal.ITIMER_REAL, 0)
assert metrics.sample("requests", {"from": "handler"}) == handled
assert metrics.sample("requests", {"from": "main", "kind": "slow"}) == times
assert metrics.sample("both") == handled + times
"""
    run(source)


SERVING = """
import signal, sys, threading
from gds_metrics import PrometheusMetrics
metrics = PrometheusMetrics(prefix="", port=0, addr="127.0.0.1")
for n in range(2000):
    metrics.increment("requests", 1, {"n": str(n)})
"""


class Scrapers:
    """Clients that ask for a page again and again, until its server has gone."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._pages = 0
        self._seen = threading.Event()
        self._threads = [threading.Thread(target=self._scrape) for _ in range(3)]
        for thread in self._threads:
            thread.start()
        assert self._seen.wait(30)

    def _scrape(self) -> None:
        while True:
            try:
                http_get(self._port, "/metrics")
            except Exception:  # refused, reset, or cut off in the middle
                return
            self._pages += 1
            if self._pages >= 5:
                self._seen.set()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("waiting", ["signal.pause()", "threading.Event().wait()", "metrics.increment('x')"])
def test_ctrl_c_ends_a_program_that_serves_pages(waiting: str) -> None:
    source = f"{SERVING}\nprint(metrics.port, flush=True)\nwhile True:\n    {waiting}"
    with Program(source=source) as program:
        scrapers = Scrapers(int(program.line()))
        begun = time.monotonic()
        program.process.send_signal(signal.SIGINT)
        assert program.end(expect=-signal.SIGINT).endswith("\nKeyboardInterrupt\n")
        assert time.monotonic() - begun < 5
        scrapers.join()


def test_the_threads_of_this_package_leave_signals_to_the_program() -> None:
    # A signal that another thread takes does not wake the main thread: Ctrl-C would be seen at the next wake-up only.
    source = """
import os, signal, sys
from urllib.request import ProxyHandler, build_opener
from gds_metrics import PrometheusMetrics
if not os.path.isdir("/proc/self/task"):
    sys.exit()
metrics = PrometheusMetrics(prefix="", port=0, addr="127.0.0.1")
# Answered, so that the threads have begun: until then the C library blocks all signals itself.
with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{metrics.port}/metrics") as page:
    page.read()
wanted = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD, signal.SIGUSR1}
own, others = str(os.getpid()), 0
for thread in os.listdir("/proc/self/task"):
    with open(f"/proc/self/task/{thread}/status") as status:
        fields = dict(line.rstrip().split(":", 1) for line in status)
    blocked = {number for number in wanted if int(fields["SigBlk"], 16) >> (number - 1) & 1}
    assert blocked == (set() if thread == own else wanted), (fields["Name"], blocked)
    others += thread != own
assert others
"""
    run(source)


@pytest.mark.parametrize("repetition", range(8))
def test_the_interpreter_ends_while_it_is_scraped_and_daemon_threads_count(repetition: int) -> None:
    source = (
        SERVING
        + """
def count():
    n = 0
    while True:
        n += 1
        metrics.increment("counted", 1, {"n": str(n % 100)})

def read():
    while True:
        metrics.render()
        metrics.sample("counted", {"n": "1"})

for work in (count, count, read, read):
    threading.Thread(target=work, daemon=True).start()
print(metrics.port, flush=True)
sys.stdin.readline()
"""
    )
    with Program(source=source) as program:
        scrapers = Scrapers(int(program.line()))
        begun = time.monotonic()
        assert program.end() == ""
        assert time.monotonic() - begun < 20
        scrapers.join()


PYTHON_FROM_RUST = {
    "spans": """
from opentelemetry import context, trace
span = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))

def work():
    context.attach(trace.set_span_in_context(trace.NonRecordingSpan(span)))
    while True:
        metrics.increment("requests")
        begun.set()
""",
    "labels": """
class Slow:
    def __str__(self):
        return "".join(["s", "l", "o", "w"])

def work():
    while True:
        metrics.increment("requests", 1, {"a": Slow()})
        begun.set()
""",
    "warnings": """
import logging

def slow(record):
    begun.set()
    for _ in range(300_000):  # the end of the interpreter waits two seconds, on a busy machine too
        pass
logging.getLogger("gds_metrics").addFilter(slow)

def work():
    metrics.increment("requests", -1)
""",
}


@pytest.mark.parametrize("what", PYTHON_FROM_RUST)
def test_the_interpreter_ends_while_an_increment_of_a_daemon_thread_is_in_python_code(what: str) -> None:
    source = f"""
import threading
from gds_metrics import PrometheusMetrics
metrics = PrometheusMetrics(prefix="", start_server=False)
begun = threading.Event()
{PYTHON_FROM_RUST[what]}
threading.Thread(target=work, daemon=True).start()
begun.wait()
"""
    for _ in range(6):
        run(source)


def test_the_interpreter_ends_with_collectors_of_every_kind_open() -> None:
    source = """
import socket, threading
from gds_metrics import CompositeMetrics, PrometheusMetrics, StatsdMetrics
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 0))
metrics = CompositeMetrics([
    PrometheusMetrics(prefix="", port=0, addr="127.0.0.1"),
    StatsdMetrics("127.0.0.1", server.getsockname()[1]),
    PrometheusMetrics(prefix="", start_server=False),
])

def count():
    while True:
        metrics.increment("requests")
for _ in range(3):
    threading.Thread(target=count, daemon=True).start()
metrics.increment("last")
"""
    run(source)


INTERPRETERS = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import importlib

def run_in(config, source):
    # Isolated or not: 3.13 takes a name, what came before a flag.
    try:
        named = hasattr(interpreters, "exec")
        made = interpreters.create(config) if named else interpreters.create(isolated=config != "legacy")
    except TypeError:
        made = interpreters.create()
    try:
        if hasattr(interpreters, "exec"):
            failure = interpreters.exec(made, source)
            return "" if failure is None else str(failure.formatted)
        try:
            interpreters.run_string(made, source)
        except interpreters.RunFailedError as error:
            return str(error)
        return ""
    finally:
        interpreters.destroy(made)
"""


@pytest.mark.parametrize("config", ["isolated", "legacy"])
def test_a_sub_interpreter_is_refused_and_the_main_one_goes_on(config: str) -> None:
    pytest.importorskip("_interpreters" if _has_interpreters() else "_xxsubinterpreters")
    source = (
        INTERPRETERS
        + f"""
use = "from gds_metrics import PrometheusMetrics; PrometheusMetrics(start_server=False).increment('requests')"
for loaded in (False, True):
    for _ in range(2):
        said = run_in({config!r}, use)
        assert "ImportError" in said and ("main interpreter" in said or "subinterpreters" in said), repr(said)
    if not loaded:
        from gds_metrics import PrometheusMetrics
        metrics = PrometheusMetrics(start_server=False)
    metrics.increment("requests", 1, {{"a": "b"}})
assert metrics.sample("requests", {{"a": "b"}}) == 2
"""
    )
    run(source)


def _has_interpreters() -> bool:
    return sys.version_info >= (3, 13)
