"""What is appended is found again, whatever becomes of the process, and what cannot be done is said."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from gds_store import (
    GdsStoreError,
    Store,
    StoreConfigurationError,
    StoreDamagedError,
    StoreSyntaxError,
    StoreUnavailableError,
    restore,
)

NOON = 1_750_000_000.0
OLD: dict[str, Any] = {"retention_seconds": 100 * 365 * 86_400.0}
"""Kept, although it is from a fixed day."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "series", **OLD) as opened:
        yield opened


def held(store: Store, name: str = "requests_total") -> list[tuple[float, float]]:
    """All samples of the one series of a name."""
    [series] = store.query(f"{name}[1000d]", NOON + 86_400)
    return [(timestamp, value) for timestamp, value in series["values"]]


def test_a_sample_of_now_is_the_answer_of_a_query_of_now(tmp_path: Path) -> None:
    with Store(tmp_path / "series") as store:
        before = time.time()
        assert store.append("up", 1, {"job": "api", "none": ""}) == {
            "accepted": 1,
            "replaced": 0,
            "too_old": 0,
            "over_limit": 0,
        }
        [series] = store.query("up")
        assert series["labels"] == {"__name__": "up", "job": "api"}
        assert series["value"] == 1.0
        assert before <= series["timestamp"] <= time.time() + 0.001


def test_samples_come_in_any_order_and_the_last_of_a_time_counts(store: Store) -> None:
    times = [NOON, NOON - 60, NOON + 60, NOON]
    done = store.append_many(("requests_total", at, None, when) for at, when in enumerate(times))
    assert done["accepted"] == 4
    assert held(store) == [(NOON - 60, 1.0), (NOON, 3.0), (NOON + 60, 2.0)]


def test_a_datetime_with_a_zone_is_a_timestamp(store: Store) -> None:
    moment = datetime(2025, 6, 15, 12, tzinfo=timezone.utc)
    store.append("up", 1, timestamp=moment)
    [series] = store.query("up", moment)
    assert series["timestamp"] == moment.timestamp()
    with pytest.raises(StoreConfigurationError, match="time zone"):
        store.append("up", 1, timestamp=datetime(2025, 6, 15, 12))  # noqa: DTZ001 - what is refused


@pytest.mark.parametrize("timestamp", [math.nan, math.inf, 1e300])
def test_a_time_that_is_none_is_refused(store: Store, timestamp: float) -> None:
    with pytest.raises(StoreConfigurationError, match="seconds since 1970"):
        store.append("up", 1, timestamp=timestamp)


@pytest.mark.parametrize(
    ("name", "value", "labels", "error", "match"),
    [
        ("up", "1", None, TypeError, "str"),
        ("", 1, None, ValueError, "name"),
        (None, 1, None, TypeError, "NoneType"),
        ("up", 1, ["a"], TypeError, "labels: expected a dict or None, got list"),
        ("up", 1, {"__name__": "down"}, ValueError, "first argument"),
        ("up", {"scheme": 1}, None, ValueError, "'scheme'|\"scheme\""),
        ("up", {"schema": 9}, None, ValueError, "schema"),
        ("up", {"positive": {0: -1.0}}, None, ValueError, "bucket"),
    ],
)
def test_a_row_that_is_none_is_refused_and_those_before_its_batch_stay(
    store: Store, name: Any, value: Any, labels: Any, error: type[Exception], match: str
) -> None:
    store.append("requests_total", 7, timestamp=NOON)
    with pytest.raises(error, match=match):
        store.append(name, value, labels, NOON)
    assert held(store) == [(NOON, 7.0)]


