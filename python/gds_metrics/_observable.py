"""Values that the program is asked for when they are read: by a scrape, an export or `render`.

A function runs in a thread of its own, with no lock of this library held. One that raises, or does not answer within
`DEADLINE_SECONDS`, costs its own values on that page and is counted; one that is still busy is not called again.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING

from gds_metrics._guard import guard
from gds_metrics._input import BadInput, failure, shown, valid_labels, valid_number
from gds_metrics._settings import text
from gds_metrics.base import WarnOnce

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

    Key: TypeAlias = tuple[tuple[str, str], ...]
    # Returns a number, or pairs of a number and the labels of its series.
    Callback: TypeAlias = Callable[[], float | Iterable[tuple[float, Mapping[str, str] | None]]]

__all__ = ["DEADLINE_SECONDS", "Entry", "Observables", "Observes"]

DEADLINE_SECONDS = 1.0
"""How long the functions of a collector have, all together, each time they are asked."""


class Observes:
    """What a collector has that can ask for values; its ``_observables`` are made when they are needed."""

    __slots__ = ()
    _observables: Observables

    def observable_gauge(self, name: str, callback: Callback, labels: Mapping[str, str] | None = None) -> None:
        """Have a gauge whose value is asked for whenever the page is read or an export is made.

        Args:
            name: The gauge.
            callback: Returns a number, or pairs ``(number, labels)`` for several series; objects with ``value`` and
                ``attributes``, as OpenTelemetry's ``Observation``, will do. It is called in a thread of its own, never
                twice at a time, and has a second. A series it does not return leaves the page.
            labels: Labels of every series.

        Raises:
            TypeError: The callback cannot be called.
        """
        self._observe("gauge", name, callback, labels)

    def observable_counter(self, name: str, callback: Callback, labels: Mapping[str, str] | None = None) -> None:
        """Have a counter whose total is asked for; see `observable_gauge`.

        Args:
            name: The counter.
            callback: Returns totals, which only grow.
            labels: Labels of every series.

        Raises:
            TypeError: The callback cannot be called.
        """
        self._observe("counter", name, callback, labels)

    def _observe(self, kind: str, name: str, callback: Callback, labels: Mapping[str, str] | None) -> None:
        if not callable(callback):
            raise TypeError(f"callback={shown(callback)}: expected a function without arguments that returns a number")
        try:
            given = valid_labels(labels)
        except BadInput as error:
            raise TypeError(f"labels: {error}") from error
        entry = Entry(kind, text("name", name), callback, given)
        with guard():
            observables = getattr(self, "_observables", None)
            is_first = observables is None
            if observables is None:
                observables = self._observables = Observables(self)  # type: ignore[misc] # a slot of the collector
            observables.entries = (*observables.entries, entry)
        self._will_answer(observables, entry, is_first)

    def _will_answer(self, observables: Observables, entry: Entry, is_first: bool) -> None:  # noqa: ARG002
        if is_first:
            self._ask(observables.asker())  # type: ignore[attr-defined]

    def _begins_answer(self) -> None:
        """Told by the thread that runs a function, before it does."""


class Observables:
    """The functions of one collector."""

    __slots__ = ("__weakref__", "_collector", "_started", "_warn", "entries")

    def __init__(self, collector: Any) -> None:
        self._collector = weakref.ref(collector)
        self._started: dict[Entry, tuple[_Answer, float]] = {}
        self._warn = WarnOnce()
        self.entries: tuple[Entry, ...] = ()

    def asker(self) -> Callable[[], None]:
        """What the core calls; it keeps neither this nor the collector alive."""
        this = weakref.ref(self)

        def ask() -> None:
            observables = this()
            if observables is not None:
                observables.ask()

        return ask

    def ask(self) -> None:
        """Ask all functions, wait for their answers, and report them."""
        collector = self._collector()
        if collector is None:
            return
        for entry, (answer, deadline) in self._start().items():
            entry.show(collector, self._values(entry, answer, deadline))

    def ask_one(self, entry: Entry) -> dict[Key, float]:
        """Ask one of the functions, for readers that ask one by one: the first of a round starts all."""
        with guard():
            started = self._started.pop(entry, None)
        if started is None or started[0].process_id != os.getpid():
            round_ = self._start()
            started = round_.pop(entry)
            with guard():
                self._started = round_
        return self._values(entry, *started)

    def _start(self) -> dict[Entry, tuple[_Answer, float]]:
        deadline = monotonic() + DEADLINE_SECONDS
        return {entry: (entry.start(self._collector), deadline) for entry in self.entries}

    def _values(self, entry: Entry, answer: _Answer, deadline: float) -> dict[Key, float]:
        """What a function answers in time; what does not come is counted and mentioned once."""
        in_time = answer.done.wait(max(0.0, deadline - monotonic()))
        if in_time and answer.values is not None:
            return answer.values
        collector = self._collector()
        if collector is not None:
            collector._count_unanswered(in_time)
        self._warn(
            (entry.name, in_time),
            "the callback of %s %r %s; further failures are only counted",
            entry.kind,
            entry.name,
            f"failed: {answer.failure}" if in_time else f"did not answer within {DEADLINE_SECONDS} s",
        )
        return {}


class _Answer:
    __slots__ = ("done", "failure", "process_id", "values")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.process_id = os.getpid()
        self.values: dict[Key, float] | None = None
        self.failure = ""


class Entry:
    """One function, what it is asked at the moment, and what it showed last."""

    __slots__ = ("_answer", "_callback", "_labels", "_shown", "kind", "name")

    def __init__(self, kind: str, name: str, callback: Callback, labels: dict[str, str]) -> None:
        self.kind = kind
        self.name = name
        self._callback = callback
        self._labels = labels
        self._answer: _Answer | None = None
        self._shown: set[Key] = set()

    def start(self, collector: weakref.ref[Any]) -> _Answer:
        """Ask, unless an earlier question of this process is not answered yet."""
        with guard():
            answer = self._answer
            if answer is not None and not answer.done.is_set() and answer.process_id == os.getpid():
                return answer
            if answer is not None and answer.process_id != os.getpid():
                self._shown = set()
            answer = self._answer = _Answer()
        try:
            # A daemon: at the end of the program nobody waits for a function that hangs.
            threading.Thread(target=self._run, args=(answer, collector), name="gds-observable", daemon=True).start()
        except RuntimeError as error:  # no thread is to be had, or the interpreter ends
            answer.failure = failure(error)
            answer.done.set()
        return answer

    def _run(self, answer: _Answer, collector: weakref.ref[Any]) -> None:
        try:
            if (of := collector()) is not None:
                of._begins_answer()
            del of  # which a function that hangs does not keep
            answer.values = _values_of(self._callback(), self._labels)
            if self.kind == "counter" and not all(total >= 0 for total in answer.values.values()):
                answer.values = None
                answer.failure = "it returned a negative total"
        except BadInput as refusal:
            answer.failure = refusal.explanation
        except BaseException as error:  # noqa: BLE001 - the program's own function
            answer.failure = failure(error)
        finally:
            answer.done.set()

    def show(self, collector: Any, values: dict[Key, float]) -> None:
        """Report the values; what was shown before and is not among them leaves the page."""
        report = collector._set_total if self.kind == "counter" else collector.gauge
        for key, value in values.items():
            report(self.name, value, dict(key))
        with guard():
            gone, self._shown = self._shown - values.keys(), set(values)
        for key in gone:
            collector.remove(self.name, dict(key))


def _values_of(returned: Any, labels: dict[str, str]) -> dict[Key, float]:
    """What a function returned, by labels; the collector's labels win."""
    if not isinstance(returned, Iterable):
        returned = [(returned, None)]
    values: dict[Key, float] = {}
    for item in returned:
        value, own = (item.value, item.attributes) if hasattr(item, "attributes") else item
        values[tuple(sorted({**valid_labels(own), **labels}.items()))] = valid_number(value)
    return values
