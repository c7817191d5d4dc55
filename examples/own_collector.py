"""A collector of one's own: any class with the four methods is one. No base class, nothing to register."""

from __future__ import annotations

from gds_metrics import CompositeMetrics, MetricsCollector, NoOpMetrics, timed


class RecordingMetrics:
    """Remembers what was reported; for a test, say."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, float, dict[str, str]]] = []

    def increment(self, name: str, value: float = 1, labels: dict[str, str] | None = None) -> None:
        """Remember an increment."""
        self.calls.append(("increment", name, value, labels or {}))

    def gauge(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:
        """Remember the value of a gauge."""
        self.calls.append(("gauge", name, value, labels or {}))

    def histogram(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:
        """Remember an observation."""
        self.calls.append(("histogram", name, value, labels or {}))

    def timing(self, name: str, value_ms: float, labels: dict[str, str] | None = None) -> None:
        """Remember a duration."""
        self.calls.append(("timing", name, value_ms, labels or {}))


def main() -> None:
    """It goes wherever a collector goes."""
    own = RecordingMetrics()
    print("is a collector:", isinstance(own, MetricsCollector))
    metrics = CompositeMetrics([own, NoOpMetrics()])
    metrics.increment("orders", labels={"kind": "book"})
    with timed(own, "order.time"):
        metrics.gauge("stock", 42)
    for method, name, _value, labels in own.calls:
        print(method, name, labels)


if __name__ == "__main__":
    main()
