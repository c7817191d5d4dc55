"""`gds store` on stores of its own, and on what others write and read."""

from __future__ import annotations

import math
import os
import pty
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from gds_cli.store.exposition import LineError, Sample, family, read, write
from gds_store import Store
from tests.cli.commands import COMMAND, TIMEOUT_SECONDS, clean_environment, gds, objects
from tests.services.fixtures import require_service
from tests.services.install import install

NOON = 1_750_000_000.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "series"
    with Store(path, retention_seconds=1e10) as store:
        for minute in range(10):
            for job in ("api", "web"):
                store.append("requests_total", minute, {"job": job}, NOON + 60 * minute)
        store.append("odd.name", math.inf, {"a.b": 'c"\n\\'}, NOON + 0.5)
    return path


def held(path: Path) -> list[tuple[str, list[tuple[float, float]]]]:
    with Store(path, read_only=True, retention_seconds=1e10) as store:
        found = [
            (str(sorted(labels.items())), series["values"])
            for name in store.label_values("__name__")
            for series in store.query(f'{{__name__="{name}"}}[1000d]', NOON + 86_400)
            for labels in [series["labels"]]
        ]
    return sorted(found)


def test_stats_say_what_is_there_while_somebody_writes(folder: Path) -> None:
    with Store(folder, retention_seconds=1e10) as store:
        store.flush()
        [found] = objects(gds("store", "stats", folder, "--json"))
    assert (found["series"], found["metrics"], found["parts"], found["part_samples"]) == (3, 2, 1, 21)
    assert found["findings"] == 0
    assert "part samples" in gds("store", "stats", folder).stdout


def test_verify_finds_a_flipped_byte(folder: Path) -> None:
    with Store(folder, retention_seconds=1e10) as store:
        store.flush()
    done = gds("store", "verify", folder)
    assert (done.returncode, done.stdout) == (0, "all of it can be read\n")
    [data] = (folder / "parts").glob("*/data")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    done = gds("store", "verify", folder, "--json")
    assert done.returncode == 1
    assert {(each["kind"], each["path"]) for each in objects(done)} == {("DamagedBlock", str(data))}
    assert "DamagedBlock" in gds("store", "verify", folder).stdout


def test_a_backup_is_made_and_restored(folder: Path, tmp_path: Path) -> None:
    backup, restored = tmp_path / "backup", tmp_path / "restored"
    assert gds("store", "backup", folder, backup).returncode == 0
    assert gds("store", "restore", backup, restored).stdout == f"{restored} is as {backup}\n"
    assert held(restored) == held(folder)
    again = gds("store", "restore", backup, restored)
    assert (again.returncode, len(again.stderr.splitlines())) == (2, 1)
    assert objects(gds("store", "backup", folder, backup, "--json"))[0]["new_parts"] == 0


@pytest.mark.parametrize("command", ["stats", "verify", "export"])
def test_a_folder_that_is_none_is_not_made(tmp_path: Path, command: str) -> None:
    done = gds("store", command, tmp_path / "none")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert not (tmp_path / "none").exists()


def test_who_writes_elsewhere_is_left_alone(folder: Path, tmp_path: Path) -> None:
    with Store(folder, retention_seconds=1e10):
        for arguments in (("backup", folder, tmp_path / "copy"), ("delete", folder, "up", "--yes")):
            done = gds("store", *arguments)
            assert done.returncode == 1
            assert "open in another process" in done.stderr


