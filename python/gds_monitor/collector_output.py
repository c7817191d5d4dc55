"""Metrics for those who scrape or receive: `PrometheusOutput` is a page, `OtlpOutput` a receiver of OpenTelemetry."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from abc import ABC, abstractmethod
from concurrent.futures import CancelledError as Cancelled
from concurrent.futures import TimeoutError as TimedOut
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from gds_metrics import OpenTelemetryMetrics, PrometheusMetrics
from gds_monitor.output import WriteResult
from gds_monitor.packs.aliases import aliased
from gds_native._lib import LogEncoder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from gds_monitor.metric import Metric

__all__ = ["OtlpOutput", "PrometheusOutput"]

logger = logging.getLogger("gds_monitor")

EXPIRE_SECONDS = 300.0
MAX_SERIES = 1_000_000
"""Of one name, of all instances together: packs bound what they bring of each."""
PROBE_SECONDS = 10.0
"""How long Prometheus waits if it does not say."""
PROBE_MARGIN_SECONDS = 0.5
"""So much earlier a probe is answered, as other exporters do: an answer that comes too late is none."""
SWEEP_SECONDS = 60.0
PATIENCE_GAPS = 2.5
"""A series that is measured less often stays for so many of the gaps between two measurements."""
PROBED_SECONDS = 3 * 3600.0
"""So long what is known of an instance is kept for the next probe, which may come rarely."""
TEXTS = 65_536
"""So many labels are remembered as free of secrets, since they come again each cycle."""

_UP = {"mongodb": "mongodb_up", "postgresql": "pg_up"}
"""How the exporters of a platform call ``monitor.up``."""


class _Measured:
    """The series of one metric of one instance, and how often it is measured."""

    __slots__ = ("gap", "is_counter", "last", "series")

    def __init__(self, *, is_counter: bool) -> None:
        self.is_counter = is_counter
        self.series: dict[tuple[tuple[str, str], ...], tuple[float, float]] = {}
        self.last = self.gap = math.nan


class _CollectorOutput(ABC):
    """Metrics told to a collector of `gds_metrics`, and taken out again when nobody measures them any more."""

    def __init__(
        self,
        collector: PrometheusMetrics | OpenTelemetryMetrics,
        *,
        redact: Sequence[str],
        expire_after_seconds: float | None,
        longest_interval_seconds: float,
    ) -> None:
        self._collector = collector
        self._scrub = functools.lru_cache(TEXTS)(LogEncoder(redact=list(redact)).redact)
        self._expire_seconds = math.inf if expire_after_seconds is None else expire_after_seconds
        self._longest_seconds = longest_interval_seconds
        self._measured: dict[tuple[str, str], _Measured] = {}
        self._swept = time.monotonic()
        self._closed = False

    async def write(self, metrics: Sequence[Metric]) -> WriteResult:
        """Tell the collector of a batch; what it cannot take is dropped and counted there as well."""
        scrubbed, now = 0, time.monotonic()
        dropped: dict[str, int] = {}
        good: list[Metric] = []
        for metric in metrics:
            if (reason := "closed" if self._closed else _fault(metric)) is not None:
                dropped[reason] = dropped.get(reason, 0) + 1
                continue
            scrubbed += self._take(metric, now)
            good.append(metric)
        for metric in self._more(good):
            self._take(metric, now)
        if now - self._swept >= min(SWEEP_SECONDS, self._expire_seconds):
            self._sweep(now)
        return WriteResult(published=len(good), dropped=dropped, scrubbed=scrubbed)

    def _take(self, metric: Metric, now: float) -> bool:
        """Tell of one; whether it had secrets."""
        given = {"instance_id": metric.instance_id, "database_type": metric.database_type} | metric.tags
        labels = self._labels(given)
        name, value = metric.metric_name, float(metric.value)
        measured = self._measured.get((metric.instance_id, name))
        if measured is None:
            measured = self._measured[metric.instance_id, name] = _Measured(is_counter=metric.metric_type == "counter")
        if measured.last != now:
            measured.gap = now - measured.last
            measured.last = now
        series = tuple(labels.items())
        before, _ = measured.series.get(series, (None, 0.0))
        measured.series[series] = value, now
        self._tell(metric, value, labels, before)
        return labels != given

    def _labels(self, given: Mapping[str, str]) -> dict[str, str]:
        """Labels without secrets."""
        return {name: self._scrub(f"{name}={value}").removeprefix(f"{name}=") for name, value in given.items()}

    @abstractmethod
    def _tell(self, metric: Metric, value: float, labels: dict[str, str], before: float | None) -> None:
        """Tell the collector; ``before`` is the value of the series in an earlier batch, if it was there."""

    @abstractmethod
    def _forget(self, instance_id: str, name: str, labels: dict[str, str]) -> None:
        """Take a series out."""

    def _more(self, metrics: Sequence[Metric]) -> Iterable[Metric]:
        """Metrics beside those of a batch, of the same."""
        del metrics
        return ()

    def _sweep(self, now: float) -> None:
        """Take out what was not measured for long, by how often its metric is measured."""
        self._swept = now
        for (instance, name), measured in list(self._measured.items()):
            gap = self._longest_seconds if math.isnan(measured.gap) else measured.gap
            limit = max(self._expire_seconds, gap * PATIENCE_GAPS)
            for series in [series for series, (_, last) in measured.series.items() if now - last > limit]:
                del measured.series[series]
                self._forget(instance, name, dict(series))
            if not measured.series:
                del self._measured[instance, name]

    async def close(self) -> None:
        """Let go of the collector. A second call does nothing."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._collector.close)


