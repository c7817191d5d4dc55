"""What `StatsdMetrics` sends: as a real StatsD server adds it up, and as it is on the wire."""

from __future__ import annotations

import os
import socket
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gds_metrics import MetricsCollector, StatsdMetrics
from tests.metrics.doubles import METHODS, any_labels, anything
from tests.metrics.test_otlp import run_program
from tests.services.process import LOOPBACK
from tests.services.run import StatsdExporter, wait_until

# Nothing is sent by itself during a test that asks for it.
NEVER_SECONDS = 3600.0
TRANSPORTS = ("udp", "unixgram")


def client(server: StatsdExporter, transport: str = "udp", **settings: Any) -> StatsdMetrics:
    """Sends to the server, and only when told to."""
    settings.setdefault("flush_interval_seconds", NEVER_SECONDS)
    if transport == "udp":
        return StatsdMetrics(LOOPBACK, server.udp_port, **settings)
    return StatsdMetrics(socket_path=server.unixgram_path, **settings)


def samples(server: StatsdExporter, *names: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The server's samples of those names, with their labels; counters without ``_total``, which the parser adds."""
    return {
        (sample.name.removesuffix("_total"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(server.metrics())
        for sample in family.samples
        if sample.name.removesuffix("_total") in names
    }


def wait_for_samples(server: StatsdExporter, expected: dict[tuple[str, tuple[tuple[str, str], ...]], Any]) -> None:
    names = {name for name, _ in expected}
    wait_until(
        lambda: samples(server, *names) == expected,
        what=lambda: f"{expected}, the server shows {samples(server, *names)}",
    )


class Agent:
    """A socket that keeps what it is sent, as lines and as datagrams."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    def datagrams(self) -> list[bytes]:
        """What is in the queue, without waiting: on this machine what was sent is there."""
        self._socket.setblocking(False)
        found: list[bytes] = []
        with suppress(BlockingIOError):
            while True:
                found.append(self._socket.recv(65_536))
        return found

    def lines(self) -> list[str]:
        return [line for datagram in self.datagrams() for line in datagram.decode().split("\n")]


@pytest.fixture
def agent() -> Iterator[Agent]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind((LOOPBACK, 0))
        yield Agent(sock)


@contextmanager
def unix_agent() -> Iterator[tuple[socket.socket, Path]]:
    """A bound socket that nobody reads."""
    # Not under pytest's tmp_path, whose length leaves no room for a unix socket path.
    with tempfile.TemporaryDirectory(prefix="gds-") as folder:
        path = Path(folder, "agent.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(os.fspath(path))
            yield sock, path


def sender(agent: Agent, **settings: Any) -> StatsdMetrics:
    settings.setdefault("flush_interval_seconds", NEVER_SECONDS)
    return StatsdMetrics(LOOPBACK, agent.port, **settings)


def test_is_a_collector(agent: Agent) -> None:
    with sender(agent) as metrics:
        assert isinstance(metrics, MetricsCollector)
        assert bool(metrics)
        assert repr(metrics) == f"StatsdMetrics(host='127.0.0.1', port={agent.port})"
        assert str(metrics) == f"StatsD Metrics (127.0.0.1:{agent.port})"
    with StatsdMetrics(socket_path=Path("/run/agent.sock"), flush_interval_seconds=NEVER_SECONDS) as metrics:
        assert repr(metrics) == "StatsdMetrics(socket_path='/run/agent.sock')"
        assert str(metrics) == "StatsD Metrics (/run/agent.sock)"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_counters_add_up_exactly(statsd_exporter: StatsdExporter, transport: str) -> None:
    with client(statsd_exporter, transport, flush_interval_seconds=0.01) as metrics:

        def report(number: int) -> None:
            labels = {"path": f"/{number % 2}"}
            for _ in range(10_000):
                metrics.increment("requests", 1, labels)
            metrics.increment("bytes.sent", 0.5)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(report, range(4)))
    wait_for_samples(
        statsd_exporter,
        {
            ("requests", (("path", "/0"),)): 20_000,
            ("requests", (("path", "/1"),)): 20_000,
            ("bytes_sent", ()): 2,
        },
    )


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_gauges_show_what_was_set_last_below_zero_too(statsd_exporter: StatsdExporter, transport: str) -> None:
    with client(statsd_exporter, transport) as metrics:
        metrics.gauge("level", 7, {"pool": "a"})
        metrics.gauge("level", 5, {"pool": "a"})
        metrics.gauge("level", -3.25, {"pool": "b"})
        assert metrics.flush()
        metrics.gauge("level", -4, {"pool": "b"})
    wait_for_samples(statsd_exporter, {("level", (("pool", "a"),)): 5, ("level", (("pool", "b"),)): -4})


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_histograms_and_timings_arrive_value_by_value(statsd_exporter: StatsdExporter, transport: str) -> None:
    with client(statsd_exporter, transport) as metrics:
        for value in range(1, 1001):
            metrics.histogram("size", value, {"path": "/"})
            metrics.timing("query", value)
    wait_for_samples(
        statsd_exporter,
        {
            ("size_count", (("path", "/"),)): 1000,
            ("size_sum", (("path", "/"),)): 500_500,
            ("query_count", ()): 1000,
            # The server turns milliseconds into seconds, which rounds each of them.
            ("query_sum", ()): pytest.approx(500.5),
        },
    )


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_counters_are_right_when_the_server_comes_back(statsd_exporter: StatsdExporter, transport: str) -> None:
    with client(statsd_exporter, transport) as metrics:
        statsd_exporter.kill()
        for _ in range(3):
            metrics.increment("jobs", 2)
            metrics.gauge("level", 7)
            assert metrics.flush() is False
        assert metrics.stats()["flushes_failed"] == 3
        statsd_exporter.start()
        metrics.increment("jobs", 1)
        assert metrics.flush() is True
    wait_for_samples(statsd_exporter, {("jobs", ()): 7, ("level", ()): 7})


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_sending_resumes_by_itself(statsd_exporter: StatsdExporter, transport: str) -> None:
    with client(statsd_exporter, transport, flush_interval_seconds=0.02) as metrics:
        statsd_exporter.kill()
        metrics.increment("jobs", 3)
        wait_until(lambda: metrics.stats()["flushes_failed"] >= 2, what="two failures")
        statsd_exporter.start()
        wait_for_samples(statsd_exporter, {("jobs", ()): 3})


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_samples_wait_for_a_server_that_is_away_within_the_bound(
    statsd_exporter: StatsdExporter, transport: str
) -> None:
    with client(statsd_exporter, transport, max_buffered_samples=200) as metrics:
        statsd_exporter.kill()
        for value in range(1000):
            metrics.histogram("size", value)
        assert metrics.flush() is False
        # Half of the places are one series', and each value in them stands for ten.
        assert metrics.stats()["samples_thinned"] == 900
        assert metrics.stats()["samples_dropped"] == 0
        statsd_exporter.start()
    wait_for_samples(statsd_exporter, {("size_count", ()): 1000})


def test_lines_on_the_wire(agent: Agent) -> None:
    with sender(agent) as metrics:
        metrics.increment("requests")
        metrics.increment("requests", 2.5)
        metrics.gauge("level", 3)
        metrics.gauge("below", -2)
        metrics.histogram("size", 0.25)
        metrics.timing("query", 12.5)
        metrics.increment("big", 1e21)
    assert sorted(agent.lines()) == [
        "below:-2|g",
        "below:0|g",
        "big:1000000000000000000000|c",
        "level:3|g",
        "query:12.5|ms",
        "requests:3.5|c",
        "size:0.25|h",
    ]


def test_tags_are_in_one_order_whatever_that_of_the_labels(agent: Agent) -> None:
    with sender(agent) as metrics:
        metrics.increment("jobs", 1, {"zone": "b", "queue": "a"})
        metrics.increment("jobs", 1, {"queue": "a", "zone": "b"})
    assert agent.lines() == ["jobs:2|c|#queue:a,zone:b"]


def test_constant_tags_give_way_to_labels(agent: Agent) -> None:
    with sender(agent, tags={"env": "prod", "shard": 3}) as metrics:
        metrics.increment("jobs")
        metrics.increment("jobs", 1, {"env": "test"})
    assert sorted(agent.lines()) == ["jobs:1|c|#env:prod,shard:3", "jobs:1|c|#env:test,shard:3"]


@pytest.mark.parametrize("prefix", ["app", "app."])
def test_a_prefix_is_joined_by_a_dot(agent: Agent, prefix: str) -> None:
    with sender(agent, prefix=prefix) as metrics:
        metrics.increment("vault.secret.fetch")
    assert agent.lines() == ["app.vault.secret.fetch:1|c"]


def test_characters_with_a_meaning_are_replaced_and_others_kept(agent: Agent) -> None:
    labels: Any = {"a:b": "x|y,z#w\nv", "url": "http://host:80/", "größe": "€", "none": None, "yes": True, "number": 7}
    with sender(agent) as metrics:
        metrics.increment("a:b|c@d#e,f g\nh", 1, labels)
        metrics.increment("größe.€")
    assert sorted(agent.lines()) == [
        "a_b_c_d_e_f_g_h:1|c|#a_b:x_y_z_w_v,größe:€,none,number:7,url:http://host:80/,yes:true",
        "größe.€:1|c",
    ]


@pytest.mark.parametrize(("max_packet_bytes", "limit"), [(None, 1432), (512, 512), (64, 64)])
def test_datagrams_are_filled_up_to_their_size_and_no_line_is_split(
    agent: Agent, max_packet_bytes: int | None, limit: int
) -> None:
    with sender(agent, max_packet_bytes=max_packet_bytes) as metrics:
        for number in range(300):
            metrics.increment("requests", number + 1, {"number": str(number)})
        for value in range(300):
            metrics.timing("query", value)
        assert metrics.flush()
        stats = metrics.stats()
    datagrams = agent.datagrams()
    assert max(map(len, datagrams)) <= limit
    lines = [line for datagram in datagrams for line in datagram.decode().split("\n")]
    assert sorted(lines) == sorted(
        [f"requests:{number + 1}|c|#number:{number}" for number in range(300)]
        + [f"query:{value}|ms" for value in range(300)]
    )
    # The first line of each would not have gone into the one before.
    for one, after in pairwise(datagrams):
        assert len(one) + 1 + len(after.split(b"\n")[0]) > limit
    assert stats["packets_sent"] == len(datagrams)
    assert stats["bytes_sent"] == sum(map(len, datagrams))
    assert stats["series"] == 301


def test_datagrams_are_larger_on_a_unix_socket() -> None:
    with unix_agent() as (sock, path):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        agent = Agent(sock)
        metrics = StatsdMetrics(socket_path=path, flush_interval_seconds=NEVER_SECONDS)
        for number in range(1000):
            metrics.increment("requests", 1, {"number": str(number)})
        assert metrics.flush()
        datagrams = agent.datagrams()
        metrics.close()
    assert 1432 < max(map(len, datagrams)) <= 8192
    assert sum(len(datagram.split(b"\n")) for datagram in datagrams) == 1000


def test_a_line_longer_than_a_datagram_is_dropped_and_counted(agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    with sender(agent, max_packet_bytes=64) as metrics:
        metrics.increment("x" * 100)
        metrics.increment("jobs")
    assert agent.lines() == ["jobs:1|c"]
    assert metrics.stats()["lines_too_long"] == 1
    assert len(caplog.records) == 1


def test_several_values_share_a_line_where_that_is_asked_for(agent: Agent) -> None:
    with sender(agent, pack_values=True) as metrics:
        for value in (1, 2.5, 3):
            metrics.histogram("size", value, {"path": "/"})
        for value in range(1000):
            metrics.timing("query", value)
        metrics.increment("jobs")
    lines = agent.lines()
    assert "size:1:2.5:3|h|#path:/" in lines
    assert "jobs:1|c" in lines
    queries = [line for line in lines if line.startswith("query:")]
    assert len(queries) < 10
    values = [value for line in queries for value in line.removeprefix("query:").removesuffix("|ms").split(":")]
    assert sorted(map(int, values)) == list(range(1000))


def test_only_what_changed_is_sent_again(agent: Agent) -> None:
    with sender(agent) as metrics:
        metrics.increment("jobs")
        metrics.gauge("level", 1)
        assert metrics.flush()
        assert sorted(agent.lines()) == ["jobs:1|c", "level:1|g"]
        assert metrics.flush()
        assert agent.lines() == []
        metrics.increment("jobs", 2)
    assert agent.lines() == ["jobs:2|c"]


def test_values_are_sent_on_the_interval_without_being_asked(agent: Agent) -> None:
    with sender(agent, flush_interval_seconds=0.02) as metrics:
        metrics.increment("jobs", 3)
        received: list[str] = []

        def has_received() -> bool:
            received.extend(agent.lines())
            return bool(received)

        wait_until(has_received, what="a line")
    assert received == ["jobs:3|c"]


def test_series_beyond_the_limit_go_to_one(agent: Agent) -> None:
    with sender(agent, max_series=2) as metrics:
        for number in range(5):
            metrics.increment("jobs", 1, {"number": str(number)})
        assert metrics.stats()["overflowed"] == 3
    assert sorted(agent.lines()) == ["jobs:1|c|#number:0", "jobs:1|c|#number:1", "jobs:3|c|#overflow:true"]


def test_a_closed_collector_drops_and_counts_and_closes_again(agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    metrics = sender(agent)
    metrics.increment("jobs", 3)
    metrics.close()
    for method in METHODS:
        getattr(metrics, method)("late", 1)
    metrics.describe("late", help="Never seen.", unit="s")
    assert metrics.flush() is True
    metrics.close()
    assert agent.lines() == ["jobs:3|c"]
    assert metrics.stats()["refused"] == len(METHODS)
    assert not any("sent" in record.getMessage() for record in caplog.records)


def test_closing_mentions_what_could_not_be_sent(caplog: pytest.LogCaptureFixture) -> None:
    missing = Path("/nonexistent/agent.sock")
    metrics = StatsdMetrics(socket_path=missing, flush_interval_seconds=NEVER_SECONDS)
    metrics.increment("jobs")
    metrics.close()
    [record] = caplog.records
    assert record.getMessage().startswith("the last metrics were not sent to StatsD: cannot reach unixgram:///nonexist")


def test_reports_never_wait_for_a_server_that_does_not_read() -> None:
    most = 1000
    with unix_agent() as (_, path):
        metrics = StatsdMetrics(socket_path=path, flush_interval_seconds=0.01, max_buffered_samples=most)

        def is_full() -> bool:
            for value in range(most):
                metrics.timing("query", value)
            return not metrics.flush(0.05)

        wait_until(is_full, what="the server's queue to be full")
        before = metrics.stats()
        # A flush waits for room for up to a second: 50,000 reports that waited with it would take hours.
        for value in range(50_000):
            metrics.timing("query", value)
        after = metrics.stats()
        metrics.close(0.1)
    assert after["samples_thinned"] - before["samples_thinned"] >= 50_000 - 2 * most
    assert after["refused"] == 0


def test_every_timing_is_accounted_for_when_the_server_reads_late() -> None:
    with unix_agent() as (sock, path):
        metrics = StatsdMetrics(socket_path=path, flush_interval_seconds=NEVER_SECONDS, max_buffered_samples=1000)
        for value in range(200_000):
            metrics.timing("query", value)
        metrics.increment("jobs", 7)
        weights: Counter[str] = Counter()
        agent = Agent(sock)

        def read() -> None:
            for line in agent.lines():
                name, kind, *rate = line.split("|")
                weights[kind] += round(1 / float(rate[0].removeprefix("@"))) if rate else int(name.split(":")[1])

        def flushed() -> bool:
            read()
            return metrics.flush(0.05)

        wait_until(flushed, what="everything to be sent")
        read()
        metrics.close()
        assert metrics.stats()["samples_dropped"] == 0
    assert weights == {"ms": 200_000, "c": 7}


def test_what_is_refused_is_counted_and_mentioned_once(agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    wrong: Any = object()
    with sender(agent) as metrics:
        for _ in range(2):
            metrics.increment("jobs", -1)
            metrics.increment(wrong)
            metrics.increment("jobs", wrong)
            metrics.gauge("level", float("nan"))
            metrics.histogram("size", float("inf"))
            metrics.timing("query", 1, wrong)
        assert metrics.stats()["refused"] == 12
    assert agent.lines() == []
    assert len(caplog.records) == 6
    assert {record.name for record in caplog.records} == {"gds_metrics"}


@settings(max_examples=300)
@given(st.sampled_from(METHODS), anything, anything, any_labels)
def test_no_input_raises(method: str, name: Any, value: Any, labels: Any) -> None:
    getattr(_UNHEARD, method)(name, value, labels)


_UNHEARD = StatsdMetrics(socket_path="/nonexistent/agent.sock", flush_interval_seconds=NEVER_SECONDS)


@pytest.fixture(scope="module", autouse=True)
def _close_unheard() -> Iterator[None]:
    yield
    _UNHEARD.close()


def test_any_text_makes_lines_that_a_server_reads(agent: Agent, statsd_exporter: StatsdExporter) -> None:
    with client(statsd_exporter) as metrics, sender(agent) as copy:

        @settings(max_examples=150)
        @given(
            st.sampled_from(METHODS),
            # SignalFx and Graphite write tags into names, with brackets and semicolons, and this server reads both.
            st.text(st.characters(exclude_characters=";[]"), min_size=1),
            st.floats(0, 1e9),
            st.dictionaries(st.text(), st.text(), max_size=3),
        )
        def report(method: str, name: str, value: float, labels: dict[str, str]) -> None:
            # Labels not to the server: it makes names of tags that its own page may not show.
            getattr(metrics, method)(name, value)
            getattr(copy, method)(name, value, labels)

        report()
        metrics.increment("end")
    for line in agent.lines():
        head, kind, *rest = line.split("|")
        assert kind in {"c", "g", "h", "ms"}
        float(head.rpartition(":")[2])
        assert len(rest) <= 1
        assert not rest or rest[0].startswith("#")
    wait_for_samples(statsd_exporter, {("end", ()): 1})
    malformed = samples(statsd_exporter, "statsd_exporter_sample_errors", "statsd_exporter_tag_errors")
    assert {labels: count for labels, count in malformed.items() if count} == {}


def test_totals_are_those_of_a_model(agent: Agent) -> None:
    names = ("a", "b.c", "größe")
    model: Counter[str] = Counter()
    labels_strategy = st.dictionaries(st.sampled_from(["k", "l"]), st.sampled_from(["x", "y", ""]))
    totals: Counter[str] = Counter()
    with sender(agent) as metrics:

        @given(st.lists(st.tuples(st.sampled_from(names), st.integers(0, 1000), labels_strategy), max_size=30))
        def report(increments: list[tuple[str, int, dict[str, str]]]) -> None:
            for name, value, labels in increments:
                metrics.increment(name, value, labels)
                shown = ",".join(f"{key}:{text}" if text else key for key, text in sorted(labels.items()))
                model[f"{name} {shown}"] += value
            assert metrics.flush()
            for line in agent.lines():
                head, _, *tags = line.split("|")
                name, number = head.split(":")
                totals[f"{name} {''.join(tags).removeprefix('#')}"] += int(number)

        report()
    assert +totals == +model


FORK = """
import os, sys
from gds_metrics import StatsdMetrics

metrics = StatsdMetrics("127.0.0.1", int(sys.argv[1]), flush_interval_seconds=3600)
metrics.increment("parent", 1)
metrics.increment("both", 10)
metrics.timing("query", 1)
child = os.fork()
if child == 0:
    metrics.increment("child", 2)
    metrics.increment("both", 100)
    metrics.timing("query", 2)
    metrics.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
metrics.increment("parent", 4)
metrics.close()
"""


def test_after_a_fork_each_process_sends_its_own_once(agent: Agent) -> None:
    program = run_program(FORK, str(agent.port))
    assert (program.returncode, program.stderr) == (0, "")
    assert sorted(agent.lines()) == [
        "both:100|c",
        "both:10|c",
        "child:2|c",
        "parent:5|c",
        "query:1|ms",
        "query:2|ms",
    ]
