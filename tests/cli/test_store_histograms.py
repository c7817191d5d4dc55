"""`gds store export` and `import` of histograms, classic and native."""

from __future__ import annotations

import math
import subprocess
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from gds_cli.store.histograms import bases, from_native, points
from gds_store import Store
from tests.cli.commands import TIMEOUT_SECONDS, gds
from tests.services.fixtures import require_service
from tests.services.install import install

if TYPE_CHECKING:
    from pathlib import Path

NOON = 1_750_000_000.0


def store(path: Path) -> Store:
    return Store(path, retention_seconds=1e10, maintain_seconds=None)


def append_classic(to: Store, minute: int, counts: dict[str, float], total: float, **labels: str) -> None:
    at = NOON + 60 * minute
    for le, count in counts.items():
        to.append("took_seconds_bucket", count, {**labels, "le": le}, at)
    to.append("took_seconds_count", counts["+Inf"], labels, at)
    to.append("took_seconds_sum", total, labels, at)


@pytest.fixture
def classic(tmp_path: Path) -> Path:
    with store(tmp_path / "classic") as made:
        for minute in range(3):
            for job in ("api", "web"):
                counts = {"0.1": minute, "1.0": 2.0 * minute, "+Inf": 3.0 * minute}
                append_classic(made, minute, counts, 1.5 * minute, job=job)
        made.set_metadata({"took_seconds": {"type": "histogram", "help": "How long.", "unit": "seconds"}})
    return tmp_path / "classic"


def native(count: int, schema: int = 0) -> dict[str, Any]:
    """Observations above 1, in buckets that end at 2, 4 and 8, and some at zero."""
    return {
        "schema": schema,
        "count": 6.0 * count,
        "sum": 20.5 * count,
        "zero_threshold": 0.5,
        "zero_count": count,
        "positive": {1: 2.0 * count, 2: count, 3: 2.0 * count},
    }


def families(page: str, at: float = NOON) -> dict[str, Any]:
    """What another parser reads of a page at one time; of several times it takes a part for duplicates."""
    lines = [line for line in page.splitlines() if line.startswith("#") or line.endswith(f" {at:.3f}")]
    page = "".join(f"{line}\n" for line in lines)
    return {each.name: each for each in text_string_to_metric_families(page)}  # type: ignore[no-untyped-call]


def test_a_classic_histogram_is_a_family_that_others_read(classic: Path, tmp_path: Path) -> None:
    page = gds("store", "export", classic).stdout
    found = families(page)
    assert {name: (each.type, each.unit, each.documentation) for name, each in found.items()} == {
        "took_seconds": ("histogram", "seconds", "How long.")
    }
    assert len(found["took_seconds"].samples) == 2 * 5
    (tmp_path / "page.om").write_text(page)
    assert gds("store", "import", tmp_path / "other", tmp_path / "page.om").stdout == "30 samples are appended\n"
    assert gds("store", "export", tmp_path / "other").stdout == page
    lines = gds("store", "export", classic, "--format", "prometheus").stdout.splitlines()
    assert lines[0] == "# TYPE took_seconds histogram"
    assert lines[2:7] == [
        'took_seconds_bucket{job="api",le="0.1"} 0.0 1750000000000',
        'took_seconds_bucket{job="api",le="1.0"} 0.0 1750000000000',
        'took_seconds_bucket{job="api",le="+Inf"} 0.0 1750000000000',
        'took_seconds_count{job="api"} 0.0 1750000000000',
        'took_seconds_sum{job="api"} 0.0 1750000000000',
    ]


def test_a_histogram_that_is_not_whole_is_its_series_one_by_one(classic: Path) -> None:
    with store(classic) as made:
        made.delete('took_seconds_bucket{job="web", le="+Inf"}', NOON, NOON)
    found = families(gds("store", "export", classic).stdout)
    assert {name: each.type for name, each in found.items()} == dict.fromkeys(
        ("took_seconds_bucket", "took_seconds_count", "took_seconds_sum"), "unknown"
    )
    assert sum(len(each.samples) for each in found.values()) == 9


def test_a_native_histogram_is_exported_as_a_classic_one(tmp_path: Path) -> None:
    path, file = tmp_path / "series", tmp_path / "page.om"
    with store(path) as made:
        for minute in range(1, 4):
            made.append("took_seconds", native(minute), {"job": "api"}, NOON + 60 * minute)
    done = gds("store", "export", path, "-o", file)
    assert (done.returncode, done.stderr.splitlines()) == (
        0,
        ["gds: 3 native histograms are written as classic ones", "gds: 24 samples"],
    )
    [family] = families(file.read_text(), NOON + 60).values()
    assert (family.name, family.type) == ("took_seconds", "histogram")
    # Of the zero bucket, of 1 to 2, of 2 to 4 and of 4 to 8.
    assert {(each.name, each.labels.get("le")): each.value for each in family.samples} == {
        ("took_seconds_bucket", "0.5"): 1.0,
        ("took_seconds_bucket", "1.0"): 1.0,
        ("took_seconds_bucket", "2.0"): 3.0,
        ("took_seconds_bucket", "4.0"): 4.0,
        ("took_seconds_bucket", "8.0"): 6.0,
        ("took_seconds_bucket", "+Inf"): 6.0,
        ("took_seconds_count", None): 6.0,
        ("took_seconds_sum", None): 20.5,
    }
    assert gds("store", "import", tmp_path / "other", file).returncode == 0
    at = NOON + 180
    with store(path) as own, store(tmp_path / "other") as read:
        [ours] = own.query("histogram_count(took_seconds)", at)
        [theirs] = read.query("took_seconds_count", at)
        assert ours["value"] == theirs["value"] == 18.0
        assert read.query('took_seconds_bucket{le="2.0"}', at)[0]["value"] == 9.0


