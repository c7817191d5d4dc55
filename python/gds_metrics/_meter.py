"""Metrics through the OpenTelemetry MeterProvider that a program has set up already.

`OpenTelemetryMetrics(meter_provider=...)` is this collector. Instruments are made when they are
first reported to, by kind and name. What OpenTelemetry's API cannot carry is adapted or dropped:

- instrument names are ASCII letters, digits and ``_ . - /``: other characters become ``_``;
- one name reported as a second kind becomes an instrument of its own, suffixed with that kind;
- the SDK records neither infinities nor NaN nor negative observations: they are dropped and counted
  here, once in the log instead of once each;
- timings are histograms in seconds;
- what is asked for has the same second as everywhere, and one instrument for all functions of its name.

The provider belongs to the program: closing the collector flushes it and shuts nothing down.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from gds_metrics._collector import DEFAULT_TIMEOUT_SECONDS, Collector
from gds_metrics._guard import guard
from gds_metrics._input import (
    BadInput,
    Drops,
    failure,
    shown,
    valid_increment,
    valid_labels,
    valid_name,
    valid_number,
)
from gds_metrics._observable import Observes
from gds_metrics.base import WarnOnce

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Literal, TypeAlias

    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation

    from gds_metrics._observable import Entry, Observables

    Kind: TypeAlias = Literal["counter", "gauge", "histogram", "timing"]
    Record: TypeAlias = Callable[[float, dict[str, str]], None]

__all__ = ["MeterCollector"]

METER_NAME = "gds_metrics"

# Bucket bounds of durations in seconds, as OpenTelemetry's semantic conventions advise for
# `http.server.request.duration`; the SDK's own default is made for milliseconds.
SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

# "Instrument name syntax" and "Instrument unit" of the OpenTelemetry metrics API.
_NAME_CHARACTERS = 255
_UNIT_CHARACTERS = 63

# Series of gauges whose level is kept, for `gauge_add` after `gauge`.
_MAX_LEVELS = 10_000
_OUTSIDE_NAMES = re.compile(r"[^-_./a-zA-Z0-9]")


class MeterCollector(Observes, Collector):
    """A collector on top of an OpenTelemetry MeterProvider.

    Args:
        meter_provider: What ``opentelemetry.metrics.get_meter_provider()`` gives, or another.
        version: Version of the instrumentation, shown with the meter's name ``gds_metrics``.

    Raises:
        TypeError: The provider has no ``get_meter``.
    """

    __slots__ = (
        "_descriptions",
        "_drops",
        "_kinds",
        "_last_values",
        "_levels",
        "_meter",
        "_observables",
        "_observed",
        "_provider",
        "_records",
        "_warn",
    )

    def __init__(self, meter_provider: MeterProvider, *, version: str | None = None) -> None:
        if not callable(getattr(meter_provider, "get_meter", None)):
            raise TypeError(
                f"meter_provider {shown(meter_provider)} has no get_meter; "
                "pass opentelemetry.metrics.get_meter_provider() or a MeterProvider"
            )
        self._provider = meter_provider
        self._meter: Meter = meter_provider.get_meter(METER_NAME, version)
        self._records: dict[tuple[Kind, str], Record] = {}
        self._kinds: dict[str, Kind] = {}
        self._descriptions: dict[str, _Description] = {}
        self._last_values: dict[str, _LastValues] = {}
        self._levels = _Levels()
        self._observed: dict[tuple[Kind, str], tuple[Entry, ...]] = {}
        self._drops = Drops(type(self).__name__)
        self._warn = WarnOnce()

    @property
    def dropped(self) -> dict[str, int]:
        """How many measurements were not recorded, by reason.

        The reasons are ``invalid_name``, ``invalid_value`` (also what the SDK does not record:
        infinities, NaN and negative observations), ``invalid_labels``, ``negative_increment``,
        ``invalid_description``, ``callback_failed``, ``callback_timeout`` and ``meter_failed``.
        """
        return self._drops.counts()

    def increment(self, name: str, value: float = 1, labels: Mapping[str, object] | None = None) -> None:
        """Add to a counter; see `MetricsCollector.increment`."""
        self._report("increment", "counter", name, value, labels)

    def gauge(self, name: str, value: float, labels: Mapping[str, object] | None = None) -> None:
        """Set a gauge; see `MetricsCollector.gauge`."""
        self._report("gauge", "gauge", name, value, labels)

    def gauge_add(self, name: str, delta: float, labels: Mapping[str, object] | None = None) -> None:
        """Raise or lower a gauge, from where `gauge` or this left it."""
        self._report("gauge_add", "gauge", name, delta, labels)

    def histogram(self, name: str, value: float, labels: Mapping[str, object] | None = None) -> None:
        """Add an observation to a histogram; see `MetricsCollector.histogram`."""
        self._report("histogram", "histogram", name, value, labels)

    def timing(self, name: str, value_ms: float, labels: Mapping[str, object] | None = None) -> None:
        """Add a duration in milliseconds to a histogram in seconds."""
        self._report("timing", "timing", name, value_ms, labels)

    def describe(
        self,
        name: str,
        *,
        help: str | None = None,
        unit: str | None = None,
        buckets: Sequence[float] | None = None,
        **settings: object,  # noqa: ARG002
    ) -> None:
        """Describe a metric whose instrument is not made yet; see `Collector.describe`.

        Args:
            name: The metric.
            help: The instrument's description.
            unit: The instrument's unit, at most 63 ASCII characters; timings are always in ``s``.
            buckets: Advice to the provider on bucket bounds, in seconds for timings.
            settings: What only other collectors know; ignored.
        """
        try:
            self._descriptions[valid_name(name)] = _description(help, unit, buckets)
        except BadInput as refusal:
            self._drops.add("describe", refusal.reason, refusal.explanation)
        except Exception as error:  # noqa: BLE001 - the program goes on without the description
            self._drops.add("describe", "invalid_description", str(error))

    def flush(self, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> bool:
        """Let the provider hand over what it has; False when it cannot or takes too long."""
        force_flush = getattr(self._provider, "force_flush", None)
        if force_flush is None:
            return True
        try:
            return force_flush(timeout_millis=timeout_seconds * 1000) is not False
        except Exception as error:  # noqa: BLE001 - an exporter of the program's own choice
            self._drops.add("flush", "meter_failed", failure(error))
            return False

    def _count_unanswered(self, in_time: bool) -> None:
        self._drops.count("callback_failed" if in_time else "callback_timeout")

    def _will_answer(self, observables: Observables, entry: Entry, is_first: bool) -> None:  # noqa: ARG002
        """Have the provider's readers ask; the first function of a name makes its instrument."""
        kind: Kind = "counter" if entry.kind == "counter" else "gauge"
        try:
            name = self._instrument_name(kind, valid_name(entry.name))
            of = (kind, name.lower())
            with guard():
                before = self._observed.get(of, ())
                self._observed[of] = (*before, entry)
            if not before:
                meter, description = self._meter, self._descriptions.get(entry.name, _NO_DESCRIPTION)
                create = meter.create_observable_counter if kind == "counter" else meter.create_observable_gauge
                create(name, [self._observer(observables, of)], description.unit, description.help)
        except BadInput as refusal:
            self._drops.add(f"observable_{kind}", refusal.reason, refusal.explanation)
        except Exception as error:  # noqa: BLE001 - a meter of the program's own choice
            self._drops.add(f"observable_{kind}", "meter_failed", failure(error))

    def _observer(
        self, observables: Observables, of: tuple[Kind, str]
    ) -> Callable[[CallbackOptions], list[Observation]]:
        # Kept by the provider, as its instruments are: values are asked for as long as it lives.
        from opentelemetry.metrics import Observation

        drops, observed = self._drops, self._observed

        def observe(options: CallbackOptions) -> list[Observation]:  # noqa: ARG001
            observations = []
            for entry in observed[of]:
                for key, value in observables.ask_one(entry).items():
                    if math.isfinite(value):
                        observations.append(Observation(value, _attributes(dict(key))))
                    else:
                        drops.add(f"observable_{of[0]}", "invalid_value", f"value is {value}; expected a finite one")
            return observations

        return observe

    def _report(self, method: str, kind: Kind, name: object, value: object, labels: object) -> None:
        try:
            text = valid_name(name)
            number = _recordable(kind, value)
            attributes = _attributes(valid_labels(labels))
            record = self._records.get((kind, text)) or self._make(kind, text)
            if kind == "gauge":
                number = self._levels.level(text, attributes, number, method == "gauge_add")
            record(number, attributes)
        except BadInput as refusal:
            self._drops.add(method, refusal.reason, refusal.explanation)
        except Exception as error:  # noqa: BLE001 - a meter of the program's own choice
            self._drops.add(method, "meter_failed", failure(error))

    def _make(self, kind: Kind, name: str) -> Record:
        instrument_name = self._instrument_name(kind, name)
        description = self._descriptions.get(name, _NO_DESCRIPTION)
        record = self._instrument(kind, instrument_name, description)
        # Two threads may come here at once. A lock would be held while the meter logs conflicts,
        # and log handlers report; without one the SDK gives both the same instrument.
        return self._records.setdefault((kind, name), record)

    def _instrument(self, kind: Kind, name: str, description: _Description) -> Record:
        meter, help, unit = self._meter, description.help, description.unit
        if kind == "counter":
            return meter.create_counter(name, unit, help).add
        if kind == "histogram":
            return _histogram(meter, name, unit, help, description.buckets)
        if kind == "timing":
            return _histogram(meter, name, "s", help, description.buckets or SECONDS_BUCKETS)
        if hasattr(meter, "create_gauge"):
            return meter.create_gauge(name, unit, help).set
        # Gauges that are set came with API 1.23; before, there are gauges that are asked.
        gauge = self._last_values.setdefault(name, _LastValues())
        meter.create_observable_gauge(name, [gauge.observe], unit, help)
        return gauge.set

    def _instrument_name(self, kind: Kind, name: str) -> str:
        # Beyond ASCII each character is its number, so that names stay apart.
        plain = _OUTSIDE_NAMES.sub(lambda found: "_" if found[0].isascii() else f"_{ord(found[0]):x}_", name)
        if not plain[0].isalpha():
            plain = f"m_{plain}"
        plain = plain[:_NAME_CHARACTERS]
        # The API compares names without regard to case.
        with guard():
            taken = self._kinds.setdefault(plain.lower(), kind)
        if taken == kind:
            return plain
        self._warn(
            "kinds",
            "metric %r is a %s and now also a %s, which is recorded with its kind as a suffix",
            name,
            taken,
            kind,
        )
        return f"{plain[: _NAME_CHARACTERS - len(kind) - 1]}_{kind}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(meter_provider={type(self._provider).__name__})"

    def __str__(self) -> str:
        return "OpenTelemetry Metrics (meter provider)"