class PrometheusOutput(_CollectorOutput):
    """Shows metrics on a page for Prometheus, with `gds_metrics.PrometheusMetrics`.

    Labels are the tags, ``instance_id`` and ``database_type``. Counters are as the database has them.

    Args:
        port: Where the page is; 0 picks a free port, which `port` then tells.
        aliases: Whether metrics are there once more under the names that other exporters have for them: ``pg_*``,
            ``mongodb_*``, ``mssql_*``.
        redact: Regular expressions of further secrets.
        expire_after_seconds: Series that no cycle has measured for this long leave the page; 5 minutes by default, and
            longer where a metric is measured less often. None keeps them.
        longest_interval_seconds: How rarely anything is measured, for what has been measured only once.
        settings: As `gds_metrics.PrometheusMetrics` has them: ``addr``, ``certfile``, ``bearer_token_file`` and others.
    """

    def __init__(
        self,
        port: int = 9187,
        *,
        aliases: bool = True,
        redact: Sequence[str] = (),
        expire_after_seconds: float | None = EXPIRE_SECONDS,
        longest_interval_seconds: float = 0.0,
        **settings: Any,
    ) -> None:
        # Names are those of the databases' metrics, so there is no prefix.
        given: dict[str, Any] = {
            "prefix": "",
            "process_metrics": False,
            "multiprocess_dir": "",
            "max_series": MAX_SERIES,
        }
        self._page = PrometheusMetrics(port=port, **given | settings)
        self._made = functools.partial(PrometheusMetrics, start_server=False, **given)
        self._aliases = aliases
        self._probed: dict[str, tuple[PrometheusMetrics, float]] = {}
        super().__init__(
            self._page,
            redact=redact,
            expire_after_seconds=expire_after_seconds,
            longest_interval_seconds=longest_interval_seconds,
        )

    @property
    def port(self) -> int:
        """Where the page is."""
        return self._page.port

    def render(self) -> bytes:
        """The page."""
        return self._page.render()

    # ------------------------------------------------------------------ metrics
    def _tell(self, metric: Metric, value: float, labels: dict[str, str], before: float | None) -> None:
        del before
        for page in self._pages(metric.instance_id):
            _show(page, metric.metric_name, value, labels, is_counter=metric.metric_type == "counter")

    def _forget(self, instance_id: str, name: str, labels: dict[str, str]) -> None:
        for page in self._pages(instance_id):
            page.remove(name, labels)

    def _pages(self, instance_id: str) -> Iterable[PrometheusMetrics]:
        known = self._probed.get(instance_id)
        return (self._page,) if known is None else (self._page, known[0])

    def _more(self, metrics: Sequence[Metric]) -> Iterable[Metric]:
        return _aliased(metrics) if self._aliases else ()

    # ------------------------------------------------------------------ probes
    def answer_probes(self, measure: Callable[[str], Awaitable[Sequence[Metric]]]) -> None:
        """Answer ``/probe?target=NAME`` with what a cycle of that instance measures now, and knew before.

        Called in the event loop in which cycles run. Who may see the page may probe. An answer takes as long as the
        scraper waits, less half a second.

        Args:
            measure: Runs a cycle of an instance, by its name, and gives its metrics. `KeyError`: there is none of that
                name; `RuntimeError`: it did not come to its end.
        """
        loop = asyncio.get_running_loop()
        self._page._show_beside("/probe", functools.partial(self._answer, loop, measure))

    def _answer(
        self,
        loop: asyncio.AbstractEventLoop,
        measure: Callable[[str], Awaitable[Sequence[Metric]]],
        query: str,
        waits: str | None,
    ) -> tuple[int, bytes]:
        """By a thread of the server. What somebody took for a name may be an address with a password: not told."""
        names = parse_qs(query).get("target", [])
        if len(names) != 1:
            return 400, b"expected /probe?target=NAME with the name of a target\n"
        seconds = _seconds(waits)
        probe = asyncio.run_coroutine_threadsafe(self._probe(measure, names[0]), loop)
        try:
            return 200, probe.result(seconds).render()
        except KeyError:
            return 404, b"there is no target of that name; expected the name: of one, or its host:port\n"
        except (TimedOut, Cancelled):
            probe.cancel()
            return 503, f"no cycle ended within {seconds:g} s\n".encode()
        except Exception as error:  # noqa: BLE001 - whatever it is, the server has to answer
            logger.warning("probe: %s", type(error).__name__)
            return 503, b"the cycle did not come to its end\n"

    async def _probe(self, measure: Callable[[str], Awaitable[Sequence[Metric]]], name: str) -> PrometheusMetrics:
        metrics = await measure(name)
        now = time.monotonic()
        for other, (_, last) in list(self._probed.items()):
            if now - last > PROBED_SECONDS:
                del self._probed[other]
        page = self._probed[name][0] if name in self._probed else self._known(name)
        self._probed[name] = page, now
        good = [metric for metric in metrics if _fault(metric) is None]
        for metric in (*good, *self._more(good)):
            given = {"instance_id": metric.instance_id, "database_type": metric.database_type} | metric.tags
            is_counter = metric.metric_type == "counter"
            _show(page, metric.metric_name, float(metric.value), self._labels(given), is_counter=is_counter)
        return page

    def _known(self, instance_id: str) -> PrometheusMetrics:
        """A page of an instance alone, with what is known of it, for not all of it is measured each time."""
        page = self._made()
        for (instance, name), measured in self._measured.items():
            if instance == instance_id:
                for series, (value, _) in measured.series.items():
                    _show(page, name, value, dict(series), is_counter=measured.is_counter)
        return page

    async def close(self) -> None:
        """Close the page. A second call does nothing."""
        self._page._show_beside("/probe", None)
        await super().close()


