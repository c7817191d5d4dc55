"""Metrics to an OpenTelemetry collector over OTLP, without the OpenTelemetry SDK.

    OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317 python otlp.py

Endpoint, protocol and headers come from the standard ``OTEL_*`` variables, or from arguments of the same meaning.
"""

from __future__ import annotations

from gds_metrics import OpenTelemetryMetrics


def main() -> None:
    """Report a little, export it, and say what the receiver made of it."""
    with OpenTelemetryMetrics("orders", "2.1.0", resource_attributes={"deployment.environment": "test"}) as metrics:
        metrics.describe("order.time", help="Time to take an order.")
        for number in range(10):
            metrics.increment("orders.taken", labels={"kind": "even" if number % 2 == 0 else "odd"})
            metrics.timing("order.time", 12.5)
        # Every 60 seconds and on close by itself; a short program does not wait that long.
        taken = metrics.flush(timeout_seconds=5)
        print("taken" if taken else f"not taken: {metrics.stats()['last_error']}")


if __name__ == "__main__":
    main()