# ------------------------------------------------------------------ deleting
def test_nothing_is_deleted_unasked(folder: Path) -> None:
    before = held(folder)
    dry = gds("store", "delete", folder, 'requests_total{job="api"}', "--from", NOON + 60, "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, "9 samples of 1 series would be deleted\n")
    silent = subprocess.run(
        [*COMMAND, "store", "delete", folder, "requests_total"],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert silent.returncode == 2
    assert "--yes" in silent.stderr
    assert held(folder) == before


@pytest.mark.parametrize(("said", "code", "left"), [(b"y\n", 0, 1), (b"n\n", 130, 10)])
def test_who_is_asked_decides(folder: Path, said: bytes, code: int, left: int) -> None:
    main, terminal = pty.openpty()
    try:
        os.write(main, said)
        done = subprocess.run(
            [*COMMAND, "store", "delete", folder, 'requests_total{job="api"}', "--from", str(NOON + 1)],
            env=clean_environment(),
            stdin=terminal,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    finally:
        os.close(main)
        os.close(terminal)
    assert done.returncode == code
    assert "Delete 9 samples of 1 series" in done.stdout + done.stderr
    [values] = [values for labels, values in held(folder) if "api" in labels]
    assert len(values) == left


def test_all_of_a_series_is_deleted_with_yes(folder: Path) -> None:
    done = gds("store", "delete", folder, "requests_total", "--yes")
    assert (done.returncode, done.stdout) == (0, "20 samples of 2 series are deleted\n")
    assert gds("store", "delete", folder, "requests_total", "--yes").stdout == "nothing is to be deleted\n"
    wrong = gds("store", "delete", folder, "{", "--yes")
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)


# ------------------------------------------------------------------ out and in again
@pytest.mark.parametrize(("form", "name"), [("openmetrics", "all.om"), ("prometheus", "all.txt")])
def test_what_is_exported_is_imported_as_it_was(folder: Path, tmp_path: Path, form: str, name: str) -> None:
    file, other = tmp_path / name, tmp_path / "other"
    done = gds("store", "export", folder, "-o", file, "--format", form)
    assert (done.returncode, done.stderr) == (0, "gds: 21 samples\n")
    dry = gds("store", "import", other, file, "--dry-run")
    assert dry.stdout == (
        "21 samples of 3 series would be appended, from 2025-06-15T15:06:40Z to 2025-06-15T15:15:40Z\n"
    )
    assert not other.exists()
    assert gds("store", "import", other, file).stdout == "21 samples are appended\n"
    assert held(other) == held(folder)
    assert gds("store", "import", other, file).stdout == "21 samples are appended\n"
    assert held(other) == held(folder)


def test_parquet_goes_both_ways(folder: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "all.parquet", tmp_path / "other"
    assert gds("store", "export", folder, "-o", file, "--format", "parquet").returncode == 0
    table = pq.read_table(file)
    assert table.schema.names == ["timestamp", "__name__", "a.b", "job", "value"]
    assert table.schema.field("timestamp").type == pa.timestamp("ms", "UTC")
    assert gds("store", "import", other, file).stdout == "21 samples are appended\n"
    assert held(other) == held(folder)
    assert gds("store", "export", folder, "--format", "parquet").returncode == 2


def test_an_answer_that_was_saved_is_imported(folder: Path, tmp_path: Path) -> None:
    with Store(folder, read_only=True, retention_seconds=1e10) as store:
        pq.write_table(pa.table(store.query("requests_total", NOON)), tmp_path / "answer.parquet")
    assert gds("store", "import", tmp_path / "other", tmp_path / "answer.parquet").stdout == "2 samples are appended\n"
    pq.write_table(pa.table({"value": [1.0]}), tmp_path / "wrong.parquet")
    wrong = gds("store", "import", tmp_path / "other", tmp_path / "wrong.parquet")
    assert wrong.returncode == 2
    assert "there is no timestamp, __name__" in wrong.stderr


def test_only_what_is_chosen_is_exported(folder: Path) -> None:
    selectors = ("--match", 'requests_total{job="api"}', "--match", "requests_total")
    done = gds("store", "export", folder, *selectors, "--from", NOON + 60, "--to", NOON + 120)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert lines == [
        f'requests_total{{job="{job}"}} {value} {NOON + 60 * value:.3f}'
        for job in ("api", "web")
        for value in (1.0, 2.0)
    ]
    assert done.stderr == "gds: 4 samples\n"


def test_others_read_the_page(folder: Path, tmp_path: Path) -> None:
    with Store(folder, retention_seconds=1e10) as store:
        store.delete('{__name__="odd.name"}')
    done = gds("store", "export", folder)
    families = text_string_to_metric_families(done.stdout)  # type: ignore[no-untyped-call]
    samples = [sample for each in families for sample in each.samples]
    assert len(samples) == 20
    assert {sample.name for sample in samples} == {"requests_total"}

    require_service("prometheus")
    page = tmp_path / "page.om"
    page.write_text(done.stdout, "utf-8")
    made = subprocess.run(
        [install("prometheus")["promtool"], "tsdb", "create-blocks-from", "openmetrics", page, tmp_path / "blocks"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    # Of each block: from when to when, how many samples, chunks and series.
    assert [line.split()[-4:-2] for line in made.stdout.splitlines()[1:]] == [["20", "2"]]


def test_a_page_without_times_is_of_now_or_of_a_time_that_is_said(tmp_path: Path) -> None:
    page = tmp_path / "page.txt"
    page.write_text('# HELP up Whether.\n# TYPE up gauge\nup 1\n\nload{cpu="0"} 2 1750000000000\n')
    path = tmp_path / "series"
    assert gds("store", "import", path, page, "--at", NOON + 5).stdout == "2 samples are appended\n"
    assert held(path) == [
        ("[('__name__', 'load'), ('cpu', '0')]", [(NOON, 2.0)]),
        ("[('__name__', 'up')]", [(NOON + 5, 1.0)]),
    ]


def test_a_line_that_is_none_is_named_and_standard_input_is_read(tmp_path: Path) -> None:
    def imported(page: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, "store", "import", tmp_path / "series", "-"],
            env=clean_environment(),
            input=page,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )

    assert imported("up 1\n").stdout == "1 samples are appended\n"
    done = imported("up 1\nnot a sample at all\n")
    assert done.returncode == 2
    assert "-: line 2: expected a sample" in done.stderr


def test_the_quarantine_and_the_classes_of_a_store_are_no_business_of_a_command(folder: Path, tmp_path: Path) -> None:
    """What is old is not removed by looking at it, or by importing."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (tmp_path / "page.txt").write_text("up 1\n")
    assert gds("store", "import", copy, tmp_path / "page.txt").returncode == 0
    assert [each for each in held(copy) if "'up'" not in each[0]] == held(folder)


# ------------------------------------------------------------------ lines
@given(
    st.text(min_size=1).filter(lambda name: "\r" not in name),
    st.dictionaries(st.text(min_size=1), st.text(min_size=1)),
    st.floats(),
    st.integers(-(2**40), 2**40),
    st.booleans(),
)
def test_what_is_written_is_read(
    name: str, labels: dict[str, str], value: float, milliseconds: int, open_metrics: bool
) -> None:
    labels.pop("__name__", None)
    text = write(name, labels, value, milliseconds / 1000, open_metrics)
    [found] = read([f"{text}\n"], open_metrics)
    assert (found.name, found.labels) == (name, labels)
    assert found.value == value or (math.isnan(found.value) and math.isnan(value))
    assert found.timestamp is not None
    assert round(found.timestamp * 1000) == milliseconds


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("up 1", Sample("up", {}, 1.0, None)),
        ('up{job="a",} 1e3 5.5', Sample("up", {"job": "a"}, 1_000.0, 5.5)),
        ('{"a.b","c.d"="e"} +Inf', Sample("a.b", {"c.d": "e"}, math.inf, None)),
        ('up{a="# {"} 1 2 # {trace_id="x # y"} 0.5 3', Sample("up", {"a": "# {"}, 1.0, 2.0)),
        ('up 1 # {trace_id="x"} 0.5', Sample("up", {}, 1.0, None)),
    ],
)
def test_lines_of_openmetrics_are_read(line: str, expected: Sample) -> None:
    assert list(read([line, "# EOF", "what comes after is not looked at"], True)) == [expected]


@pytest.mark.parametrize(
    "line",
    [
        "up",
        "up1",
        "up one",
        "1 2",
        'up{job="a" 1',
        "up{job=a} 1",
        'up{job="a"x="b"} 1',
        "up 1 2 3",
        "up 1_000",
        "{} 1",
        "up 0x1",
    ],
)
def test_lines_that_are_none_are_refused(line: str) -> None:
    with pytest.raises(LineError, match="line 1: expected"):
        list(read([line], False))


METADATA = {
    "load": {"type": "gauge", "help": 'A "load"\nof 1\\2.', "unit": ""},
    "sent_bytes": {"type": "counter", "help": "", "unit": "bytes"},
    "took_seconds": {"type": "histogram", "help": "How long.", "unit": "seconds"},
}


@pytest.mark.parametrize(
    ("name", "text", "open_metrics"),
    [
        ("up", "# TYPE up untyped\n", "# TYPE up unknown\n"),
        ("a.b", '# TYPE "a.b" untyped\n', '# TYPE "a.b" unknown\n'),
        (
            "load",
            '# TYPE load gauge\n# HELP load A "load"\\nof 1\\\\2.\n',
            '# TYPE load gauge\n# HELP load A \\"load\\"\\nof 1\\\\2.\n',
        ),
        (
            "sent_bytes_total",
            "# TYPE sent_bytes_total counter\n",
            "# TYPE sent_bytes counter\n# UNIT sent_bytes bytes\n",
        ),
        ("took_seconds_sum", "# TYPE took_seconds_sum untyped\n", "# TYPE took_seconds_sum unknown\n"),
    ],
)
def test_a_family_begins_with_what_is_known_of_it(name: str, text: str, open_metrics: str) -> None:
    assert (family(name, METADATA, False), family(name, METADATA, True)) == (text, open_metrics)
    list(text_string_to_metric_families(f"{open_metrics}# EOF\n"))  # type: ignore[no-untyped-call]
    said: dict[str, dict[str, str]] = {}
    for lines, is_open in ((text, False), (open_metrics, True)):
        assert list(read(lines.splitlines(), is_open, said)) == []
    if name == "load":
        assert said == {"load": {"type": "gauge", "help": METADATA["load"]["help"]}}


def test_what_metrics_are_goes_both_ways(tmp_path: Path) -> None:
    page = "# HELP up Whether.\n# TYPE up gauge\nup 1 1750000000000\n# TYPE odd number\nodd 1 1750000000000\n"
    (tmp_path / "page.txt").write_text(page)
    assert gds("store", "import", tmp_path / "series", tmp_path / "page.txt").returncode == 0
    with Store(tmp_path / "series", read_only=True) as store:
        assert store.metadata() == {"up": {"type": "gauge", "help": "Whether.", "unit": ""}}
    exported = gds("store", "export", tmp_path / "series", "--match", "up", "--format", "prometheus").stdout
    assert exported.splitlines() == ["# TYPE up gauge", "# HELP up Whether.", "up 1.0 1750000000000"]
