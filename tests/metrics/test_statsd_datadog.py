"""Where `StatsdMetrics` sends to, as Datadog's variables say it where the program does not."""

from __future__ import annotations

import os
from typing import Any

import pytest

from gds_metrics import StatsdMetrics


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("DD_"):
            monkeypatch.delenv(name)


URL, HOST, PORT = "DD_DOGSTATSD_URL", "DD_AGENT_HOST", "DD_DOGSTATSD_PORT"


@pytest.mark.parametrize(
    ("variables", "given", "expected"),
    [
        ({}, {}, "127.0.0.1:8125"),
        ({HOST: "agent"}, {}, "agent:8125"),
        ({HOST: "fd00::5", PORT: "9000"}, {}, "fd00::5:9000"),
        ({PORT: "9000"}, {}, "127.0.0.1:9000"),
        ({HOST: "agent", PORT: "9000"}, {"host": "other"}, "other:9000"),
        ({HOST: "agent", PORT: "9000"}, {"port": 8125}, "agent:8125"),
        ({URL: "udp://agent:9000", HOST: "other", PORT: "1"}, {}, "agent:9000"),
        ({URL: "udp://agent"}, {}, "agent:8125"),
        ({URL: "udp://[fd00::5]:9000"}, {}, "fd00::5:9000"),
        ({URL: "unix:///run/datadog/dsd.socket"}, {}, "/run/datadog/dsd.socket"),
        ({URL: "unixgram:///run/a%20b"}, {}, "/run/a b"),
        ({URL: "udp://agent:9000"}, {"host": "other"}, "other:8125"),
        ({URL: "udp://agent:9000"}, {"port": 7}, "127.0.0.1:7"),
        ({URL: "udp://agent:9000", HOST: "x"}, {"socket_path": "/run/own"}, "/run/own"),
        ({HOST: "  ", PORT: "", URL: ""}, {}, "127.0.0.1:8125"),
    ],
)
def test_what_the_program_gives_wins_then_the_variables(
    variables: dict[str, str],
    given: dict[str, Any],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with StatsdMetrics(**given, flush_interval_seconds=3600) as metrics:
        assert str(metrics) == f"StatsD Metrics ({expected})"
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (URL, "unixstream:///run/datadog/dsd.socket"),
        (URL, "udp://agent:many"),
        (URL, "udp://user:hunter2@agent:8125"),
        (URL, "udp://[agent"),
        (URL, "unix://relative"),
        (URL, "agent:8125"),
        (HOST, "http://hunter2/"),
        (HOST, "agent:8125"),
        (PORT, "0"),
        (PORT, "70000"),
        (PORT, "8125.0"),
        (PORT, "٣"),
    ],
)
def test_a_variable_that_cannot_be_used_is_mentioned_and_left_out(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(name, value)
    with StatsdMetrics(flush_interval_seconds=3600) as metrics:
        assert str(metrics) == "StatsD Metrics (127.0.0.1:8125)"
    [record] = caplog.records
    assert record.getMessage().startswith(f"the variable {name} is ignored: expected ")
    assert "hunter2" not in record.getMessage()
