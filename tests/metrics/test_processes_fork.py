"""A forked child without a shared folder: counts from zero, serves nothing by surprise, never hangs."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.metrics.programs import Program, run
from tests.services.process import accepts_tcp, http_text

pytestmark = pytest.mark.timing

SETUP = """
import os, select, signal, socket, sys, threading, time
from gds_metrics import PrometheusMetrics
metrics = PrometheusMetrics(prefix="", start_server=False)

def end(status=0):
    sys.stdout.flush()
    os._exit(status)

def wait(process_id, seconds=20):
    end = os.pidfd_open(process_id)
    ended, _, _ = select.select([end], [], [], seconds)
    os.close(end)
    if not ended:
        os.kill(process_id, signal.SIGKILL)
    status = os.waitpid(process_id, 0)[1]
    assert ended, "the child hangs"
    assert status == 0, f"the child ended with {status}"

def child(work):
    process_id = os.fork()
    if process_id == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            end(status)
    return process_id

def free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        probe.listen()
"""


def test_a_child_counts_from_zero_and_its_parent_goes_on() -> None:
    source = """
metrics.increment("requests", 5, {"path": "/"})
metrics.histogram("size", 1)
metrics.gauge("level", 3)

def work():
    assert metrics.sample("requests", {"path": "/"}) is None
    assert b"requests" not in metrics.render()
    metrics.increment("requests", 1, {"path": "/"})
    assert metrics.sample("requests", {"path": "/"}) == 1
    assert (metrics.sample("size"), metrics.sample("level")) == (None, None)
wait(child(work))
metrics.increment("requests", 1, {"path": "/"})
assert (metrics.sample("requests", {"path": "/"}), metrics.sample("size"), metrics.sample("level")) == (6, 1, 3)
"""
    run(SETUP + source)


def test_the_same_call_site_counts_in_the_process_that_runs_it() -> None:
    source = """
name, labels = "requests", {"path": "/", "method": "GET"}

def report(times):
    for _ in range(times):
        metrics.increment(name, 1, labels)

def grandchild():
    report(30)
    assert metrics.sample(name, labels) == 30

def work():
    report(20)
    assert metrics.sample(name, labels) == 20
    wait(child(grandchild))
    report(1)
    assert metrics.sample(name, labels) == 21
report(10)
for _ in range(3):
    wait(child(work))
report(1)
assert metrics.sample(name, labels) == 11
"""
    run(SETUP + source)


def test_each_fork_of_a_fork_starts_from_zero() -> None:
    source = """
def work(depth):
    metrics.increment("requests", depth)
    if depth < 8:
        wait(child(lambda: work(depth + 1)))
    assert metrics.sample("requests") == depth
work(1)
"""
    run(SETUP + source)


def test_a_child_does_not_wait_for_what_its_parent_was_calling() -> None:
    source = """
from gds_native._lib import interpreter_ends
begun, go_on = threading.Event(), threading.Event()

class Slow:
    def __str__(self):
        begun.set()
        go_on.wait()
        return "slow"
caller = threading.Thread(target=metrics.increment, args=("requests", 1, {"path": Slow()}))
caller.start()
begun.wait()

def work():
    # Each waits for two seconds where it believes that a thread of this process is in Python code.
    for _ in range(30):
        interpreter_ends()
try:
    wait(child(work))
finally:
    go_on.set()
    caller.join()
"""
    run(SETUP + source)


def test_a_child_calls_python_code_while_its_parent_ends() -> None:
    source = """
from gds_native._lib import interpreter_ends
ended = threading.Thread(target=interpreter_ends)
ended.start()
ended.join()

class Text:
    def __str__(self):
        return "text"

def work():
    metrics.increment("requests", 1, {"path": Text()})
    assert metrics.sample("requests", {"path": "text"}) == 1
wait(child(work))
"""
    run(SETUP + source)


def test_what_is_described_before_a_fork_holds_in_the_child() -> None:
    source = """
metrics.describe("size", help="Sizes.", buckets=[1, 10])

def work():
    metrics.histogram("size", 5)
    assert metrics.sample("size_bucket", {"le": "10"}) == 1, metrics.render().decode()
    assert b"# HELP size Sizes." in metrics.render()
wait(child(work))
"""
    run(SETUP + source)


SERVING = """
metrics = PrometheusMetrics(prefix="", port={port}, addr="127.0.0.1")
metrics.increment("requests", 5)
(told, tell), (begun, begin) = os.pipe(), os.pipe()
process_id = os.fork()
if process_id == 0:
    os.write(begin, b".")
    os.read(told, 1)
    end()