def test_parquet_has_the_buckets_of_native_histograms(tmp_path: Path) -> None:
    path, file = tmp_path / "series", tmp_path / "all.parquet"
    with store(path) as made:
        made.append("a", 1, {"job": "api"}, NOON)
        made.append("took_seconds", native(1), {"job": "api"}, NOON)
    assert gds("store", "export", path, "-o", file, "--format", "parquet").returncode == 0
    table = pq.read_table(file)
    assert table.schema.names == ["timestamp", "__name__", "job", "le", "value"]
    assert table.num_rows == 1 + 8
    assert gds("store", "import", tmp_path / "other", file).stdout == "9 samples are appended\n"


def test_a_native_histogram_beside_a_classic_one_of_its_name_is_left_out(classic: Path) -> None:
    with store(classic) as made:
        made.append("took_seconds", native(1), {"job": "api"}, NOON)
    done = gds("store", "export", classic)
    assert done.stderr.splitlines() == [
        "gds: 1 native histograms are left out: classic ones have their names",
        "gds: 30 samples",
    ]
    assert [(name, each.type) for name, each in families(done.stdout).items()] == [("took_seconds", "histogram")]


def test_prometheus_makes_blocks_of_exported_histograms(classic: Path, tmp_path: Path) -> None:
    with store(classic) as made:
        for minute in range(3):
            made.append("native_seconds", native(minute), {"job": "api"}, NOON + 60 * minute)
    page = tmp_path / "page.om"
    assert gds("store", "export", classic, "-o", page).returncode == 0
    require_service("prometheus")
    done = subprocess.run(
        [install("prometheus")["promtool"], "tsdb", "create-blocks-from", "openmetrics", page, tmp_path / "blocks"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Samples and series: of two classic histograms with three buckets, and of one that was native, with six.
    assert [line.split()[-4:-2] for line in done.stdout.splitlines()[1:]] == [["54", "18"]]


def test_a_bound_below_zero_is_one_where_something_is_below_it() -> None:
    value = {"count": 3.0, "sum": -1.0, "buckets": [(-2.0, -1.0, 1.0), (-0.5, 0.5, 2.0)]}
    found = {
        labels.get("le", labels["__name__"]): samples[0][1]
        for labels, samples in from_native({"__name__": "x"}, [(1.0, value)])
    }
    assert found == {"-1.0": 1.0, "-0.5": 1.0, "0.5": 3.0, "+Inf": 3.0, "x_count": 3.0, "x_sum": -1.0}


def test_a_bound_inside_a_wider_bucket_has_no_sample() -> None:
    fine = {"count": 3.0, "sum": 4.0, "buckets": [(1.0, 2.0, 1.0), (2.0, 4.0, 2.0)]}
    wide = {"count": 5.0, "sum": 9.0, "buckets": [(1.0, 4.0, 5.0)]}
    found = {
        labels["__name__"] + labels.get("le", ""): samples
        for labels, samples in from_native({"__name__": "x"}, [(1.0, fine), (2.0, wide)])
    }
    assert found == {
        "x_bucket1.0": [(1.0, 0.0), (2.0, 0.0)],
        "x_bucket2.0": [(1.0, 1.0)],
        "x_bucket4.0": [(1.0, 3.0), (2.0, 5.0)],
        "x_bucket+Inf": [(1.0, 3.0), (2.0, 5.0)],
        "x_count": [(1.0, 3.0), (2.0, 5.0)],
        "x_sum": [(1.0, 4.0), (2.0, 9.0)],
    }


def parts(**changed: float) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
    values = {"1.0": 1.0, "+Inf": 2.0, "count": 2.0, "sum": 3.0} | changed
    return [
        (
            {"__name__": f"x_{name}"} if name in ("count", "sum") else {"__name__": "x_bucket", "le": name},
            [(1.0, value)],
        )
        for name, value in values.items()
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"1.0": 3.0},
        {"count": 5.0},
        {"sum": math.nan},
        {"sum": -1.0},
        {"1.0": -1.0},
        {"1": 1.0},
        {"-1.0": 0.0},
        {"NaN": 1.0},
        {"1.0": 0.5},
    ],
)
def test_what_openmetrics_does_not_call_a_histogram_is_none(changed: dict[str, float]) -> None:
    assert points(parts(), "x", True) is not None
    assert points(parts(**changed), "x", True) is None


def test_a_histogram_is_known_by_its_three_parts() -> None:
    assert bases(["a_bucket", "a_count", "a_sum", "b_bucket", "b_sum", "_bucket", "_count", "_sum"]) == {"a"}
