"""Alerts in `gds watch`: those of the server that is watched, from a real `gds alert run`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gds_cli.alert.client import Client
from gds_cli.watch.alerts import WithAlerts
from gds_cli.watch.picture import Alert
from gds_cli.watch.source import EngineSource
from gds_cli.watch.ui import Ui
from gds_database.testing import InMemoryConnection, InMemoryEngine, InMemoryServer
from tests.alerting.running import Measuring, watching
from tests.cli.commands import gds, objects
from tests.cli.watching import drawn, picture
from tests.services.process import lease_port

RULES = """\
version: 1
routing:
  default_channel: terminal
  channels:
    terminal: {type: log}
rules:
  - id: cpu_high
    metric: cpu_usage
    severity: critical
    threshold: {op: ">", value: 85}
    annotations: {summary: "{{ value }} percent of the processors"}
"""


@contextmanager
def alerting(folder: Path) -> Iterator[str]:
    """The API of a watcher to whom db-1 and db-2 have given an alert each."""
    hub, rules = f"embedded:{folder / 'hub'}", folder / "rules.yaml"
    rules.write_text(RULES)
    with Measuring(hub) as measuring, watching(rules, hub, "--listen", "127.0.0.1:0") as watcher:
        address = watcher.wait_for("gds: API on ").rpartition(" ")[2]
        for name in ("db-1", "db-2"):
            measuring.measure(name, 92)
            watcher.wait_for(f"FIRING critical cpu_high:{name}:cpu_usage")
        yield f"http://{address}"
        assert watcher.end(signal.SIGINT) == 0


def source(api: str, instance_id: str | None = None) -> WithAlerts:
    memory = InMemoryServer(databases={"shop": {}})
    return WithAlerts(
        EngineSource(InMemoryEngine(InMemoryConnection(memory)), "memory"), Client(api, None), instance_id
    )


def test_alerts_of_this_server_are_shown_and_those_of_others_are_not(tmp_path: Path) -> None:
    with alerting(tmp_path) as api:
        shown = source(api, "db-1").read()
        others = source(api).read()
        done = gds("watch", "memory://box", "--json", "--instance", "db-2", GDS_ALERT_API=api)
    (alert,) = shown.alerts
    assert (alert.rule, alert.state, alert.severity, alert.value) == ("cpu_high", "firing", "critical", "92")
    assert alert.text == "92 percent of the processors"
    assert alert.seconds >= 0
    assert (others.alerts, others.missing) == ((), {})
    text = "\n".join(drawn(shown, Ui(), 80, 24))
    assert "1 alert" in text
    assert "cpu_high  92 percent of the processors" in text
    assert (done.returncode, done.stderr) == (0, "")
    assert [each["key"] for each in objects(done)[0]["alerts"]] == ["cpu_high:db-2:cpu_usage"]


def test_who_does_not_answer_leaves_out_the_alerts_alone() -> None:
    with ExitStack() as leases:
        port = lease_port(leases)
        shown = source(f"http://127.0.0.1:{port}", "db-1").read()
    assert shown.space
    assert shown.alerts == ()
    assert "does not answer" in shown.missing["alerts"]
    assert "does not answer" in "\n".join(drawn(shown, Ui(view="alerts"), 120, 20))


def test_what_is_muted_or_taken_on_is_shown_and_makes_no_noise() -> None:
    alerts = (
        Alert("a:db-1", "a", "firing", "critical", "1", "", 5.0),
        Alert("b:db-1", "b", "acknowledged", "critical", "1", "", 5.0),
        Alert("c:db-1", "c", "firing", "warning", "1", "", 5.0, muted="maintenance"),
    )
    told = picture(alerts=alerts)
    lines = drawn(told, Ui(view="alerts"), 80, 24)
    assert "1 alert" in lines[1]
    assert [line.split()[:2] for line in lines if "db-1" in line and ":" in line.split()[-1]][-3:] == [
        ["critical", "firing"],
        ["critical", "acknowledged"],
        ["warning", "muted"],
    ]


def test_without_an_address_the_view_says_how_to_have_them() -> None:
    ui = Ui()
    without = picture(tells=picture().tells - {"alerts"})
    ui.press("9", without)
    assert ui.said == "--alerts URL says where alerts are"
    assert "alerts" not in ui.views(without)


def test_an_address_of_no_api_is_refused() -> None:
    done = gds("watch", "memory://box", "--json", "--alerts", "box:9095")
    assert done.returncode == 2
    assert "expected http://HOST:PORT" in done.stderr
