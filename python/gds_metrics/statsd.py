"""`StatsdMetrics`: adds up in Rust and sends to a StatsD server or Datadog agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gds_metrics._collector import Managed, Pinned
from gds_metrics._exit import close_at_exit, is_closed
from gds_metrics._settings import log_failure, path, seconds, text, whole
from gds_native._lib import StatsdCore

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

__all__ = ["StatsdMetrics"]


class StatsdMetrics(Managed, Pinned, StatsdCore):
    """Sends to a StatsD server, with DogStatsD tags, over UDP or a Unix datagram socket.

    Counters and gauges are added up here and sent once an interval; samples of histograms and timings are kept and sent
    one by one. Nothing a caller does waits for the network, and a server that is away costs nothing but memory up to
    ``max_buffered_samples``: counters keep their sums, and samples beyond the bound are thinned out with a sample rate.

    Args:
        host: The server's name or address. By default that of ``DD_DOGSTATSD_URL`` (``udp://host:port`` or
            ``unix:///path``), then ``DD_AGENT_HOST``, then ``127.0.0.1``. Looked up when something is sent.
        port: Its UDP port; by default that of ``DD_DOGSTATSD_URL``, then ``DD_DOGSTATSD_PORT``, then 8125.
        socket_path: A Unix datagram socket instead of ``host`` and ``port``.
        prefix: Put before every name with a dot.
        tags: Sent with every metric; a label of the same name wins.
        max_packet_bytes: Largest datagram; 1432 over UDP and 8192 over a Unix socket by default.
        flush_interval_seconds: Time between two sendings.
        max_series: Label sets of one name before the rest goes to the one tagged ``overflow:true``.
        max_buffered_samples: Samples kept between two sendings, over all series.
        pack_values: Whether to send several samples as one line (``name:1:2:3|h``), which DogStatsD 1.1 understands and
            others do not.
    """

    __slots__ = ("_host", "_port", "_socket_path")

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        socket_path: str | os.PathLike[str] | None = None,
        prefix: str = "",
        tags: Mapping[str, object] | None = None,
        max_packet_bytes: int | None = None,
        flush_interval_seconds: float = 1.0,
        max_series: int = 10_000,
        max_buffered_samples: int = 65_536,
        pack_values: bool = False,
    ) -> None:
        self._host = None if host is None else text("host", host)
        self._socket_path = None if socket_path is None else path("socket_path", socket_path)
        given = None if port is None else whole("port", port, 1, 65_535, "StatsD servers listen on 8125 by default")
        if socket_path is None:
            from gds_metrics._datadog import address

            self._host, given, self._socket_path = address(self._host, given)
        self._port = 8125 if given is None else given
        self._open(
            {
                "host": self._host,
                "port": self._port,
                "socket_path": self._socket_path,
                "prefix": text("prefix", prefix),
                "constant_tags": [] if tags is None else _tags(tags),
                "max_packet_bytes": None
                if max_packet_bytes is None
                else whole("max_packet_bytes", max_packet_bytes, 64, 65_507, "the largest datagram"),
                "flush_interval_seconds": seconds("flush_interval_seconds", flush_interval_seconds),
                "max_series": whole("max_series", max_series, 1, 100_000_000, "label sets of one name"),
                "max_buffered_samples": whole(
                    "max_buffered_samples", max_buffered_samples, 1, 1_000_000_000, "samples kept in memory"
                ),
                "pack_values": bool(pack_values),
            }
        )
        close_at_exit(self)

    def describe(self, name: str, **settings: object) -> None:
        """Nothing to do: StatsD has no descriptions."""

    def stats(self) -> dict[str, int]:
        """What was sent and what was dropped, by name; all counts since this process made the collector."""
        return self._stats()

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        """Send what was added up.

        Args:
            timeout_seconds: How long to wait at most.

        Returns:
            Whether all of it was sent. What was not is kept for the next time.
        """
        try:
            self._flush(seconds("timeout_seconds", timeout_seconds))
        except OSError:
            return False
        return True

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Send a last time and stop; may be called again. What is reported afterwards is dropped and counted.

        Args:
            timeout_seconds: How long to wait at most. What cannot be sent in that time is mentioned in the log.
        """
        try:
            self._close(seconds("timeout_seconds", timeout_seconds))
        except OSError as error:
            log_failure("the last metrics were not sent to StatsD: %s", error)
        finally:
            is_closed(self)

    def __repr__(self) -> str:
        if self._socket_path is not None:
            return f"{type(self).__name__}(socket_path={self._socket_path!r})"
        return f"{type(self).__name__}(host={self._host or '127.0.0.1'!r}, port={self._port})"

    def __str__(self) -> str:
        if self._socket_path is not None:
            return f"StatsD Metrics ({self._socket_path})"
        return f"StatsD Metrics ({self._host or '127.0.0.1'}:{self._port})"


def _tags(given: Mapping[str, object]) -> list[tuple[str, str]]:
    if not hasattr(given, "items"):
        raise TypeError(f"tags={given!r}: expected a dict of str to str, such as {{'env': 'prod'}}")
    tags = [(text("tags", name), str(value)) for name, value in given.items()]
    if any(not name for name, _ in tags):
        raise ValueError(f"tags={given!r}: expected a name for every tag; remove the one without")
    return tags
