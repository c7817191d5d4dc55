"""Values asked for when they are read, gauges that go up and down, and series that are removed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest

from gds_metrics import CompositeMetrics, ConsoleMetrics, NoOpMetrics, PrometheusMetrics, StatsdMetrics, timed
from tests.helpers.pages import dropped
from tests.metrics.programs import Program
from tests.services.process import http_text, wait_until

pytestmark = pytest.mark.timing


@pytest.fixture
def metrics() -> PrometheusMetrics:
    return PrometheusMetrics(prefix="", start_server=False, process_metrics=False)


# ---------------------------------------------------------------- asked for


def test_values_are_asked_for_each_time_the_page_is_read(metrics: PrometheusMetrics) -> None:
    asked: list[int] = []

    def total() -> int:
        asked.append(1)
        return len(asked)

    metrics.observable_gauge("pool.size", lambda: 7, {"pool": "main"})
    metrics.observable_counter("asked", total)
    assert asked == []
    assert 'pool_size{pool="main"} 7.0\n' in metrics.render().decode()
    assert "asked_total 2.0\n" in metrics.render().decode()
    assert metrics.sample("asked") == 3


def test_the_server_asks_too() -> None:
    with PrometheusMetrics(prefix="", port=0, process_metrics=False) as metrics:
        metrics.observable_gauge("depth", lambda: 3)
        assert "depth 3.0\n" in http_text(metrics.port, "/metrics")


class Observation:
    def __init__(self, value: float, attributes: dict[str, str]) -> None:
        self.value = value
        self.attributes = attributes


def test_a_series_that_is_not_returned_any_more_leaves_the_page(metrics: PrometheusMetrics) -> None:
    queues: dict[str, float] = {"a": 1, "b": 2}
    metrics.observable_gauge("depth", lambda: [(depth, {"queue": queue}) for queue, depth in queues.items()])
    metrics.observable_gauge("level", lambda: [Observation(5, {"of": "x"})])  # type: ignore[list-item]
    assert metrics.sample("depth", {"queue": "b"}) == 2
    assert metrics.sample("level", {"of": "x"}) == 5
    del queues["b"]
    queues["a"] = 4
    page = metrics.render().decode()
    assert 'depth{queue="a"} 4.0\n' in page
    assert 'queue="b"' not in page


def test_a_callback_that_fails_is_counted_and_costs_its_own_values(
    metrics: PrometheusMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> NoReturn:
        raise OSError("secret")

    metrics.observable_gauge("broken", fails)
    metrics.observable_gauge("text", lambda: "7")  # type: ignore[arg-type, return-value]
    metrics.observable_counter("sinking", lambda: -1)
    metrics.observable_gauge("well", lambda: 1)
    for _ in range(2):
        assert "well 1.0\n" in metrics.render().decode()
    assert dropped(metrics)["callback_failed"] >= 6
    assert len(caplog.records) == 3
    assert "OSError at test_observables.py" in caplog.text
    assert "secret" not in caplog.text


def test_a_callback_that_hangs_is_counted_and_the_page_still_comes(metrics: PrometheusMetrics) -> None:
    go_on, calls = threading.Event(), []

    def hangs() -> int:
        calls.append(1)
        go_on.wait(60)
        return 1

    metrics.observable_gauge("hung", hangs)
    metrics.observable_gauge("well", lambda: 1)
    try:
        for _ in range(2):
            page = metrics.render().decode()
            assert "well 1.0\n" in page
            assert "\nhung" not in page
        assert calls == [1], "one that is busy is not called again"
        assert dropped(metrics)["callback_timeout"] >= 2
    finally:
        go_on.set()
    wait_until(lambda: metrics.sample("hung") == 1, what="a callback that is asked again")


def test_a_callback_may_report_and_read_the_page(metrics: PrometheusMetrics, tmp_path: Path) -> None:
    pages: list[str] = []

    def reads() -> int:
        metrics.increment("reported")
        metrics.gauge("reported", 5)  # collides, which is said in the log
        pages.append(metrics.render().decode())
        assert metrics.sample("reported") == len(pages)
        assert metrics.wsgi_app()({"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics"}, lambda *_: None)
        metrics.write_to_textfile(tmp_path / "page.prom")
        with suppress(ConnectionError):
            metrics.push("http://127.0.0.1:1", "j")
        return len(pages)

    metrics.observable_gauge("value", reads)
    assert "value 1.0\n" in metrics.render().decode()
    assert metrics.sample("value") == 2
    assert "value 3.0\n" in metrics.render().decode()
    assert metrics.sample("reported") == 4
    assert dropped(metrics) == {}
    # Its own value is not waited for: it is the one before.
    shown = [[line for line in page.splitlines() if line.startswith(("reported", "value"))] for page in pages]
    assert shown[0] == ["reported_total 1.0", "reported_gauge 5.0"]
    assert shown[2] == ["reported_total 3.0", "reported_gauge 5.0", "value 2.0"]


def test_no_callback_is_no_function(metrics: PrometheusMetrics) -> None:
    with pytest.raises(TypeError, match="expected a function without arguments"):
        metrics.observable_gauge("x", 5)  # type: ignore[arg-type]


def test_a_collector_with_callbacks_is_let_go_of() -> None:
    import gc
    import weakref

    metrics = PrometheusMetrics(prefix="", start_server=False, process_metrics=False)
    metrics.observable_gauge("x", lambda: 1)
    assert metrics.sample("x") == 1
    gone = weakref.ref(metrics)
    del metrics
    gc.collect()
    assert gone() is None


def test_all_processes_of_a_folder_show_what_each_is_asked_for(tmp_path: Path) -> None:
    setup = (
        "from gds_metrics import PrometheusMetrics\n"
        f"metrics = PrometheusMetrics(prefix='', multiprocess_dir={str(tmp_path)!r}, start_server=False)\n"
        "metrics.observable_gauge('depth', lambda: 2)\n"
        "metrics.increment('requests', 5, {'path': '/'})"
    )
    with Program(setup) as one, Program(setup) as other:
        assert one.ask("metrics.sample('depth')") == 2
        # Asked by its own process every few seconds, or when that one's page is read.
        assert other.ask("metrics.sample('depth')") == 4
        assert other.ask("metrics.sample('requests', {'path': '/'})") == 10
        assert other.ask("metrics.remove('requests', {'path': '/'})")
        assert one.ask("metrics.sample('requests', {'path': '/'})") == 5, "what the other process counted"
        assert one.ask("metrics.remove('requests', {'path': '/'})")
        assert one.ask("metrics.sample('requests', {'path': '/'})") is None
        other.do("metrics.increment('requests', 1, {'path': '/'})")
        assert one.ask("metrics.sample('requests', {'path': '/'})") == 1


def test_a_forked_child_is_asked_by_its_own_page() -> None:
    setup = """
