"""How long something takes, reported to any collector.

    with timed(metrics, "query", {"table": "users"}):
        run_query()

    @timed(metrics, "handle")
    async def handle(request): ...

A block or call that fails is reported too, with the label ``error_type`` (as OpenTelemetry's
``error.type``): the name of the exception's class, which goes on to the caller unchanged. An early
end of a generator (``GeneratorExit``) is no failure. What the collector raises is mentioned once in
the log and goes no further.
"""

from __future__ import annotations

import functools
from contextlib import suppress
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from gds_metrics._input import failure, shown
from gds_metrics.base import WarnOnce

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping
    from types import TracebackType
    from typing import ParamSpec, Protocol

    class TakesTimings(Protocol):
        """The part of a collector that is needed here."""

        def timing(self, name: str, value_ms: float, labels: dict[str, str] | None, /) -> object:
            """Take a duration in milliseconds."""

    P = ParamSpec("P")

__all__ = ["timed"]

R = TypeVar("R")

_warn = WarnOnce()


class _Nothing:
    """Stands in for no collector."""

    __slots__ = ()

    def timing(self, name: str, value_ms: float, labels: dict[str, str] | None, /) -> None:
        pass


_NOTHING = _Nothing()


def _nothing() -> None:
    pass


class _Entry:
    """One time that a `timed` was entered and not left yet."""

    __slots__ = ("begin_seconds", "end_progress", "open", "owner")

    def __init__(self, owner: timed) -> None:
        self.owner = owner
        self.open = True
        self.end_progress = owner._begin_progress()
        self.begin_seconds = perf_counter()


# What the running thread or task has entered. A task starts with what its creator had entered, and
# what it enters itself is not seen by others, so each finds its own begin when it leaves.
_entries: ContextVar[tuple[_Entry, ...]] = ContextVar("gds_metrics_timed", default=())


