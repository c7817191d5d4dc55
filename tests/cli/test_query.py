"""`gds query` on stores and on a Prometheus, and what completes it."""

from __future__ import annotations

import csv
import io
import math
import shlex
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from gds_cli.query.command import named
from gds_cli.query.completion import complete
from gds_cli.query.moments import moment, seconds, shown
from gds_cli.query.plot import plot
from gds_metrics import PrometheusMetrics
from gds_store import Store
from tests.cli.commands import gds, objects
from tests.services.fixtures import PrometheusFactory
from tests.services.run import scrape_job

NOON = 1_750_000_000.0
AT = ("--at", NOON)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with ten minutes of two series."""
    path = tmp_path_factory.mktemp("query") / "series"
    with Store(path, retention_seconds=1e10) as store:
        for minute in range(10):
            for job, factor in (("api", 1), ("web", 2)):
                store.append("requests_total", 60 * factor * minute, {"job": job}, NOON - 540 + 60 * minute)
        store.append("odd.name", math.inf, {"path": 'a"b'}, NOON)
        store.append("seconds", {"count": 2, "sum": 3, "positive": {1: 2}}, {}, NOON)
    return path


# ------------------------------------------------------------------ shown
def test_a_vector_is_a_table(folder: Path) -> None:
    done = gds("query", "rate(requests_total[5m])", "--store", folder, *AT)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines() if "job" in line] == [
        ['{job="api"}', "1"],
        ['{job="web"}', "2"],
    ]


def test_a_number_and_a_text_are_what_they_are(folder: Path) -> None:
    assert gds("query", "1 / 0", "--store", folder).stdout == "+Inf\n"
    assert gds("query", "123456789.25", "--store", folder).stdout == "123456789.25\n"
    assert gds("query", "'a text'", GDS_STORE=str(folder)).stdout == "a text\n"


def test_json_is_an_object_for_each_series(folder: Path) -> None:
    done = gds("query", '{__name__=~"odd.name|seconds"}', "--store", folder, *AT, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert objects(done) == [
        {"labels": {"__name__": "odd.name", "path": 'a"b'}, "timestamp": NOON, "value": "+Inf"},
        {
            "labels": {"__name__": "seconds"},
            "timestamp": NOON,
            "value": {"count": 2.0, "sum": 3.0, "buckets": [[1.0, 2.0, 2.0]]},
        },
    ]
    ranged = gds(
        "query", "requests_total", "--store", folder, "--from", NOON - 60, "--to", NOON, "--step", "1m", "--json"
    )
    assert [each["values"] for each in objects(ranged)] == [
        [[NOON - 60, 480.0], [NOON, 540.0]],
        [[NOON - 60, 960.0], [NOON, 1080.0]],
    ]


def test_csv_has_a_column_for_each_label(folder: Path) -> None:
    done = gds("query", "requests_total or {__name__='odd.name'}", "--store", folder, *AT, "--csv")
    assert list(csv.reader(io.StringIO(done.stdout))) == [
        ["timestamp", "__name__", "job", "path", "value"],
        [f"{NOON:.0f}", "requests_total", "api", "", "540.0"],
        [f"{NOON:.0f}", "requests_total", "web", "", "1080.0"],
        [f"{NOON:.0f}", "odd.name", "", 'a"b', "+Inf"],
    ]


def test_a_range_is_summed_up_with_bars(folder: Path) -> None:
    done = gds("query", 'requests_total{job="api"}', "--store", folder, "--from", NOON - 540, "--to", NOON)
    [row] = [line for line in done.stdout.splitlines() if "api" in line]
    cells = row.split()
    assert cells[1:5] == ["109", "0", "540", "540"]
    assert cells[5] == shown(NOON)
    assert (cells[6][0], cells[6][-1]) == ("▁", "█")


def test_a_plot_is_drawn(folder: Path) -> None:
    done = gds("query", "requests_total", "--store", folder, "--from", NOON - 540, "--to", NOON, "--plot")
    assert (done.returncode, done.stderr) == (0, "")
    rows = done.stdout.splitlines()
    assert rows[0].startswith("      1080 ┤")
    assert rows[14].startswith("         0 ┤")
    assert shown(NOON - 540) in rows[15]
    assert [row for row in rows if row.startswith("━━")] == [
        '━━ requests_total{job="api"}  540',
        '━━ requests_total{job="web"}  1080',
    ]
    assert gds("query", "nothing", "--store", folder, "--plot").stdout.startswith("nothing to draw")


def test_what_is_said_of_an_answer_is_on_standard_error(folder: Path) -> None:
    done = gds("query", "quantile(2, requests_total)", "--store", folder, *AT, "--json")
    assert done.stderr.startswith("gds: PromQL warning: quantile value should be between 0 and 1")
    assert len(objects(done)) == 1


def test_values_that_would_move_a_terminal_do_not(tmp_path: Path) -> None:
    with Store(tmp_path / "series") as store:
        store.append("up", 1, {"job": "\x1b[2J"})
    assert "\x1b" not in gds("query", "up", "--store", tmp_path / "series").stdout


# ------------------------------------------------------------------ wrong
@pytest.mark.parametrize(
    ("expression", "marked"),
    [
        ("ratee(up[5m])", ["  ratee(up[5m])", "  ^^^^^"]),
        ("sum(\n  up +)", ["    up +)", "        ^"]),
        ("sum('é') + +", None),
    ],
)
def test_an_error_points_at_its_place(folder: Path, expression: str, marked: list[str] | None) -> None:
    done = gds("query", expression, "--store", folder)
    assert done.returncode == 2
    first, *rest = done.stderr.splitlines()
    assert "parse error" in first
    assert first.startswith("gds: ")
    assert (rest == marked) if marked else rest[1].endswith("^")


def test_a_query_without_an_answer_is_another_code(folder: Path) -> None:
    done = gds("query", "requests_total * on() requests_total", "--store", folder, *AT)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--store PATH or --url URL"),
        (("--store", "/", "--url", "localhost"), "one of them"),
        (("--url", "ftp://a:secret@b"), "expected a URL"),
        (("--store", "/", "--json", "--csv"), "at most one of"),
        (("--store", "FOLDER", "--at", "yesterday"), "expected a duration before now"),
        (("--store", "FOLDER", "--at", "1h", "--from", "2h"), "--at: expected no --from"),
        (("--store", "FOLDER", "--step", "15s"), "expected --from with them"),
        (("--store", "FOLDER", "--from", "1h", "--to", "2h"), "expected a time after --from"),
        (("--store", "FOLDER", "--from", "1h", "--step", "0"), "more than nothing"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(folder: Path, arguments: Sequence[str], said: str) -> None:
    given = [str(folder) if each == "FOLDER" else each for each in arguments]
    done = gds("query", "up", *given)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert "secret" not in done.stderr


def test_a_folder_that_is_none_is_not_made(tmp_path: Path) -> None:
    done = gds("query", "up", "--store", tmp_path / "none")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert not (tmp_path / "none").exists()


# ------------------------------------------------------------------ parts
def test_times_and_durations_are_read() -> None:
    assert [seconds(text) for text in ("15", "0.5", "1h30m", "2d", "250ms")] == [15.0, 0.5, 5_400.0, 172_800.0, 0.25]
    assert [moment(text, NOON) for text in ("now", "1h", "1750000000.5")] == [NOON, NOON - 3_600, NOON + 0.5]
    for text in ("2025-06-15T15:06:40Z", "2025-06-15T15:06:40", "2025-06-15T17:06:40+02:00"):
        assert moment(text, 0.0) == NOON
    assert (shown(NOON), shown(NOON + 0.5)) == ("2025-06-15T15:06:40Z", "2025-06-15T15:06:40.500Z")
    for text in ("", "h", "5x", "nan", "-"):
        with pytest.raises(ValueError, match="expected"):
            seconds(text)
        with pytest.raises(ValueError, match="expected"):
            moment(text, NOON)


def test_series_are_named_as_promql_writes_them() -> None:
    assert named({"__name__": "up"}) == "up"
    assert named({"__name__": "up", "job": 'a"b'}) == 'up{job="a\\"b"}'
    assert named({}) == "{}"


@pytest.mark.parametrize(
    "values",
    [
        [1.0],
        [0.0, 0.0],
        [1.7e308, -1.7e308],
        [5e-324, 0.0],
        [math.nan, 1.0, math.inf, 2.0],
        [float(at) for at in range(1_000)],
    ],
)
@pytest.mark.parametrize(("width", "height"), [(30, 3), (100, 15), (1, 1)])
def test_a_plot_fits_whatever_it_draws(values: list[float], width: int, height: int) -> None:
    points = [(NOON + at, value) for at, value in enumerate(values)]
    rows = plot([("a", points)], NOON, NOON + len(values), 1.5, width, height)
    assert len(rows) == max(height, 3) + 2
    for row in rows:
        assert len(row.plain) <= max(width, 52)
    assert any("⠀" < character <= "⣿" for row in rows for character in row.plain)


def test_points_that_are_far_from_each_other_are_not_joined() -> None:
    def dots(gap: float) -> int:
        rows = plot([("a", [(0.0, 1.0), (100.0, 1.0)])], 0.0, 100.0, gap, 60, 3)
        return sum(bin(ord(each) - 0x2800).count("1") for row in rows[:3] for each in row.plain if each > "⠀")

    assert (dots(50.0), dots(200.0)) == (2, 96)


class Known:
    """Names to complete with."""

    def values(self, label: str, selectors: Sequence[str] = ()) -> list[str]:
        return {"__name__": ["node_load1", "node_load5", "up", "odd.name"], "job": ["api", "web"]}.get(label, [])

    def labels(self, selectors: Sequence[str] = ()) -> list[str]:
        return ["__name__", "cpu", "job"] if list(selectors) == ["node_load1"] else ["__name__", "instance", "job"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("", ["node_load1", "node_load5", "up"]),
        ("node", ["node_load1", "node_load5"]),
        ("sum(rate(node", ["sum(rate(node_load1", "sum(rate(node_load5"]),
        ("up{", ['up{instance="', 'up{job="']),
        ("node_load1{c", ['node_load1{cpu="']),
        ('up{instance!="a,b{", j', ['up{instance!="a,b{", job="']),
        ('up{job="', ['up{job="api"', 'up{job="web"']),
        ('up{job=~"w', ['up{job=~"web"']),
        ("sum by (j", ["sum by (job"]),
        ("sum by (instance, ", ["sum by (instance, instance", "sum by (instance, job"]),
        ("sum(node_load1) by (c", ["sum(node_load1) by (cpu"]),
        ("zzz", []),
    ],
)
def test_names_complete_a_query(typed: str, expected: list[str]) -> None:
    assert complete(typed, Known()) == expected  # type: ignore[arg-type]


def completed(line: str, **variables: str) -> list[str]:
    """What bash would be offered for a line with the cursor at its end."""
    words = shlex.split(line)
    done = gds(_GDS_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1), **variables)
    assert done.returncode == 0
    return done.stdout.split()


def test_the_shell_completes_names_of_the_store_and_commands(folder: Path) -> None:
    assert completed(f"gds query --store {folder} requ") == ["requests_total"]
    assert completed("gds query requ", GDS_STORE=str(folder)) == ["requests_total"]
    assert completed("gds query requ", GDS_STORE="/none") == []
    assert completed("gds que") == ["query"]
    assert "--plot" in completed("gds query up --pl")


# ------------------------------------------------------------------ on a server
def test_a_real_prometheus_answers_as_a_store_does(prometheus_factory: PrometheusFactory) -> None:
    with PrometheusMetrics(prefix="shop", port=0, addr="127.0.0.1") as metrics:
        metrics.increment("orders", 3, {"kind": "book"})
        metrics.histogram("seconds", 0.2)
        server = prometheus_factory([scrape_job("shop", [f"127.0.0.1:{metrics.port}"])])
        server.wait_for("shop_orders_total")
        [found] = objects(gds("query", "shop_orders_total", "--url", server.url, "--json"))
        assert found["labels"]["kind"] == "book"
        assert found["value"] == 3.0
        assert gds("query", "scalar(vector(1)) + 1", "--url", server.url).stdout == "2\n"
        assert gds("query", '"text"', "--url", f"{server.url}/").stdout == "text\n"
        ranged = gds("query", "shop_orders_total", "--url", server.url, "--from", "1m", "--step", "1s", "--json")
        [series] = objects(ranged)
        assert {value for _, value in series["values"]} == {3.0}
        drawn = gds("query", "shop_orders_total", "--url", server.url, "--plot")
        assert "━━ shop_orders_total{" in drawn.stdout

        wrong = gds("query", "sum(up", "--url", server.url)
        assert wrong.returncode == 2
        first, text, mark = wrong.stderr.splitlines()
        assert "parse error" in first
        assert (text, mark) == ("  sum(up", "        ^")
        none = gds("query", "up * on() group_left() shop_orders_total * on() {__name__=~'.+'}", "--url", server.url)
        assert none.returncode == 1
        assert completed("gds query shop_or", GDS_QUERY_URL=server.url) == ["shop_orders_total"]
        assert completed("gds query shop_orders_total{kin", GDS_QUERY_URL=server.url) == ['shop_orders_total{kind="']
        answered = time.time()
        assert abs(objects(gds("query", "time()", "--url", server.url, "--json"))[0]["value"] - answered) < 60


class Odd(BaseHTTPRequestHandler):
    """Answers, but not as Prometheus does; says who asks."""

    def do_POST(self) -> None:
        refused = "/refuse" in self.path
        self.send_response(403 if refused else 200)
        self.end_headers()
        self.wfile.write(b"<html>" if refused else (self.headers.get("authorization") or "").encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_what_is_no_prometheus_is_said_in_a_line_without_the_password() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"127.0.0.1:{server.server_address[1]}"
            for url, said in (
                (f"http://user:secret@{address}", "not as Prometheus does"),
                (f"http://user:secret@{address}/refuse", "answers 403"),
                ("http://user:secret@127.0.0.1:1", "is not reached"),
            ):
                done = gds("query", "up", "--url", url)
                assert done.returncode == 1
                assert said in done.stderr
                assert "secret" not in done.stderr
                assert len(done.stderr.splitlines()) == 1
        finally:
            server.shutdown()
            thread.join()
