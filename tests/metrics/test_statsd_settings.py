"""Settings of `StatsdMetrics` that make no sense: each raises with its value, what was expected and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from gds_metrics import StatsdMetrics


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"host": 5}, TypeError, r"^host=5: expected a str"),
        ({"host": ""}, ValueError, r"^host=: expected a host name or address; leave it out for 127\.0\.0\.1$"),
        ({"host": "agent:8125"}, ValueError, r"^host=agent:8125: expected .*; put the port into port"),
        ({"host": "udp://agent"}, ValueError, r"^host=udp://agent: expected a host name or address alone"),
        ({"host": "my agent"}, ValueError, r"^host=my agent: expected a host name or address alone"),
        ({"port": 0}, ValueError, r"^port=0: expected a whole number from 1 to 65535; .*8125"),
        ({"port": 70_000}, ValueError, r"^port=70000: expected a whole number from 1 to 65535; .*8125"),
        ({"port": "8125"}, TypeError, r"^port='8125': expected a whole number"),
        ({"port": True}, TypeError, r"^port=True: expected a whole number"),
        ({"port": 8125.0}, TypeError, r"^port=8125\.0: expected a whole number"),
        ({"host": "agent", "socket_path": "/x"}, ValueError, r"^socket_path=/x: expected no host .*; remove one$"),
        ({"socket_path": ""}, ValueError, r"^socket_path=: expected the path .*; leave it out for UDP$"),
        ({"socket_path": f"/{'x' * 200}"}, ValueError, r"^socket_path=/xxx.*; use a shorter one$"),
        ({"socket_path": 5}, TypeError, r"^socket_path=5: expected a path"),
        ({"prefix": 5}, TypeError, r"^prefix=5: expected a str"),
        ({"tags": "env:prod"}, TypeError, r"^tags='env:prod': expected a dict of str to str, such as"),
        ({"tags": ["env:prod"]}, TypeError, r"^tags=\['env:prod'\]: expected a dict of str to str"),
        ({"tags": {1: "x"}}, TypeError, r"^tags=1: expected a str"),
        ({"tags": {"": "x"}}, ValueError, r"^tags=.*: expected a name for every tag; remove the one without$"),
        ({"max_packet_bytes": 10}, ValueError, r"^max_packet_bytes=10: expected a whole number from 64 to 65507"),
        ({"max_packet_bytes": 65_508}, ValueError, r"^max_packet_bytes=65508: expected .*; the largest datagram$"),
        ({"max_packet_bytes": "1k"}, TypeError, r"^max_packet_bytes='1k': expected a whole number"),
        ({"flush_interval_seconds": 0}, ValueError, r"^flush_interval_seconds=0: expected .* from 0.001 to 1e9$"),
        ({"flush_interval_seconds": -1}, ValueError, r"^flush_interval_seconds=-1: expected"),
        ({"flush_interval_seconds": float("inf")}, ValueError, r"^flush_interval_seconds=inf: expected"),
        ({"flush_interval_seconds": "1"}, TypeError, r"^flush_interval_seconds='1': expected a number of seconds$"),
        ({"max_series": 0}, ValueError, r"^max_series=0: expected a whole number from 1"),
        ({"max_buffered_samples": 0}, ValueError, r"^max_buffered_samples=0: expected a whole number from 1"),
    ],
)
def test_a_setting_that_makes_no_sense_raises_at_construction(
    settings: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        StatsdMetrics(**settings)


def test_a_password_in_a_host_that_is_a_url_is_not_shown() -> None:
    with pytest.raises(ValueError, match=r"^host=agent: expected a host name or address alone") as caught:
        StatsdMetrics("udp://me:hunter2@agent")
    assert "hunter2" not in str(caught.value)


def test_a_name_that_does_not_resolve_is_no_reason_to_fail() -> None:
    metrics = StatsdMetrics("no-such-host.invalid", flush_interval_seconds=3600)
    metrics.increment("jobs")
    assert metrics.flush(10) is False
    assert metrics.stats()["flushes_failed"] == 1
    metrics.close(0.1)


@pytest.mark.parametrize("host", ["::1", "[::1]", "localhost", "127.0.0.1"])
def test_addresses_and_names_are_hosts(host: str) -> None:
    StatsdMetrics(host, flush_interval_seconds=3600).close()


@pytest.mark.parametrize("call", ["flush", "close"])
def test_a_time_out_that_makes_no_sense_raises(call: str) -> None:
    with (
        StatsdMetrics(flush_interval_seconds=3600) as metrics,
        pytest.raises(ValueError, match=r"^timeout_seconds=-1: expected"),
    ):
        getattr(metrics, call)(-1)