class timed:  # noqa: N801 - used as a word of its own: `with timed(...)`, `@timed(...)`
    """A context manager, an asynchronous one, and a decorator.

    One object may be entered again while it is entered, by the same thread or others, and by tasks
    of any event loop. As a decorator it takes functions, coroutine functions (the time until the
    result), generator functions and asynchronous ones (from the first item asked for until they
    are exhausted or closed).

    Args:
        metrics: Any object with the method ``timing``; None reports nothing.
        name: The name of the timing.
        labels: Labels of the timing; read when it ends.
        in_progress: A gauge that is raised while it goes on, with the labels there are when it begins; of a collector
            that has ``gauge_add``.

    Raises:
        TypeError: When it decorates something else than a function.
    """

    __slots__ = ("_in_progress", "_labels", "_metrics", "_name", "_open")

    def __init__(
        self,
        metrics: TakesTimings | None,
        name: str,
        labels: Mapping[str, str] | None = None,
        *,
        in_progress: str | None = None,
    ) -> None:
        self._metrics = _NOTHING if metrics is None else metrics
        self._name = name
        self._labels = labels
        self._in_progress = in_progress
        self._open: list[_Entry] = []

    def __enter__(self) -> None:
        self._enter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave(kind)

    async def __aenter__(self) -> None:
        self._enter()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave(kind)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function: each call is reported as one timing.

        Raises:
            TypeError: It is a class, a method wrapper or nothing that can be called.
        """
        # Here, because it takes longer to import than the rest of the package.
        import inspect

        if isinstance(function, (type, staticmethod, classmethod)) or not callable(function):
            raise TypeError(
                f"timed decorates functions, got {shown(function)}; "
                "decorate the function itself, below @staticmethod and @classmethod"
            )
        wrap: Callable[[Any], Callable[..., Any]] = self._wrap_function
        if _is(inspect.iscoroutinefunction, function):
            wrap = self._wrap_coroutine
        elif _is(inspect.isasyncgenfunction, function):
            wrap = self._wrap_async_generator
        elif _is(inspect.isgeneratorfunction, function):
            wrap = self._wrap_generator
        return cast("Callable[P, R]", functools.wraps(function)(wrap(function)))

    def _wrap_function(self, function: Callable[..., R]) -> Callable[..., R]:
        def call(*arguments: object, **settings: object) -> R:
            with _Once(self):
                return function(*arguments, **settings)

        return call

    def _wrap_coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*arguments: object, **settings: object) -> object:
            with _Once(self):
                return await function(*arguments, **settings)

        return call

    def _wrap_generator(self, function: Callable[..., Generator[Any, Any, R]]) -> Callable[..., Generator[Any, Any, R]]:
        def call(*arguments: object, **settings: object) -> Generator[Any, Any, R]:
            with _Once(self):
                return (yield from function(*arguments, **settings))

        return call

    def _wrap_async_generator(
        self, function: Callable[..., AsyncGenerator[Any, Any]]
    ) -> Callable[..., AsyncGenerator[Any, Any]]:
        async def call(*arguments: object, **settings: object) -> AsyncGenerator[Any, Any]:
            with _Once(self):
                generator = function(*arguments, **settings)
                step = generator.__anext__()
                while True:
                    try:
                        item = await step
                    except StopAsyncIteration:
                        return
                    try:
                        sent = yield item
                    except GeneratorExit:
                        await generator.aclose()
                        raise
                    except BaseException as error:  # noqa: BLE001 - the generator decides what it means
                        step = generator.athrow(error)
                    else:
                        step = generator.asend(sent)

        return call

    def _enter(self) -> None:
        entry = _Entry(self)
        self._open.append(entry)
        _entries.set((*(other for other in _entries.get() if other.open), entry))

    def _leave(self, kind: type[BaseException] | None) -> None:
        end_seconds = perf_counter()
        entry = self._close_latest()
        if entry is not None:
            entry.end_progress()
            self._report(end_seconds - entry.begin_seconds, kind)

    def _close_latest(self) -> _Entry | None:
        entries = _entries.get()
        mine = [entry for entry in entries if entry.owner is self and entry.open]
        # An exit stack may be left in another thread or task than it was entered in; then there
        # is nothing of this context's own and what was entered last anywhere is the best answer.
        candidates = mine or list(self._open)
        if not candidates:
            return None
        entry = candidates[-1]
        entry.open = False
        with suppress(ValueError):
            self._open.remove(entry)
        _entries.set(tuple(other for other in entries if other.open))
        return entry

    def _begin_progress(self) -> Callable[[], None]:
        """Raise the gauge; what lowers it again."""
        gauge, labels = self._in_progress, None
        if gauge is None or self._metrics is _NOTHING:
            return _nothing
        try:
            labels = None if self._labels is None else dict(self._labels)
            add: Callable[[str, float, dict[str, str] | None], object] = self._metrics.gauge_add  # type: ignore[attr-defined]
            add(gauge, 1, labels)
        except Exception as error:  # noqa: BLE001 - see `_report`
            self._failed(error)
            return _nothing

        def end() -> None:
            try:
                add(gauge, -1, labels)
            except Exception as error:  # noqa: BLE001 - see `_report`
                self._failed(error)

        return end

    def _report(self, seconds: float, kind: type[BaseException] | None) -> None:
        try:
            labels = None if self._labels is None else dict(self._labels)
            if kind is not None and not issubclass(kind, GeneratorExit):
                labels = {**(labels or {}), "error_type": kind.__name__}
            self._metrics.timing(self._name, seconds * 1000, labels)
        except Exception as error:  # noqa: BLE001 - the caller is timed, not the collector
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        collector = type(self._metrics)
        _warn(
            (collector.__module__, collector.__qualname__),
            "a timing for %s failed: %s; further failures are ignored",
            collector.__name__,
            failure(error),
        )


class _Once:
    """Times one call of a decorated function; not shared, so it needs to find nothing."""

    __slots__ = ("_begin_seconds", "_end_progress", "_owner")

    def __init__(self, owner: timed) -> None:
        self._owner = owner
        self._end_progress = owner._begin_progress()
        self._begin_seconds = perf_counter()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end_progress()
        self._owner._report(perf_counter() - self._begin_seconds, kind)


def _is(kind: Callable[[object], bool], function: object) -> bool:
    # An object that is called like a function is what its method is.
    return kind(function) or kind(getattr(function, "__call__", None))  # noqa: B004
