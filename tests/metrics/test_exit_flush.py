"""What was reported right before the end of a process arrives, however it ends, and the end never takes long."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from gds_metrics import _exit
from tests.metrics.test_otlp import run_program, summed_values
from tests.metrics.test_otlp_outage import hanging_receiver, refusing_port
from tests.metrics.test_statsd import Agent, agent, unix_agent
from tests.services.run import OtelCollector, wait_until

pytestmark = pytest.mark.timing

__all__ = ["agent"]

PREAMBLE = """
import multiprocessing, os, signal, sys, threading
from gds_metrics import OpenTelemetryMetrics, StatsdMetrics

def make():
    if sys.argv[1] == "otlp":
        return OpenTelemetryMetrics(endpoint=sys.argv[2], interval_seconds=3600, temporality="delta")
    return StatsdMetrics("127.0.0.1", int(sys.argv[2]), flush_interval_seconds=3600)
"""

# Each reports `jobs`, in all five times.
ENDINGS = {
    "the end of the program": """
metrics = make()
metrics.increment("jobs", 5)
""",
    "a collector that only a function knew": """
def main():
    make().increment("jobs", 5)
main()
""",
    "two collectors": """
one, other = make(), make()
one.increment("jobs", 2)
other.increment("jobs", 3)
""",
    "sys.exit": """
metrics = make()
metrics.increment("jobs", 5)
sys.exit(3)
""",
    "an unhandled exception": """
metrics = make()
metrics.increment("jobs", 5)
raise RuntimeError("on purpose")
""",
    "a signal that raises": """
metrics = make()
metrics.increment("jobs", 5)
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
os.kill(os.getpid(), signal.SIGTERM)
""",
    "a thread that goes on": """
metrics = make()
def work():
    threading.main_thread().join()
    metrics.increment("jobs", 5)
threading.Thread(target=work).start()
""",
    "a daemon thread": """
metrics = make()
started = threading.Event()
def work():
    metrics.increment("jobs", 5)
    started.set()
    threading.Event().wait()
threading.Thread(target=work, daemon=True).start()
started.wait()
""",
    "a forked process": """
metrics = make()
metrics.increment("jobs", 2)
child = os.fork()
if child:
    os.waitpid(child, 0)
else:
    metrics.increment("jobs", 3)
""",
    "a forked worker": """
metrics = make()
def work():
    metrics.increment("jobs", 3)
metrics.increment("jobs", 2)
worker = multiprocessing.get_context("fork").Process(target=work)
worker.start()
worker.join()
""",
    "a forked worker that fails": """
metrics = make()
def work():
    metrics.increment("jobs", 3)
    sys.exit(7)
metrics.increment("jobs", 2)
worker = multiprocessing.get_context("fork").Process(target=work)
worker.start()
worker.join()
""",
    "a forked worker with a collector of its own": """
def work():
    make().increment("jobs", 5)
worker = multiprocessing.get_context("fork").Process(target=work)
worker.start()
worker.join()
""",
    "a worker of a forked worker": """
metrics = make()
def work():
    metrics.increment("jobs", 1)
    inner = multiprocessing.get_context("fork").Process(target=metrics.increment, args=("jobs", 4))
    inner.start()
    inner.join()
worker = multiprocessing.get_context("fork").Process(target=work)
worker.start()
worker.join()
""",
    "workers of a pool": """
metrics = make()
def work(number):
    metrics.increment("jobs")
pool = multiprocessing.get_context("fork").Pool(2)
pool.map(work, range(5))
pool.close()
pool.join()
""",
}

# A spawned worker imports the program, so this one is a file.
SPAWN = (
    PREAMBLE
    + """
def work():
    make().increment("jobs", 5)

if __name__ == "__main__":
    worker = multiprocessing.get_context(sys.argv[3]).Process(target=work)
    worker.start()
    worker.join()
    sys.exit(worker.exitcode)
"""
)


class Receiver:
    """How a program is told where to report, and what arrived of `jobs`."""

    def __init__(self, arguments: tuple[str, str], arrived: Callable[[], float]) -> None:
        self.arguments = arguments
        self.arrived = arrived


@pytest.fixture(params=[pytest.param("otlp", marks=pytest.mark.server), "statsd"])
def receiver(request: pytest.FixtureRequest) -> Receiver:
    if request.param == "otlp":
        collector: OtelCollector = request.getfixturevalue("otel_collector")
        return Receiver(("otlp", collector.grpc_endpoint), lambda: sum(summed_values(collector, "jobs").values()))
    socket_agent: Agent = request.getfixturevalue("agent")
    lines: list[str] = []

    def arrived() -> float:
        lines.extend(socket_agent.lines())
        return sum(float(line.removeprefix("jobs:").removesuffix("|c")) for line in lines)

    return Receiver(("statsd", str(socket_agent.port)), arrived)


EXIT_CODES = {"sys.exit": 3, "an unhandled exception": 1}


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_was_reported_last_arrives_after(receiver: Receiver, ending: str) -> None:
    program = run_program(PREAMBLE + ENDINGS[ending], *receiver.arguments)
    assert program.returncode == EXIT_CODES.get(ending, 0), program.stderr
    if ending != "an unhandled exception":
        assert program.stderr == ""
    wait_until(lambda: receiver.arrived() >= 5, what=lambda: f"5, received {receiver.arrived()}")
    assert receiver.arrived() == 5


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_what_a_worker_reported_last_arrives(receiver: Receiver, method: str, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(SPAWN)
    runner = "import runpy, sys; sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
    program = run_program(runner, str(file), *receiver.arguments, method)
    assert (program.returncode, program.stderr) == (0, "")
    wait_until(lambda: receiver.arrived() >= 5, what=lambda: f"5, received {receiver.arrived()}")
    assert receiver.arrived() == 5


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_an_end_without_a_goodbye_loses_only_what_was_not_handed_over(receiver: Receiver, end: str) -> None:
    code = f"""
