"""Metrics to a StatsD server or a Datadog agent over UDP.

    python statsd.py 127.0.0.1 8125

Nothing waits for the server, and one that is away is no error.
"""

from __future__ import annotations

import sys

from gds_metrics import StatsdMetrics


def main(host: str = "127.0.0.1", port: str = "8125") -> None:
    """Report a little; closing sends what was added up."""
    with StatsdMetrics(host, int(port), prefix="shop", tags={"env": "test"}) as metrics:
        for number in range(10):
            metrics.increment("orders", labels={"kind": "even" if number % 2 == 0 else "odd"})
        metrics.gauge("stock", 42)
        metrics.timing("order.time", 12.5)
    print("datagrams sent:", metrics.stats()["packets_sent"])


if __name__ == "__main__":
    main(*sys.argv[1:])