class _Description:
    __slots__ = ("buckets", "help", "unit")

    def __init__(self, help: str, unit: str, buckets: list[float] | None) -> None:
        self.help = help
        self.unit = unit
        self.buckets = buckets


_NO_DESCRIPTION = _Description("", "", None)


def _description(help: object, unit: object, buckets: Iterable[object] | None) -> _Description:
    if not isinstance(help, (str, type(None))):
        raise TypeError(f"help must be a str, got {shown(help)}")
    if not isinstance(unit, (str, type(None))):
        raise TypeError(f"unit must be a str, got {shown(unit)}")
    if unit is not None and (len(unit) > _UNIT_CHARACTERS or not unit.isascii()):
        raise ValueError(f"unit must be at most {_UNIT_CHARACTERS} ASCII characters, got {unit!r}")
    bounds = None if buckets is None else sorted({valid_number(bound) for bound in buckets})
    return _Description(help or "", unit or "", bounds)


def _recordable(kind: Kind, value: object) -> float:
    number = valid_increment(value) if kind == "counter" else valid_number(value)
    if not math.isfinite(number):
        raise BadInput("invalid_value", f"value is {number}; expected a finite one")
    if number < 0 and kind != "gauge":
        raise BadInput("invalid_value", f"value is {number}; expected zero or more")
    return number / 1000 if kind == "timing" else number