# A child closes what it inherited before it runs anything else, which may be long after the fork.
os.read(begun, 1)
"""


def test_the_port_of_the_parent_is_free_once_it_closes_while_the_child_lives(leased_port: int) -> None:
    with Program(SETUP + SERVING.format(port=leased_port)) as parent:
        assert "requests_total 5.0" in http_text(leased_port, "/metrics")
        parent.do("metrics.close()")
        assert not accepts_tcp(leased_port)
        parent.do(f"free({leased_port})")
        parent.do("os.write(tell, b'.'); wait(process_id)")


def test_the_port_is_free_once_the_parent_is_killed_while_the_child_lives(leased_port: int) -> None:
    serving = SERVING.format(port=leased_port)
    source = SETUP + serving.replace("os.read(told, 1)", "os.close(0); os.close(1); os.close(2); signal.pause()")
    with Program(source) as parent, Program(SETUP) as other:
        child = parent.ask("process_id")
        try:
            assert "requests_total 5.0" in http_text(leased_port, "/metrics")
            parent.kill()
            assert other.ask(f"os.kill({child}, 0)") is None, "the child lives"
            other.do(f"free({leased_port})")
        finally:
            other.do(f"os.kill({child}, signal.SIGKILL)")


def test_a_child_serves_a_port_of_its_own_when_asked_to(leased_port: int) -> None:
    with Program(SETUP + "metrics = PrometheusMetrics(prefix='', port=0, addr='127.0.0.1')") as parent:
        parent.do(f"wanted = {leased_port}")
        parent.do("""
metrics.increment("requests", 5)
(told, tell), (asked, ask) = os.pipe(), os.pipe()

def work():
    metrics.increment("requests", 2)
    os.write(tell, b"%d\\n" % metrics.start_server(wanted))
    os.read(asked, 1)
process_id = child(work)
child_port = int(os.read(told, 100))
""")
        own, other = parent.ask("metrics.port"), parent.ask("child_port")
        assert other == leased_port != own
        for _ in range(3):
            assert "requests_total 5.0" in http_text(own, "/metrics")
            assert "requests_total 2.0" in http_text(other, "/metrics")
        parent.do("os.write(ask, b'.'); wait(process_id)")
        assert not accepts_tcp(other)
        assert "requests_total 5.0" in http_text(own, "/metrics")


def test_a_child_has_no_server_and_closing_there_leaves_the_parent_serving() -> None:
    with Program(SETUP + "metrics = PrometheusMetrics(prefix='', port=0, addr='127.0.0.1')") as parent:
        port = parent.ask("metrics.port")
        parent.do("""
def work():
    global metrics
    metrics.increment("requests")
    metrics.close()
    del metrics
    import gc
    gc.collect()
metrics.increment("requests", 5)
for _ in range(10):
    wait(child(work))
""")
        assert "requests_total 5.0" in http_text(port, "/metrics")


def test_a_fork_while_threads_count_and_a_scrape_runs_never_hangs_the_child() -> None:
    source = """
metrics = PrometheusMetrics(prefix="", port=0, addr="127.0.0.1")
stop = threading.Event()

def count(thread):
    n = 0
    while not stop.is_set():
        n += 1
        metrics.increment("requests", 1, {"thread": str(thread)})
        metrics.histogram(f"size_{n % 50}", n, {"n": str(n % 500)})
        metrics.describe(f"size_{n % 50}", help="Sizes.")

def scrape():
    while not stop.is_set():
        metrics.render()
        metrics.sample("requests", {"thread": "0"})

threads = [threading.Thread(target=count, args=(n,)) for n in range(8)] + [threading.Thread(target=scrape)]
for thread in threads:
    thread.start()

def grandchild():
    metrics.increment("requests", 1, {"thread": "0"})
    assert metrics.sample("requests", {"thread": "0"}) == 1

def work():
    metrics.increment("requests", 1, {"thread": "0"})
    metrics.histogram("size_1", 1)
    assert metrics.sample("requests", {"thread": "0"}) == 1
    metrics.render()
    if repetition % 10 == 0:
        metrics.start_server(0)
    wait(child(grandchild))
try:
    for repetition in range(40):
        wait(child(work))
finally:
    stop.set()
    for thread in threads:
        thread.join()
"""
    run(SETUP + source)


def test_a_fork_while_pages_of_a_folder_are_merged_keeps_no_lock(tmp_path: object) -> None:
    source = """
