"""Who is asked: a store in a folder, or the HTTP interface of Prometheus and its likes."""

from __future__ import annotations

import json
import re
import urllib.error
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from gds_cli._http import ask, without_password

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gds_store import QueryResult

__all__ = ["Answer", "Asked", "QueryError", "Series", "StoreAsked", "UrlAsked"]

FOREVER_SECONDS = 1e12
"""Nothing in the folder is too old to be shown."""

ANSWER_BYTES = 1 << 30
_PLACE = re.compile(r"(\d+):(\d+): parse error")


@dataclass(slots=True)
class Series:
    """A series of an answer.

    Attributes:
        samples: Pairs of seconds since 1970 and a number, a text, or a dict of a native histogram.
    """

    labels: dict[str, str]
    samples: list[tuple[float, Any]]


@dataclass(slots=True)
class Answer:
    """What was answered.

    Attributes:
        kind: ``vector``, ``matrix``, ``scalar`` or ``string``.
        said: Warnings, and infos.
    """

    kind: str
    series: list[Series]
    said: list[str] = field(default_factory=list)


class QueryError(Exception):
    """There is no answer.

    Attributes:
        place: Line, column and the column behind the end, in bytes and from one; None where it is not known.
        wrong: Whether the query is what is wrong.
    """

    def __init__(self, message: str, place: tuple[int, int, int] | None = None, *, wrong: bool = False) -> None:
        super().__init__(message)
        self.place = place
        self.wrong = wrong


class Asked(Protocol):
    """Who answers queries."""

    def query(self, expression: str, at: float) -> Answer:
        """At one time."""
        ...

    def query_range(self, expression: str, start: float, end: float, step: float) -> Answer:
        """At each step."""
        ...

    def values(self, label: str, selectors: Sequence[str] = ()) -> list[str]:
        """The values of a label, for completion."""
        ...

    def labels(self, selectors: Sequence[str] = ()) -> list[str]:
        """The names of labels, for completion."""
        ...


class StoreAsked:
    """A store of this machine, as it is now: another process may write to it."""

    def __init__(self, path: Path) -> None:
        from gds_store import Store

        if not path.is_dir():
            raise FileNotFoundError(f"{path}: expected the folder of a store, there is none")
        self._store = Store(path, read_only=True, retention_seconds=FOREVER_SECONDS)

    def query(self, expression: str, at: float) -> Answer:
        """At one time."""
        return _evaluated(lambda: self._store.query(expression, at))

    def query_range(self, expression: str, start: float, end: float, step: float) -> Answer:
        """At each step."""
        return _evaluated(lambda: self._store.query_range(expression, start, end, step))

    def values(self, label: str, selectors: Sequence[str] = ()) -> list[str]:
        """The values of a label."""
        return self._store.label_values(label, *selectors)

    def labels(self, selectors: Sequence[str] = ()) -> list[str]:
        """The names of labels."""
        return self._store.labels(*selectors)


def _evaluated(evaluate: Any) -> Answer:
    from gds_store import StoreQueryError, StoreSyntaxError

    try:
        result: QueryResult = evaluate()
    except StoreQueryError as error:
        wrong = isinstance(error, StoreSyntaxError)
        if error.line is None or error.column is None or error.end_column is None:
            raise QueryError(str(error), wrong=wrong) from None
        raise QueryError(str(error), (error.line, error.column, error.end_column), wrong=wrong) from None
    series = [
        Series(each["labels"], each["values"] if "values" in each else [(each["timestamp"], each["value"])])
        for each in result
    ]
    return Answer(result.type, series, [*result.warnings, *result.infos])


class UrlAsked:
    """A server that answers as Prometheus does."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        full = url if "://" in url else f"http://{url}"
        parts = urlsplit(full)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{without_password(full)!r}: expected a URL such as http://127.0.0.1:9090")
        self._url = full.rstrip("/").removesuffix("/api/v1")
        self._timeout_seconds = timeout_seconds

    def query(self, expression: str, at: float) -> Answer:
        """At one time."""
        return _read(self._ask("query", {"query": expression, "time": repr(at)}))

    def query_range(self, expression: str, start: float, end: float, step: float) -> Answer:
        """At each step."""
        form = {"query": expression, "start": repr(start), "end": repr(end), "step": repr(step)}
        return _read(self._ask("query_range", form))

    def values(self, label: str, selectors: Sequence[str] = ()) -> list[str]:
        """The values of a label."""
        path = f"label/{quote(label, safe='')}/values?{urlencode([('match[]', each) for each in selectors])}"
        return _texts(self._ask(path)["data"])

    def labels(self, selectors: Sequence[str] = ()) -> list[str]:
        """The names of labels."""
        return _texts(self._ask(f"labels?{urlencode([('match[]', each) for each in selectors])}")["data"])

    def _ask(self, path: str, form: dict[str, str] | None = None) -> dict[str, Any]:
        body = None if form is None else urlencode({**form, "timeout": f"{self._timeout_seconds:g}s"}).encode()
        # Time to say that it has none left.
        patience = self._timeout_seconds + 5
        try:
            said = ask(f"{self._url}/api/v1/{path}", {"accept": "application/json"}, patience, ANSWER_BYTES, body)
        except urllib.error.HTTPError as error:
            said = error.read(ANSWER_BYTES)
            if not said.startswith(b"{"):
                raise OSError(f"{without_password(self._url)} answers {error.code} {error.reason}") from None
        except urllib.error.URLError as error:
            raise OSError(f"{without_password(self._url)} is not reached: {error.reason}") from None
        except TimeoutError:
            raise TimeoutError(f"{without_password(self._url)} has not answered in {patience:g} s") from None
        try:
            answer: dict[str, Any] = json.loads(said)
        except ValueError:
            raise OSError(f"{without_password(self._url)} answers, but not as Prometheus does") from None
        if answer.get("status") != "success":
            message = str(answer.get("error"))
            found = _PLACE.search(message)
            place = (int(found[1]), int(found[2]), int(found[2]) + 1) if found else None
            raise QueryError(message, place, wrong=answer.get("errorType") == "bad_data")
        return answer


def _texts(data: Any) -> list[str]:
    return [str(each) for each in data]


def _read(answer: dict[str, Any]) -> Answer:
    data = answer["data"]
    kind, result = data["resultType"], data["result"]
    said = [*answer.get("warnings", ()), *answer.get("infos", ())]
    if kind in ("scalar", "string"):
        timestamp, value = result
        return Answer(kind, [Series({}, [(float(timestamp), value if kind == "string" else float(value))])], said)
    series = []
    for each in result:
        points = each.get("values", ()) or [each["value"]] if "value" in each or "values" in each else []
        samples: list[tuple[float, Any]] = [(float(at), float(value)) for at, value in points]
        histograms = each.get("histograms", ()) or ([each["histogram"]] if "histogram" in each else [])
        samples += [(float(at), _histogram(value)) for at, value in histograms]
        series.append(Series(each["metric"], sorted(samples, key=lambda sample: sample[0])))
    return Answer(kind, series, said)


def _histogram(value: dict[str, Any]) -> dict[str, Any]:
    buckets = [(float(lower), float(upper), float(count)) for _, lower, upper, count in value.get("buckets", ())]
    return {"count": float(value["count"]), "sum": float(value["sum"]), "buckets": buckets}