def _attributes(labels: dict[str, str]) -> dict[str, str]:
    # The SDK drops attributes without a name, and exporters fail as a whole on text that is no Unicode.
    return {_unicode(label) or "_": _unicode(text) for label, text in labels.items()}


def _unicode(text: str) -> str:
    """The text with each lone surrogate as U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _histogram(meter: Meter, name: str, unit: str, help: str, buckets: Sequence[float] | None) -> Record:
    if buckets is not None:
        # Advice came with API 1.30; before, the program's views decide alone.
        with suppress(TypeError):
            return meter.create_histogram(name, unit, help, explicit_bucket_boundaries_advisory=list(buckets)).record
    return meter.create_histogram(name, unit, help).record


class _Levels:
    """What each gauge shows, so that it can be raised and lowered: the API has no gauge that adds."""

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        self._levels: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def level(self, name: str, attributes: dict[str, str], value: float, is_change: bool) -> float:
        key = (name, tuple(sorted(attributes.items())))
        with guard():
            level = self._levels.get(key, 0.0) + value if is_change else value
            if is_change or key in self._levels or len(self._levels) < _MAX_LEVELS:
                self._levels[key] = level
        return level


class _LastValues:
    """A gauge that is set, on top of one that is asked."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[tuple[tuple[str, str], ...], float] = {}

    def set(self, value: float, attributes: dict[str, str]) -> None:
        with guard():
            self._values[tuple(sorted(attributes.items()))] = value

    def observe(self, options: CallbackOptions) -> list[Observation]:  # noqa: ARG002
        from opentelemetry.metrics import Observation

        with guard():
            values = list(self._values.items())
        return [Observation(value, dict(attributes)) for attributes, value in values]