def test_many_batches_are_one_call(store: Store) -> None:
    count = 10_000
    rows = (("requests_total", at, {"instance": str(at % 10)}, NOON + at // 10) for at in range(count))
    assert store.append_many(rows)["accepted"] == count
    [total] = store.query("sum(count_over_time(requests_total[1h]))", NOON + 2_000)
    assert total["value"] == count


def test_what_an_iterator_raises_reaches_the_caller(store: Store) -> None:
    def rows() -> Iterator[tuple[str, float, None, float]]:
        yield "requests_total", 1, None, NOON
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        store.append_many(rows())


def test_series_and_labels_are_those_of_the_selectors(store: Store) -> None:
    for job in ("api", "web"):
        store.append("up", 1, {"job": job}, NOON)
    store.append("down", 1, {"cause": "disk"}, NOON + 3_600)
    assert store.series('up{job="web"}') == [{"__name__": "up", "job": "web"}]
    assert len(store.series()) == 3
    assert store.series('up{job="web"}', "down", start=NOON + 60) == [{"__name__": "down", "cause": "disk"}]
    assert store.labels() == ["__name__", "cause", "job"]
    assert store.labels("up") == ["__name__", "job"]
    assert store.label_values("job") == ["api", "web"]
    assert store.label_values("__name__", end=NOON) == ["up"]
    store.flush()
    assert store.label_values("job") == ["api", "web"]


def test_what_metrics_are_is_kept_until_something_else_is_said(store: Store, tmp_path: Path) -> None:
    assert store.set_metadata({"up": {"type": "gauge", "help": "Whether."}, "sent": {}}) == 2
    assert store.set_metadata({"up": {"type": "gauge", "help": "Whether."}}) == 0
    expected = {
        "sent": {"type": "unknown", "help": "", "unit": ""},
        "up": {"type": "gauge", "help": "Whether.", "unit": ""},
    }
    store.backup(tmp_path / "backup")
    with Store(tmp_path / "backup", read_only=True) as copy:
        assert store.metadata() == copy.metadata() == expected
    for said, match in (({"type": "number"}, "one of counter, gauge"), ({"kind": "gauge"}, "got kind")):
        with pytest.raises(StoreConfigurationError, match=match):
            store.set_metadata({"up": said})


def test_a_deleted_series_is_gone_at_once_and_with_a_dry_run_it_is_not(store: Store) -> None:
    for at in range(3):
        store.append("requests_total", at, {"job": "api"}, NOON + at)
    expected = {"series": 1, "samples": 2}
    selector = 'requests_total{job="api"}'
    assert store.delete(selector, NOON + 1, dry_run=True) == expected
    assert len(held(store)) == 3
    assert store.delete(selector, NOON + 1) == expected
    assert held(store) == [(NOON, 0.0)]
    assert store.delete(selector) == {"series": 1, "samples": 1}
    assert store.series() == []
    with pytest.raises(StoreSyntaxError, match="matcher"):
        store.delete('{job=~".*"}')


def test_a_backup_is_opened_and_restored(store: Store, tmp_path: Path) -> None:
    store.append("requests_total", 1, timestamp=NOON)
    store.flush()
    store.append("requests_total", 2, timestamp=NOON + 1)
    backup = tmp_path / "backup"
    assert store.backup(backup) == {"parts": 1, "new_parts": 1, "log_files": 1}
    store.append("requests_total", 3, timestamp=NOON + 2)
    restore(backup, tmp_path / "restored")
    for path, read_only in ((backup, True), (tmp_path / "restored", False)):
        with Store(path, read_only=read_only, **OLD) as copy:
            assert held(copy) == [(NOON, 1.0), (NOON + 1, 2.0)]
    assert store.backup(backup)["new_parts"] == 0
    with pytest.raises(StoreConfigurationError, match="not empty"):
        restore(backup, tmp_path / "restored")


def test_a_damaged_part_is_found_and_a_backup_of_it_not_restored(store: Store, tmp_path: Path) -> None:
    store.append_many(("requests_total", math.sin(at), None, NOON + at) for at in range(1_000))
    store.flush()
    assert store.verify() == []
    store.backup(tmp_path / "backup")
    shutil.copytree(tmp_path / "backup", tmp_path / "damaged")
    [data] = (tmp_path / "damaged" / "parts").glob("*/data")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    with Store(tmp_path / "damaged", read_only=True, **OLD) as damaged:
        found = damaged.verify()
        assert {each["kind"] for each in found} == {"DamagedBlock"}
        assert found[0]["path"] == data
        assert damaged.findings() == found
    with pytest.raises(StoreDamagedError, match="damaged"):
        restore(tmp_path / "damaged", tmp_path / "restored")


def test_one_process_writes_and_others_read(store: Store, tmp_path: Path) -> None:
    store.append("requests_total", 1, timestamp=NOON)
    with pytest.raises(StoreUnavailableError, match="open in another process") as refused:
        Store(tmp_path / "series")
    assert refused.value.retriable
    with Store(tmp_path / "series", read_only=True, **OLD) as reader:
        store.append("requests_total", 2, timestamp=NOON + 1)
        assert held(reader) == [(NOON, 1.0)]
        with pytest.raises(StoreConfigurationError, match="reading only"):
            reader.append("requests_total", 3)


def test_a_closed_store_says_so_and_its_folder_is_free(tmp_path: Path) -> None:
    store = Store(tmp_path / "series", **OLD)
    store.append("requests_total", 1, timestamp=NOON)
    before = store.closed
    store.close()
    store.close()
    assert (before, store.closed) == (False, True)
    for use in (lambda: store.append("up", 1), lambda: store.query("up"), store.stats, store.series):
        with pytest.raises(StoreUnavailableError, match="closed"):
            use()
    with Store(tmp_path / "series", **OLD) as again:
        assert held(again) == [(NOON, 1.0)]


def test_the_folder_is_free_when_the_last_reference_is_gone(tmp_path: Path) -> None:
    store = Store(tmp_path / "series")
    del store
    Store(tmp_path / "series").close()


def test_series_beyond_a_limit_are_refused_and_counted(tmp_path: Path) -> None:
    with Store(tmp_path / "series", max_series_per_metric=2, **OLD) as store:
        done = store.append_many(("up", 1, {"instance": str(at)}, NOON) for at in range(5))
        assert (done["accepted"], done["over_limit"]) == (2, 3)
        assert store.stats()["over_limit"] == 3


def test_samples_are_kept_as_long_as_their_class_says(tmp_path: Path) -> None:
    now = time.time()
    classes = {"short": ('{job="debug"}', 3_600.0)}
    with Store(tmp_path / "series", retention_classes=classes) as store:
        for job in ("debug", "api"):
            done = store.append("up", 1, {"job": job}, now - 7_200)
            assert done["too_old"] == (job == "debug")


def test_the_store_is_looked_after_by_itself(tmp_path: Path) -> None:
    with Store(tmp_path / "series", flush_bytes=1, maintain_seconds=0.01) as store:
        store.append("up", 1)
        deadline = time.monotonic() + 60
        while store.stats()["parts"] == 0:
            assert time.monotonic() < deadline, "no part was written"
            time.sleep(0.01)
        assert store.query("up")[0]["value"] == 1.0
    with Store(tmp_path / "other", maintain_seconds=None, flush_bytes=1) as store:
        store.append("up", 1)
        assert store.maintain() == {"flushed": 1, "merged": 0, "expired": 0}


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"durability": "maybe"}, "durability='maybe'"),
        ({"retention_seconds": 0}, "retention_seconds=0"),
        ({"retention_seconds": math.nan}, "retention_seconds=nan"),
        ({"shards": 0}, "shards"),
        ({"maintain_seconds": 0}, "maintain_seconds=0"),
        ({"timeout_seconds": -1.0}, "timeout_seconds=-1"),
        ({"retention_classes": {"a b": ("up", 60)}}, "class"),
        ({"flush_bytes": 2 << 30}, "flush_bytes"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(tmp_path: Path, settings: dict[str, Any], match: str) -> None:
    with pytest.raises(StoreConfigurationError, match=match) as refused:
        Store(tmp_path / "series", **settings)
    assert isinstance(refused.value, ValueError)
    assert not refused.value.retriable
    assert not (tmp_path / "series").exists()


def test_a_folder_that_cannot_be_made_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GdsStoreError, match="file"):
        Store(tmp_path / "file" / "series")


def test_its_text_names_the_folder() -> None:
    store = Store.__new__(Store)
    store._path = "series"
    assert repr(store) == "Store('series')"
