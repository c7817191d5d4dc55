"""`timed` as a decorator and as a context manager, for functions, coroutines and generators."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from gds_metrics import PrometheusMetrics, timed

metrics = PrometheusMetrics(start_server=False)


@timed(metrics, "parse")
def parse(text: str) -> int:
    """A number from text; ``ValueError`` is reported with the label error_type and goes on to the caller."""
    return int(text)


@timed(metrics, "query", {"table": "users"})
async def query() -> list[str]:
    """The time until the result, waiting included."""
    await asyncio.sleep(0)
    return ["ann", "bob"]


@timed(metrics, "read")
def read(names: list[str]) -> Iterator[str]:
    """The time from the first item until the last."""
    yield from names


def main() -> None:
    """Run each of them once, one of them in vain."""
    parse("1")
    try:
        parse("one")
    except ValueError:
        print("parse failed:", metrics.sample("parse", {"error_type": "ValueError"}))
    print("parse worked:", metrics.sample("parse"))

    names = asyncio.run(query())
    print("query:", metrics.sample("query", {"table": "users"}))

    with timed(metrics, "all"):
        print("read:", list(read(names)))
    print("all:", metrics.sample("all"))


if __name__ == "__main__":
    main()