class OtlpOutput(_CollectorOutput):
    """Sends metrics to a receiver of OpenTelemetry, with `gds_metrics.OpenTelemetryMetrics`.

    Counters grow by what they grew in the database; a series begins when it is first seen.

    Args:
        redact: Regular expressions of further secrets.
        expire_after_seconds: Series that no cycle has measured for this long are sent no more; 5 minutes by default,
            and longer where a metric is measured less often. None keeps them.
        longest_interval_seconds: How rarely anything is measured, for what has been measured only once.
        settings: As `gds_metrics.OpenTelemetryMetrics` has them: ``endpoint``, ``protocol``, ``headers`` and others.
    """

    def __init__(
        self,
        *,
        redact: Sequence[str] = (),
        expire_after_seconds: float | None = EXPIRE_SECONDS,
        longest_interval_seconds: float = 0.0,
        **settings: Any,
    ) -> None:
        given: dict[str, Any] = {"service_name": "gds_monitor", "max_series": MAX_SERIES}
        super().__init__(
            OpenTelemetryMetrics(**given | settings),
            redact=redact,
            expire_after_seconds=expire_after_seconds,
            longest_interval_seconds=longest_interval_seconds,
        )
        self._units: set[str] = set()

    def _tell(self, metric: Metric, value: float, labels: dict[str, str], before: float | None) -> None:
        name = metric.metric_name
        if metric.unit is not None and name not in self._units:
            self._units.add(name)
            self._collector.describe(name, unit=metric.unit)
        if metric.metric_type != "counter":
            self._collector.gauge(name, value, labels)
        elif before is None:
            self._collector.increment(name, 0, labels)
        else:
            # One that is lower than before began anew.
            self._collector.increment(name, value - before if value >= before else value, labels)

    def _forget(self, instance_id: str, name: str, labels: dict[str, str]) -> None:
        del instance_id
        self._collector.remove(name, labels)


def _show(page: PrometheusMetrics, name: str, value: float, labels: dict[str, str], *, is_counter: bool) -> None:
    if is_counter:
        page._set_total(name, value, labels)
    else:
        page.gauge(name, value, labels)


def _aliased(metrics: Sequence[Metric]) -> list[Metric]:
    """The names of others. Of a counter that has no ``_total`` there, which every counter of a page has, a gauge."""
    found = [
        metric if metric.metric_name.endswith("_total") else replace(metric, metric_type="gauge")
        for metric in aliased(metrics)
    ]
    found += [
        replace(metric, metric_name=_UP[metric.database_type], tags={})
        for metric in metrics
        if metric.metric_name == "monitor.up" and metric.database_type in _UP
    ]
    return found


def _seconds(waits: str | None) -> float:
    """How long a probe may take, by what the scraper says."""
    try:
        seconds = float(waits) if waits else PROBE_SECONDS
    except ValueError:
        seconds = PROBE_SECONDS
    if not 0 < seconds < float("inf"):
        seconds = PROBE_SECONDS
    return max(seconds - PROBE_MARGIN_SECONDS, seconds / 2)


def _fault(metric: Metric) -> str | None:
    try:
        value = float(metric.value)
    except (TypeError, ValueError, OverflowError):
        return "invalid_value"
    return "invalid_value" if metric.metric_type == "counter" and not (math.isfinite(value) and value >= 0) else None
