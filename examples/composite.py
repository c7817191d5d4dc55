"""One program, several collectors: a line in the terminal and a page for Prometheus."""

from __future__ import annotations

from gds_metrics import CompositeMetrics, ConsoleMetrics, PrometheusMetrics


class Broken:
    """A collector that fails, as one of somebody else's may."""

    def increment(self, *_arguments: object, **_settings: object) -> None:
        """Fail."""
        raise RuntimeError("no connection")

    gauge = histogram = timing = increment


def main() -> None:
    """A member that fails keeps nothing from the others."""
    page = PrometheusMetrics(start_server=False)
    metrics = CompositeMetrics([ConsoleMetrics(), Broken(), page])
    metrics.increment("orders", labels={"kind": "book"})
    metrics.increment("orders", 2, labels={"kind": "book"})

    print("on the page:", page.sample("orders", {"kind": "book"}))
    print("failed calls:", {type(member).__name__: count for member, count in metrics.failures})


if __name__ == "__main__":
    main()
