"""The store, opened by one process for writing and by any number for reading."""

from __future__ import annotations

import math
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from gds_native._lib import QueryResult, StoreCore, restore_store
from gds_store.errors import StoreConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from os import PathLike
    from types import TracebackType
    from typing import TypeAlias

    from typing_extensions import Self

    Timestamp: TypeAlias = float | datetime
    Value: TypeAlias = float | dict[str, Any]
    Row: TypeAlias = tuple[str, Value, dict[str, str] | None, Timestamp]

__all__ = ["QueryResult", "Store", "restore"]

# Milliseconds beyond which there are no samples, far outside all calendars.
_FIRST_MS, _LAST_MS = -(2**53), 2**53


class Store:
    """Samples of labelled series in a folder of this machine.

    All methods may be called by many threads at once, and let other threads run meanwhile. Times are seconds since 1970
    as float, or a `datetime` with a time zone; they are kept as milliseconds.

    One process writes; others open the same folder with ``read_only=True`` and see what there is at that moment. A
    forked child cannot use the store of its parent, and is told so; it opens one of its own. What `append` has taken
    is in the log on disk: nothing of it depends on `close`.

    Args:
        path: The folder, which is made where there is none.
        read_only: Open what is there now for reading: a store that another process writes to, or a backup.
        durability: When samples count as taken: ``"written"`` when the system has them, so that they outlive the
            process; ``"synced"`` when the disk has them, so that they outlive a power cut.
        retention_seconds: How long samples are kept.
        retention_classes: Series that are kept for another time: by a name, a selector such as ``{job="api"}`` and
            seconds. The first one that chooses a series has it.
        shards: How many writers can append at once without waiting for each other; 1 to 256.
        max_series_per_metric: Samples of further series are refused and counted; None is no limit.
        max_series_per_tenant: Likewise, of those with the same value of the label ``tenant_label``.
        flush_bytes: Bytes of samples in memory from which on they are written to parts.
        max_head_bytes: Bytes from which on no more are taken.
        maintain_seconds: How often a thread looks after the store: writes parts, merges them, removes those whose
            time is over. None is never; then `maintain` is to be called.
        lookback_seconds: How old the newest sample of a series may be to count in a query.
        max_samples: Samples that one query may read.
        max_series: Series that one query may read.
        max_bytes: Bytes that one query may hold at once.
        timeout_seconds: How long one query may take.

    Raises:
        StoreConfigurationError: A setting makes no sense.
        StoreUnavailableError: Another process writes to the folder, or the system refuses.
        StoreDamagedError: Both copies of the list of parts are damaged, or a newer version wrote it.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        read_only: bool = False,
        durability: Literal["written", "synced"] = "written",
        retention_seconds: float = 15 * 86_400.0,
        retention_classes: Mapping[str, tuple[str, float]] | None = None,
        shards: int = 4,
        max_series_per_metric: int | None = None,
        max_series_per_tenant: int | None = None,
        tenant_label: str = "tenant",
        flush_bytes: int = 256 << 20,
        max_head_bytes: int = 1 << 30,
        maintain_seconds: float | None = 5.0,
        lookback_seconds: float = 300.0,
        max_samples: int = 50_000_000,
        max_series: int = 1_000_000,
        max_bytes: int = 1 << 30,
        timeout_seconds: float = 120.0,
    ) -> None:
        if durability not in ("written", "synced"):
            raise StoreConfigurationError(f"durability={durability!r}: expected 'written' or 'synced'")
        self._path = path
        self._core = StoreCore(
            path,
            read_only=read_only,
            synced=durability == "synced",
            retention_ms=_duration_ms("retention_seconds", retention_seconds),
            classes=[
                (name, selector, _duration_ms(f"retention_classes[{name!r}]", seconds))
                for name, (selector, seconds) in (retention_classes or {}).items()
            ],
            shards=shards,
            series_per_metric=max_series_per_metric,
            series_per_tenant=max_series_per_tenant,
            tenant_label=tenant_label,
            flush_bytes=flush_bytes,
            max_head_bytes=max_head_bytes,
            maintain_seconds=maintain_seconds,
            lookback_ms=_duration_ms("lookback_seconds", lookback_seconds),
            max_samples=max_samples,
            max_series=max_series,
            max_bytes=max_bytes,
            timeout_seconds=timeout_seconds,
        )

    # ------------------------------------------------------------------ writing
    def append(
        self,
        name: str,
        value: Value,
        labels: dict[str, str] | None = None,
        timestamp: Timestamp | None = None,
    ) -> dict[str, int]:
        """Store one sample. Of samples of a series at the same time the last one counts.

        Args:
            name: The metric.
            value: A number; or a native histogram, as a dict with ``schema``, ``count``, ``sum``, ``zero_threshold``,
                ``zero_count``, ``positive`` and ``negative`` (a dict of the index of each bucket and its count),
                ``custom_values`` (upper bounds, with schema -53) and ``gauge``, of which any may be missing.
            labels: Names and values; an empty value is no label.
            timestamp: When it was; now, where it is not said.

        Returns:
            ``accepted``; of these ``replaced``, the newest sample of the series at the same time; ``too_old``, beyond
            retention; ``over_limit``, of a series that would be one too many.

        Raises:
            StoreUnavailableError: There is no room on the disk or in memory, or the store is closed.
            StoreConfigurationError: The store is open for reading only.
        """
        return self.append_many([(name, value, labels, time.time() if timestamp is None else timestamp)])

    def append_many(self, rows: Iterable[Row]) -> dict[str, int]:
        """Store samples, each a tuple of name, value, labels and timestamp as in `append`, in any order.

        They are taken in batches: where a row cannot be used, or the store fails, those of the batches before it are
        stored. Offering all of them again changes nothing of these.
        """
        return self._core.append(_with_milliseconds(rows))

    def delete(
        self,
        selector: str,
        start: Timestamp | None = None,
        end: Timestamp | None = None,
        *,
        dry_run: bool = False,
    ) -> dict[str, int]:
        """Delete the samples of the series that a selector chooses, from ``start`` to ``end``, both included.

        No query sees them from here on; what is appended later stays. Their space comes back with `maintain`.

        Returns:
            How many ``series`` and ``samples``; with ``dry_run`` how many it would be.
        """
        start_ms, end_ms = _range_ms(start, end)
        return self._core.delete(selector, start_ms, end_ms, dry_run)

    def set_metadata(self, said: Mapping[str, Mapping[str, str]]) -> int:
        """Say what metrics are; it is kept until something else is said.

        Args:
            said: By name ``type`` (counter, gauge, histogram, gaugehistogram, summary, info, stateset or unknown),
                ``help`` and ``unit``; what is missing is ``unknown`` and empty.

        Returns:
            How many were said to be something else before, or nothing.
        """
        fields = ("type", "help", "unit")
        for name, given in said.items():
            others = sorted({*given} - {*fields})
            if others:
                raise StoreConfigurationError(f"metric {name!r}: expected type, help and unit, got {', '.join(others)}")
        return self._core.set_metadata(
            [
                (name, given.get("type", "unknown"), given.get("help", ""), given.get("unit", ""))
                for name, given in said.items()
            ]
        )

    # ------------------------------------------------------------------ reading
    def metadata(self) -> dict[str, dict[str, str]]:
        """What metrics were said to be: ``type``, ``help`` and ``unit`` by name."""
        return {
            name: {"type": kind, "help": text, "unit": unit}
            for name, (kind, text, unit) in self._core.metadata().items()
        }

    def query(self, expression: str, timestamp: Timestamp | None = None) -> QueryResult:
        """Evaluate PromQL at one time; now, where it is not said.

        Raises:
            StoreSyntaxError: It is no query.
            StoreQueryError: It has no answer, or needs more than it may have.
        """
        return self._core.query(expression, _ms("timestamp", time.time() if timestamp is None else timestamp))

    def query_range(self, expression: str, start: Timestamp, end: Timestamp, step_seconds: float) -> QueryResult:
        """Evaluate PromQL at each step from ``start`` until not after ``end``.

        Raises:
            StoreSyntaxError: It is no query.
            StoreQueryError: It has no answer, or needs more than it may have.
        """
        step_ms = _duration_ms("step_seconds", step_seconds)
        return self._core.query_range(expression, _ms("start", start), _ms("end", end), step_ms)

    def series(
        self, *selectors: str, start: Timestamp | None = None, end: Timestamp | None = None
    ) -> list[dict[str, str]]:
        """The labels of the series that one of the selectors chooses; of all series where there is none."""
        return self._core.series(list(selectors), *_range_ms(start, end))

    def labels(self, *selectors: str, start: Timestamp | None = None, end: Timestamp | None = None) -> list[str]:
        """The names of the labels of such series, sorted."""
        return sorted({name for labels in self.series(*selectors, start=start, end=end) for name in labels})

    def label_values(
        self, name: str, *selectors: str, start: Timestamp | None = None, end: Timestamp | None = None
    ) -> list[str]:
        """The values of one label of such series, sorted."""
        found = (labels.get(name) for labels in self.series(*selectors, start=start, end=end))
        return sorted({value for value in found if value is not None})

    # ------------------------------------------------------------------ looking after it
    def backup(self, path: str | PathLike[str]) -> dict[str, int]:
        """Make a folder a copy of all that was taken before; writing goes on meanwhile.

        On the same disk files are linked, not copied. A second call with the same folder adds what is new and removes
        what is no more.

        Returns:
            How many ``parts`` are in it, of these ``new_parts``, and ``log_files``.
        """
        return self._core.backup(path)

    def flush(self) -> int:
        """Write all samples of memory to parts; how many parts that made."""
        return self._core.flush()

    def maintain(self) -> dict[str, int]:
        """Do one step of what happens every ``maintain_seconds``: parts ``flushed``, ``merged`` and ``expired``."""
        return self._core.maintain()

    def stats(self) -> dict[str, int]:
        """What there is, and what was done since the store was opened.

        Returns:
            ``head_series`` and ``head_bytes``, in memory; ``parts``, ``part_samples``, ``part_bytes`` and
            ``index_bytes``, on the disk and of their indexes in memory; ``deletions`` that are not carried out yet.
            And counted: samples ``accepted``, ``duplicates``, ``too_old`` and ``over_limit``; calls of `append` that
            ``failed``.
        """
        return self._core.stats()

    def findings(self) -> list[dict[str, Any]]:
        """What was found wrong since the store was opened: ``kind``, ``path``, ``detail`` and ``count``."""
        return self._core.findings()

    def verify(self) -> list[dict[str, Any]]:
        """Read everything; what is wrong, as in `findings`."""
        return self._core.verify()

    @property
    def closed(self) -> bool:
        """Whether it can be used no more, here."""
        return self._core.closed

    def close(self) -> None:
        """End it, once calls under way have ended; the folder is free then. A second call does nothing."""
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({str(self._path)!r})"


def restore(backup: str | PathLike[str], path: str | PathLike[str]) -> None:
    """Make a new store of a backup, once all of the backup is read and found whole.

    Raises:
        StoreConfigurationError: The folder ``path`` is there and not empty.
        StoreDamagedError: The backup is damaged; nothing was made.
    """
    restore_store(backup, path)


def _with_milliseconds(rows: Iterable[Row]) -> Iterator[tuple[str, Value, dict[str, str] | None, int]]:
    for name, value, labels, timestamp in rows:
        yield name, value, labels, _ms("timestamp", timestamp)


def _ms(name: str, moment: Timestamp) -> int:
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise StoreConfigurationError(f"{name}={moment}: expected a datetime with a time zone")
        moment = moment.timestamp()
    if not math.isfinite(moment) or not _FIRST_MS <= moment * 1000 <= _LAST_MS:
        raise StoreConfigurationError(f"{name}={moment}: expected seconds since 1970")
    return round(moment * 1000)


def _range_ms(start: Timestamp | None, end: Timestamp | None) -> tuple[int, int]:
    return _FIRST_MS if start is None else _ms("start", start), _LAST_MS if end is None else _ms("end", end)


def _duration_ms(name: str, seconds: float) -> int:
    if not math.isfinite(seconds) or not 1 <= seconds * 1000 <= _LAST_MS:
        raise StoreConfigurationError(f"{name}={seconds}: expected seconds, a thousandth or more")
    return round(seconds * 1000)