import os
from gds_metrics import PrometheusMetrics
metrics = PrometheusMetrics(prefix="", start_server=False, process_metrics=False)
metrics.observable_gauge("pid", os.getpid)
assert metrics.sample("pid") == os.getpid()
def child():
    pid = os.fork()
    if pid == 0:
        os._exit(0 if metrics.sample("pid") == os.getpid() else 1)
    return os.waitpid(pid, 0)[1]
"""
    with Program(setup) as program:
        assert program.ask("child()") == 0


# ---------------------------------------------------------------- up and down


def test_a_gauge_goes_up_and_down(metrics: PrometheusMetrics) -> None:
    for _ in range(4):  # also by the short cut of a call that repeats itself
        metrics.gauge_add("busy", 1, {"a": "b"})
    metrics.gauge_add("busy", -3, {"a": "b"})
    assert metrics.sample("busy", {"a": "b"}) == 1
    metrics.gauge("busy", 10, {"a": "b"})
    metrics.gauge_add("busy", 0.5, {"a": "b"})
    assert metrics.sample("busy", {"a": "b"}) == 10.5
    metrics.gauge_add("busy", float("nan"))
    assert dropped(metrics) == {"invalid_value": 1}


def test_what_is_in_progress_is_a_gauge(metrics: PrometheusMetrics) -> None:
    seen: list[float | None] = []

    @timed(metrics, "call", {"of": "x"}, in_progress="calls")
    def call(depth: int) -> None:
        seen.append(metrics.sample("calls", {"of": "x"}))
        if depth:
            call(depth - 1)
        else:
            raise KeyError

    def both() -> None:
        with timed(metrics, "block", in_progress="blocks"):
            seen.append(metrics.sample("blocks"))
            call(1)

    with pytest.raises(KeyError):
        both()
    assert seen == [1, 1, 2]
    assert metrics.sample("calls", {"of": "x"}) == 0
    assert metrics.sample("blocks") == 0
    assert metrics.sample("call_count", {"of": "x", "error_type": "KeyError"}) == 2


@pytest.mark.anyio
async def test_a_coroutine_is_in_progress_while_it_is_awaited(metrics: PrometheusMetrics) -> None:
    labels = {"of": "x"}
    going: asyncio.Queue[None] = asyncio.Queue()
    ends: asyncio.Queue[BaseException | None] = asyncio.Queue()

    @timed(metrics, "call", labels, in_progress="calls")
    async def call() -> str:
        going.put_nowait(None)
        error = await ends.get()
        if error is not None:
            raise error
        return "done"

    for error, outcome in ((None, "done"), (KeyError("k"), KeyError)):
        made = [call(), call()]
        assert not metrics.sample("calls", labels), "made, and not begun"
        tasks = [asyncio.ensure_future(each) for each in made]
        for _ in tasks:
            await going.get()
        assert metrics.sample("calls", labels) == 2
        ends.put_nowait(error)
        done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert (len(done), metrics.sample("calls", labels)) == (1, 1)
        ends.put_nowait(error)
        await asyncio.wait(left)
        assert metrics.sample("calls", labels) == 0
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(answer == outcome if outcome == "done" else type(answer) is outcome for answer in answers)
    task = asyncio.ensure_future(call())
    await going.get()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert metrics.sample("calls", labels) == 0


def test_composites_pass_on_to_members_that_can(metrics: PrometheusMetrics, capsys: pytest.CaptureFixture[str]) -> None:
    class Old:
        def increment(self, name: str, value: float = 1, labels: Any = None) -> None: ...
        def gauge(self, name: str, value: float, labels: Any = None) -> None: ...
        def histogram(self, name: str, value: float, labels: Any = None) -> None: ...
        def timing(self, name: str, value_ms: float, labels: Any = None) -> None: ...

    old = Old()
    both = CompositeMetrics([old, ConsoleMetrics(), metrics, NoOpMetrics()])
    both.gauge_add("busy", 2)
    both.gauge_add("busy", -1)
    both.observable_gauge("size", lambda: 7)
    both.observable_counter("done", lambda: 8)
    assert (metrics.sample("busy"), metrics.sample("size"), metrics.sample("done")) == (1, 7, 8)
    assert capsys.readouterr().out == "[GAUGE] busy: +2.0\n[GAUGE] busy: -1.0\n"
    assert both.remove("busy") is True
    assert both.remove("busy") is False
    assert metrics.sample("busy") is None
    assert both.failures == [(member, 0) for member in both]
    assert both.remove(old)
    assert len(both) == 3


def test_statsd_sends_the_level_of_a_gauge_that_is_changed() -> None:
    import socket

    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        with StatsdMetrics("127.0.0.1", server.getsockname()[1], flush_interval_seconds=1000) as metrics:
            metrics.gauge_add("busy", 3)
            metrics.gauge_add("busy", -1)
            assert metrics.flush()
            assert server.recv(1000) == b"busy:2|g"


# ---------------------------------------------------------------- removed, named


def test_a_removed_series_leaves_the_page_and_starts_anew(metrics: PrometheusMetrics) -> None:
    for _ in range(4):
        metrics.increment("requests", 1, {"tenant": "gone"})
    metrics.histogram("size", 1, {"tenant": "gone"})
    assert metrics.remove("requests", {"tenant": "gone"}) is True
    assert metrics.remove("size", {"tenant": "gone"}) is True
    assert metrics.remove("requests", {"tenant": "gone"}) is False
    assert "gone" not in metrics.render().decode()
    metrics.increment("requests", 1, {"tenant": "gone"})
    assert metrics.sample("requests", {"tenant": "gone"}) == 1


@pytest.fixture
def served() -> Iterator[PrometheusMetrics]:
    with PrometheusMetrics(port=0, process_metrics=False) as metrics:
        yield metrics


def test_names_beyond_ascii_are_kept_apart_on_every_page(served: PrometheusMetrics) -> None:
    import urllib.request

    served.increment("订单", 1, {"a": "b"})
    served.gauge("用户", 2)
    served.timing("zeit.größe", 500)
    served.increment("x", labels={"城市": "1", "国家": "2"})

    def page(accept: str) -> tuple[str, str]:
        url = f"http://127.0.0.1:{served.port}/metrics"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=60) as answer:
            return answer.headers["Content-Type"], answer.read().decode()

    kind, utf8 = page("text/plain;version=1.0.0;escaping=allow-utf-8")
    assert kind == "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
    assert '{"gds_订单_total",a="b"} 1.0\n# ' in utf8
    assert '\n{"gds_用户"} 2.0\n' in utf8
    assert '\n{"gds_zeit.größe_bucket",le="0.5"} 1.0\n' in utf8
    kind, utf8 = page("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8")
    assert kind.endswith("escaping=allow-utf-8")
    assert '# TYPE "gds_订单" counter\n{"gds_订单_total",a="b"} 1.0\n' in utf8
    for accept in ("text/plain", "application/openmetrics-text;version=1.0.0", "*/*"):
        plain = page(accept)[1]
        shown = [line for line in plain.splitlines() if not line.startswith("# HELP ")]
        assert "\n".join(shown).isascii(), "text only where it may be: in the help"
        assert "Timing zeit.größe in seconds." in plain
        assert 'U__gds___8ba2__5355___total{a="b"} 1.0' in shown
        assert "U__gds___7528__6237_ 2.0" in shown
        assert 'gds_x_total{U___56fd__5bb6_="2",U___57ce__5e02_="1"} 1.0' in shown
    assert served.sample("订单", {"a": "b"}) == 1
    assert served.sample("U__gds___8ba2__5355___total", {"a": "b"}) == 1