folder = sys.argv[1]
metrics = PrometheusMetrics(prefix="", start_server=False, multiprocess_dir=folder)
metrics.increment("requests")
stop = threading.Event()

def scrape():
    while not stop.is_set():
        metrics.sample("requests")
threads = [threading.Thread(target=scrape) for _ in range(2)]
for thread in threads:
    thread.start()
told, tell = os.pipe()

def work():
    os.close(tell)
    os.read(told, 1)
children = [child(work) for _ in range(40)]
stop.set()
for thread in threads:
    thread.join()
# Were the lock of a scrape kept by one of them, this would give up after five seconds.
begun = time.monotonic()
assert metrics.sample("requests") == 1
assert time.monotonic() - begun < 4
os.close(tell)
for process_id in children:
    wait(process_id)
"""
    run(SETUP + source, tmp_path)


class Receiver(ThreadingHTTPServer):
    """Takes OTLP over HTTP and keeps what it got."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.bodies: list[bytes] = []


class _Take(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_forked_children_are_service_instances_of_their_own(receiver: Receiver) -> None:
    source = """
from gds_metrics import OpenTelemetryMetrics
endpoint = f"http://127.0.0.1:{sys.argv[1]}/v1/metrics"
otlp = OpenTelemetryMetrics("forks", endpoint=endpoint, protocol="http/protobuf", compression="none")

def report():
    otlp.increment("requests")
    assert otlp.flush(20)
for _ in range(3):
    wait(child(report))
report()
"""
    run(SETUP + source, receiver.server_port)
    identities = [identity for body in receiver.bodies for identity in re.findall(rb"[0-9a-f]+(?:-[0-9a-f]+){4}", body)]
    assert len(identities) >= 4, "one of each process"
    assert len(set(identities)) == 4


def test_a_fork_beside_open_exporters_ends_well_and_both_processes_hand_over(receiver: Receiver) -> None:
    source = """
from gds_metrics import OpenTelemetryMetrics, StatsdMetrics
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 0))
server.settimeout(20)
endpoint = f"http://127.0.0.1:{sys.argv[1]}/v1/metrics"
otlp = OpenTelemetryMetrics("forks", endpoint=endpoint, protocol="http/protobuf", compression="none")
statsd = StatsdMetrics("127.0.0.1", server.getsockname()[1], flush_interval_seconds=600)

def report(who):
    for metrics in (otlp, statsd):
        for _ in range(3):
            metrics.increment(f"{who}.requests", labels={"a": "b"})
report("parent")
assert otlp.flush()
process_id = os.fork()
if process_id == 0:
    report("child")
    sys.exit(0)
wait(process_id)
# Of the child only what the child counted, and all of it.
datagram = server.recv(65536).decode()
assert "child.requests:3|c" in datagram and "parent" not in datagram, datagram
statsd.close()
datagram = server.recv(65536).decode()
assert "parent.requests:3|c" in datagram and "child" not in datagram, datagram
"""
    run(SETUP + source, receiver.server_port)
    about = [(b"parent.requests" in body, b"child.requests" in body) for body in receiver.bodies]
    assert (True, True) not in about, "no process exports what another counted"
    assert about.count((False, True)) == 1
    assert about.count((True, False)) >= 1


def test_many_forks_beside_open_exporters_never_hang(receiver: Receiver) -> None:
    source = """
from gds_metrics import OpenTelemetryMetrics, StatsdMetrics
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 0))
endpoint = f"http://127.0.0.1:{sys.argv[1]}/v1/metrics"
collectors = [
    OpenTelemetryMetrics("forks", endpoint=endpoint, protocol="http/protobuf", interval_seconds=0.005),
    StatsdMetrics("127.0.0.1", server.getsockname()[1], flush_interval_seconds=0.005),
]
stop = threading.Event()

def count():
    while not stop.is_set():
        for metrics in collectors:
            metrics.increment("requests", labels={"a": "b"})
            metrics.histogram("size", 1)
threads = [threading.Thread(target=count) for _ in range(2)]
for thread in threads:
    thread.start()

def work():
    for metrics in collectors:
        metrics.increment("requests", labels={"a": "b"})
        if repetition % 5 == 0:
            assert metrics.flush(20)
        if repetition % 2 == 0:
            metrics.close()
try:
    for repetition in range(20):
        wait(child(work))
finally:
    stop.set()
    for thread in threads:
        thread.join()
"""
    run(SETUP + source, receiver.server_port)
