"""The view fits the terminal, whatever it is told, and obeys nobody else's control characters."""

from __future__ import annotations

import io
import math
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from gds_cli.live.layout import clean, count, duration, rate, with_unit
from gds_cli.live.model import Model
from gds_cli.live.page import parse
from gds_cli.live.view import Heading, plain, render

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def crowded() -> Model:
    """More of everything than there is room for."""
    model = Model()
    for name in ("http://127.0.0.1:1/metrics", "http://a-host-with-a-long-name.example.org:1/metrics"):
        model.add("page", name)
    model.add("hub", "localhost:9092")
    for at in range(3):
        page = "".join(
            f"# TYPE very_long_name_of_a_counter_{n}_{kind} counter\n"
            f'very_long_name_of_a_counter_{n}_{kind}{{path="{"x" * n}",b="日本"}} {n * at * 1e6}\n'
            for n in range(40)
            for kind in ("total", "errors_total")
        )
        page += "".join(f"# TYPE gauge_{n} gauge\ngauge_{n} {n}\n" for n in range(40))
        page += f'# TYPE h_seconds histogram\nh_seconds_bucket{{le="+Inf"}} {at}\nh_seconds_count {at}\n'
        model.page("http://127.0.0.1:1/metrics", float(at), parse(page))
        model.topics("localhost:9092", float(at), {f"topic-{n}": n * at for n in range(40)})
    model.group("localhost:9092", "g", 2.0, [{"topic": "topic-3", "position": 1, "lag": 12_345_678}])
    model.reached("http://127.0.0.1:1/metrics")
    model.reached("localhost:9092")
    model.lost("http://a-host-with-a-long-name.example.org:1/metrics", "no answer in 3 s " * 10)
    for n in range(100):
        model.log(1e9, "WARNING", "shop", f"{'word ' * n} [REDACTED] \x1b[31mred\r\n")
    return model


def drawn(model: Model, width: int, height: int, **settings: str) -> str:
    out = io.StringIO()
    console = Console(
        file=out, width=width, height=height, force_terminal=True, _environ={"TERM": "xterm-256color", **settings}
    )
    console.print(render(model.snapshot(65.0), Heading("gds top", "something " * 30, True, 90.0), width, height))
    return out.getvalue()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (120, 30), (160, 45), (40, 12), (300, 100)])
@pytest.mark.parametrize("empty", [False, True])
def test_it_is_never_wider_or_higher_than_the_terminal(width: int, height: int, empty: bool) -> None:
    lines = ESCAPES.sub("", drawn(Model() if empty else crowded(), width, height)).rstrip("\n").split("\n")
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width
    assert all(each.isprintable() for each in lines)
    for section in ("RATES", "LATENCY", "ERRORS", "HUB", "LOGS"):
        assert any(section in line for line in lines), section


def test_numbers_stand_below_each_other() -> None:
    lines = ESCAPES.sub("", drawn(crowded(), 100, 40)).split("\n")
    first = next(index for index, line in enumerate(lines) if line.startswith("RATES"))
    ends = {len(line.rstrip()) for line in lines[first : first + 4]}
    assert ends == {100}


def test_colours_are_left_out_where_nobody_wants_them() -> None:
    assert re.search(r"\x1b\[[0-9;]*3[1-6]", drawn(crowded(), 80, 24))
    assert not re.search(r"\x1b\[([0-9]+;)*3[1-6]", drawn(crowded(), 80, 24, NO_COLOR="1"))


def test_what_is_away_is_named_with_the_reason() -> None:
    assert "a-host-with-a-long-name.example.org:1/metrics  no answer" in ESCAPES.sub("", drawn(crowded(), 160, 45))


def test_lines_that_say_the_same_are_gathered() -> None:
    model = Model()
    for number in range(20):
        model.log(0.0, "WARNING", "shop", f"attempt {number} failed")
        model.log(0.0, "INFO", "shop", "all is well")
    assert [line[18:] for line in plain(model.snapshot(1.0), Heading("gds top"))[1:]] == [
        "WARNING 20x shop: attempt 19 failed",
        "INFO    20x shop: all is well",
    ]


def test_plain_lines_are_single_lines() -> None:
    lines = plain(crowded().snapshot(3.0), Heading("gds top", "happening"))
    assert all(each.isprintable() for each in lines)
    assert "lag 12,345,678" in lines[0]
    assert "a-host-with-a-long-name" in lines[0]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, "0 µs"),
        (0.000_000_5, "0.50 µs"),
        (0.000_999_4, "999 µs"),
        (0.000_999_6, "1.00 ms"),
        (0.012_34, "12.3 ms"),
        (0.999_6, "1.00 s"),
        (59.0, "59.0 s"),
        (599.0, "599 s"),
        (7200.0, "2.00 h"),
        (math.inf, "inf"),
    ],
)
def test_durations_have_the_unit_that_suits_them(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_numbers_fit_their_columns() -> None:
    values = [0, 0.01, 0.1, 999.94, 999.96, 1e5, 999_999.4, 1e6, 1e8, 1e9, 1e12]
    assert [rate(value) for value in values[:5]] == ["0/s", "<0.1/s", "0.1/s", "999.9/s", "1,000/s"]
    assert all(len(rate(value)) < 10 for value in values if value < 1e11)
    assert all(len(count(value)) < 11 for value in values)
    assert (count(99_999_999), count(123_456_789), count(12_345_678_900)) == ("99,999,999", "123.5M", "12.3G")
    assert (rate(None), rate(math.nan), count(math.nan)) == ("-", "-", "nan")
    assert with_unit(1536, "bytes") == "1.5 KiB"


def test_control_characters_become_blanks() -> None:
    assert clean("a\x1b[31m\nb\u202ec") == "a [31m b c"