metrics = make()
metrics.increment("jobs", 5)
assert metrics.flush()
metrics.increment("jobs", 2)
{end}
"""
    program = run_program(PREAMBLE + code, *receiver.arguments)
    assert program.returncode in (0, -signal.SIGKILL)
    wait_until(lambda: receiver.arrived() >= 5, what=lambda: f"5, received {receiver.arrived()}")
    assert receiver.arrived() == 5


# The limit is 5 s; the rest is the start of Python on a busy machine.
MOST_SECONDS = 12.0


@contextmanager
def absent_socket() -> Iterator[str]:
    yield "/nonexistent/agent.sock"


@contextmanager
def full_socket() -> Iterator[str]:
    with unix_agent() as (_, path), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
        filler.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                filler.sendto(b"x:1|c", os.fspath(path))
        yield os.fspath(path)


AWAY: dict[str, tuple[Callable[[], Any], str, str]] = {
    "grpc refuses": (refusing_port, "OpenTelemetryMetrics(endpoint=place)", "not exported: cannot reach http://127"),
    "http refuses": (
        refusing_port,
        "OpenTelemetryMetrics(endpoint=place, protocol='http/protobuf')",
        "not exported: cannot reach http://127",
    ),
    "grpc hangs": (hanging_receiver, "OpenTelemetryMetrics(endpoint=place)", "no answer within"),
    "http hangs": (
        hanging_receiver,
        "OpenTelemetryMetrics(endpoint=place, protocol='http/protobuf')",
        "no answer within",
    ),
    "hangs during an export": (
        hanging_receiver,
        "OpenTelemetryMetrics(endpoint=place, interval_seconds=0.001)",
        "no answer within",
    ),
    "udp refuses": (
        refusing_port,
        "StatsdMetrics('127.0.0.1', int(place.rpartition(':')[2]))",
        "not sent to StatsD: cannot reach udp://127",
    ),
    "no socket": (absent_socket, "StatsdMetrics(socket_path=place)", "not sent to StatsD: cannot reach unixgram:"),
    "nobody reads": (full_socket, "StatsdMetrics(socket_path=place)", "not sent to StatsD: cannot reach unixgram:"),
}


@pytest.mark.parametrize("case", AWAY)
def test_an_exit_with_the_receiver_away_is_bounded_and_mentioned_once(case: str) -> None:
    away, construction, message = AWAY[case]
    code = f"""
import sys
from gds_metrics import OpenTelemetryMetrics, StatsdMetrics
place = sys.argv[1]
metrics = {construction}
metrics.increment("jobs", 5)
"""
    with away() as place:
        begin = monotonic()
        program = run_program(code, place)
        seconds = monotonic() - begin
    assert program.returncode == 0
    assert seconds < MOST_SECONDS
    [line] = program.stderr.splitlines()
    assert line.startswith("the last metrics were not ")
    assert message in line


def test_an_exit_with_several_receivers_that_hang_is_bounded_for_all_of_them() -> None:
    code = """
import sys
from gds_metrics import OpenTelemetryMetrics
all = [OpenTelemetryMetrics(endpoint=sys.argv[1], interval_seconds=3600) for _ in range(6)]
for metrics in all:
    metrics.increment("jobs")
"""
    with hanging_receiver() as url:
        begin = monotonic()
        program = run_program(code, url)
        seconds = monotonic() - begin
    assert len(program.stderr.splitlines()) == 6
    # One after the other, with five seconds for each, would take thirty.
    assert seconds < 2 * MOST_SECONDS


def test_what_was_closed_before_says_nothing_more_at_exit() -> None:
    code = """
import sys
from gds_metrics import OpenTelemetryMetrics
with OpenTelemetryMetrics(endpoint=sys.argv[1], interval_seconds=3600) as metrics:
    metrics.increment("jobs")
metrics.increment("jobs")
"""
    with refusing_port() as url:
        program = run_program(code, url)
    lines = program.stderr.splitlines()
    assert [("not exported" in line, "(closed)" in line) for line in lines] == [(True, False), (False, True)]


def test_a_collector_that_was_closed_is_let_go_of() -> None:
    class Closing:
        def close(self, timeout_seconds: float = 5.0) -> None:
            _exit.is_closed(self)

    collector = Closing()
    before = dict(_exit._open)
    _exit.close_at_exit(collector)
    assert collector in _exit._open.values()
    collector.close()
    assert _exit._open == before
    collector.close()


def test_one_collector_that_fails_to_close_keeps_no_other_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    class Closing:
        def __init__(self, name: str) -> None:
            self.name = name

        def close(self, timeout_seconds: float = 5.0) -> None:
            assert 0 < timeout_seconds <= _exit.TIMEOUT_SECONDS
            closed.append(self.name)
            if self.name == "broken":
                raise RuntimeError("on purpose")

    collectors = [Closing("sound"), Closing("broken")]  # what was made last is closed first
    monkeypatch.setattr(_exit, "_open", {id(collector): collector for collector in collectors})
    monkeypatch.setattr(_exit, "interpreter_ends", lambda: closed.append("threads told"))  # this one goes on
    _exit._close_all()
    assert closed == ["threads told", "broken", "sound", "threads told"]
