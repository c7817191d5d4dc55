"""What people do about alerts from the command line, and who is let in."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.alerting.running import Measuring, Watcher, watching
from tests.cli.commands import gds, objects

RULES = """\
version: 1
routing:
  default_channel: terminal
  channels:
    terminal: {type: log}
rules:
  - id: cpu_high
    metric: cpu_usage
    threshold: {op: ">", value: 85}
"""
KEY = "cpu_high:db-1:cpu_usage"


class Scene:
    """A watcher with an API, and somebody who measures."""

    def __init__(self, watcher: Watcher, measuring: Measuring, api: str) -> None:
        self.watcher = watcher
        self.measuring = measuring
        self.api = api
        self.user = "ada:lovelace"

    def gds(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        user, _, password = self.user.partition(":")
        variables = {"GDS_ALERT_API": self.api, "GDS_ALERT_API_USER": user, "GDS_ALERT_API_PASSWORD": password}
        return gds("alert", *arguments, **variables)

    def fire(self) -> None:
        self.measuring.measure("db-1", 92)
        self.watcher.wait_for(f"FIRING warning {KEY}")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    hub, rules, users = f"embedded:{tmp_path / 'hub'}", tmp_path / "rules.yaml", tmp_path / "users"
    rules.write_text(RULES)
    users.write_text("ada:lovelace\n")
    listen = ("--listen", "127.0.0.1:0", "--basic-auth-file", str(users))
    with Measuring(hub) as measuring, watching(rules, hub, *listen) as watcher:
        address = watcher.wait_for("gds: API on ").rpartition(" ")[2]
        yield Scene(watcher, measuring, f"http://{address}")
        assert watcher.end(signal.SIGINT) == 0


def test_an_alert_is_listed_acknowledged_and_resolved_and_all_of_it_is_kept(scene: Scene) -> None:
    scene.fire()
    (listed,) = objects(scene.gds("list", "--json"))
    assert (listed["key"], listed["state"], listed["muted"]) == (KEY, "firing", None)
    done = scene.gds("ack", KEY, "--for", "2h", "--comment", "index is being built")
    assert (done.returncode, done.stdout) == (0, f"{KEY} is acknowledged\n"), done.stderr
    assert "acknowledged" in scene.gds("list").stdout
    assert scene.gds("resolve", KEY).returncode == 0
    scene.watcher.wait_for(f"RESOLVED warning {KEY}")
    assert objects(scene.gds("list", "--json")) == []
    changes = [(each["to"], each["by"]) for each in objects(scene.gds("history", KEY, "--json"))]
    assert changes == [("resolved", "ada"), ("acknowledged", "ada"), ("firing", None)]
    acts = objects(scene.gds("audit", "--json"))
    assert [(each["action"], each["by"], each["about"]) for each in acts] == [
        ("resolve", "ada", KEY),
        ("acknowledge", "ada", KEY),
    ]
    assert acts[1]["detail"] == "index is being built"


def test_a_silence_says_what_it_mutes_and_keeps_it_quiet(scene: Scene) -> None:
    scene.fire()
    preview = scene.gds("silence", 'instance_id=~"db-.+"', "--for", "1h", "--preview")
    assert preview.stdout == f"mutes 1 alerts that are open:\n  {KEY}\n"
    assert objects(scene.gds("silences", "--json")) == []
    made = scene.gds("silence", "instance_id=db-2", "--for", "1h", "--comment", "planned")
    assert made.stdout.endswith("mutes 0 alerts that are open\n"), made.stderr
    (silence,) = objects(scene.gds("silences", "--json"))
    assert (silence["by"], silence["comment"]) == ("ada", "planned")
    scene.measuring.measure("db-2", 92)
    scene.measuring.measure("db-3", 92)
    scene.watcher.wait_for("FIRING warning cpu_high:db-3:cpu_usage")
    assert not any("db-2" in line for line in scene.watcher.printed)
    muted = {each["key"]: each["muted"] for each in objects(scene.gds("list", "--json"))}
    assert muted["cpu_high:db-2:cpu_usage"], muted
    assert scene.gds("unsilence", silence["id"]).returncode == 0
    scene.watcher.wait_for("FIRING warning cpu_high:db-2:cpu_usage")


def test_what_cannot_be_done_is_said_and_kept(scene: Scene) -> None:
    done = scene.gds("ack", "cpu_high:db-9:cpu_usage")
    assert (done.returncode, done.stdout) == (1, "")
    assert objects(scene.gds("audit", "--json"))[0]["refused"]
    for arguments, part in [
        (("ack", KEY, "--for", "soon"), "expected a form such as 30m"),
        (("silence", "nothing", "--for", "1h"), "no matcher"),
        (("silence", "a=1", "a=2", "--for", "1h"), "a"),
        (("unsilence", "none"), "there is no such silence"),
    ]:
        done = scene.gds(*arguments)
        assert done.returncode == 1
        assert part in done.stderr, done.stderr


def test_who_is_not_known_is_not_let_in(scene: Scene) -> None:
    scene.user = "ada:byron"
    done = scene.gds("list")
    assert (done.returncode, done.stdout) == (1, "")
    assert "who asks is not known" in done.stderr
    assert "byron" not in done.stderr


def test_without_an_api_the_remedy_is_said() -> None:
    done = gds("alert", "list", "--api", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "gds alert run --listen" in done.stderr
