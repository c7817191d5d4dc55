"""Alertmanager's own `amtool` works against the watcher."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.alerting.running import LONG_SECONDS, Measuring, Watcher, watching
from tests.helpers.certificates import make_pki
from tests.services.fixtures import require_service
from tests.services.install import install

pytestmark = pytest.mark.server

RULES = """\
version: 1
routing:
  default_channel: terminal
  channels:
    terminal: {type: log}
    spare: {type: log}
  routes:
    - match: {environment: production}
      channels: [terminal, spare]
      group_by: [environment]
      group_wait: 0s
policy:
  inhibition:
    - {suppress_if: cpu_high, suppresses: cpu_busy}
rules:
  - id: cpu_high
    metric: cpu_usage
    threshold: {op: ">", value: 90}
    annotations: {summary: "{{ instance_id }} is busy"}
    runbook_url: https://example.com/cpu
  - id: cpu_busy
    metric: cpu_usage
    threshold: {op: ">", value: 80}
"""


class Amtool:
    """The program, for one server; ``flags`` are those of every command."""

    def __init__(self, url: str, *flags: str) -> None:
        # What it asks has versions of its own.
        self._flags = [f"--alertmanager.url={url}", "--no-version-check", *flags]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end, whatever that is."""
        return subprocess.run(
            [str(install("amtool")["amtool"]), *self._flags, *arguments],
            # It would read settings of whoever runs this.
            env={"PATH": os.environ["PATH"], "HOME": os.devnull},
            capture_output=True,
            text=True,
            timeout=LONG_SECONDS,
            check=False,
        )

    def __call__(self, *arguments: str) -> str:
        """What it printed; an end that is not a good one is an error."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """What it printed as JSON."""
        return json.loads(self("--output=json", *arguments))


class Scene:
    """A watcher with an API over TLS for those who have a password, somebody who measures, and `amtool`."""

    def __init__(self, watcher: Watcher, measuring: Measuring, amtool: Amtool, stranger: Amtool) -> None:
        self.watcher = watcher
        self.measuring = measuring
        self.amtool = amtool
        self.stranger = stranger

    def fire(self, instance: str, value: float = 95) -> None:
        self.measuring.measure(instance, value)
        rule = "cpu_high" if value > 90 else "cpu_busy"
        self.watcher.wait_for(f"FIRING warning {rule}:{instance}:cpu_usage")

    def alerts(self, *arguments: str) -> list[tuple[str, str]]:
        """Rule and instance of each."""
        found = self.amtool.json("alert", "query", *arguments)
        return sorted((each["labels"]["alertname"], each["labels"]["instance_id"]) for each in found)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    require_service("amtool")
    pki = make_pki(tmp_path)
    hub, rules, users = f"embedded:{tmp_path / 'hub'}", tmp_path / "rules.yaml", tmp_path / "users"
    rules.write_text(RULES)
    users.write_text("ada:lovelace\n")
    client = tmp_path / "client.yml"
    client.write_text(f"basic_auth: {{username: ada, password: lovelace}}\ntls_config: {{ca_file: {pki.ca}}}\n")
    unknown = tmp_path / "unknown.yml"
    unknown.write_text(f"tls_config: {{ca_file: {pki.ca}}}\n")
    listen = ("--listen", "127.0.0.1:0", "--basic-auth-file", str(users))
    tls = ("--certfile", str(pki.server_cert), "--keyfile", str(pki.server_key))
    with Measuring(hub) as measuring, watching(rules, hub, *listen, *tls) as watcher:
        url = f"https://{watcher.wait_for('gds: API on ').rpartition(' ')[2]}"
        amtool = Amtool(url, f"--http.config.file={client}")
        yield Scene(watcher, measuring, amtool, Amtool(url, f"--http.config.file={unknown}"))
        assert watcher.end(signal.SIGINT) == 0


def test_alerts_are_found_by_label_receiver_and_what_mutes_them(scene: Scene) -> None:
    scene.fire("db-1")
    scene.fire("db-2", 85)
    assert scene.alerts() == [("cpu_busy", "db-2"), ("cpu_high", "db-1")]
    assert scene.alerts("alertname=cpu_high") == [("cpu_high", "db-1")]
    assert scene.alerts("instance_id=~db-.", "alertname!=cpu_high") == [("cpu_busy", "db-2")]
    assert scene.alerts("nothing=~.+") == []
    assert len(scene.alerts("nothing=")) == 2
    assert len(scene.alerts("--receiver=spare")) == 2
    assert scene.alerts("--receiver=nobody") == []
    # One of db-1 is needless beside the other.
    assert scene.alerts("--inhibited") == [("cpu_busy", "db-1")]
    assert "db-1 is busy" in scene.amtool("alert", "query", "alertname=cpu_high")
    (alert,) = scene.amtool.json("alert", "query", "alertname=cpu_high")
    assert alert["status"]["state"] == "active"
    assert alert["annotations"]["runbook_url"] == "https://example.com/cpu"
    assert datetime.fromisoformat(alert["endsAt"].replace("Z", "+00:00")) > datetime.now(timezone.utc)
    (inhibited,) = scene.amtool.json("alert", "query", "--inhibited")
    assert inhibited["status"]["inhibitedBy"] == [alert["fingerprint"]]


def test_a_silence_is_made_changed_and_ended(scene: Scene) -> None:
    scene.fire("db-1")
    made = scene.amtool(
        *("silence", "add", "--author=bob", "--comment=index is being built", "--duration=1h"),
        *("instance_id=~db-[13]", "environment!=test", "alertname=cpu_high"),
    )
    silence_id = made.strip()
    (silence,) = scene.amtool.json("silence", "query")
    # Who has shown a password is that user.
    assert (silence["id"], silence["createdBy"], silence["comment"]) == (silence_id, "ada", "index is being built")
    assert silence["status"]["state"] == "active"
    assert sorted(silence["matchers"], key=lambda each: str(each["name"])) == [
        {"name": "alertname", "value": "cpu_high", "isRegex": False, "isEqual": True},
        {"name": "environment", "value": "test", "isRegex": False, "isEqual": False},
        {"name": "instance_id", "value": "db-[13]", "isRegex": True, "isEqual": True},
    ]
    assert scene.alerts("alertname=cpu_high") == []
    (muted,) = scene.amtool.json("alert", "query", "--silenced")
    assert muted["status"] | {"mutedBy": []} == {
        "state": "suppressed",
        "silencedBy": [silence_id],
        "inhibitedBy": [],
        "mutedBy": [],
    }
    assert scene.amtool.json("silence", "query", "alertname=cpu_busy") == []
    assert len(scene.amtool.json("silence", "query", "alertname=cpu_high")) == 1

    scene.amtool("silence", "update", "--duration=3h", "--comment=takes longer", silence_id)
    (changed,) = scene.amtool.json("silence", "query")
    assert (changed["id"], changed["comment"], changed["startsAt"]) == (silence_id, "takes longer", silence["startsAt"])
    ends = datetime.fromisoformat(changed["endsAt"].replace("Z", "+00:00"))
    assert ends - datetime.now(timezone.utc) > timedelta(hours=2)
    assert changed["matchers"] == silence["matchers"]

    scene.amtool("silence", "expire", silence_id)
    assert scene.amtool.json("silence", "query") == []
    assert scene.alerts("alertname=cpu_high") == [("cpu_high", "db-1")]
    gone = scene.amtool.run("silence", "expire", silence_id)
    assert gone.returncode == 1
    update = scene.amtool.run("silence", "update", "--duration=1h", silence_id)
    assert update.returncode == 1


def test_what_is_no_silence_is_refused_with_its_reason(scene: Scene) -> None:
    def refused(*arguments: str) -> str:
        done = scene.amtool.run("silence", "add", "--comment=x", *arguments)
        assert done.returncode == 1, done.stdout
        return done.stdout + done.stderr

    assert "asked for twice" in refused("alertname=a", "alertname=b")
    assert "endsAt" in refused("--start=2026-01-01T00:00:00Z", "--end=2026-01-01T01:00:00Z", "alertname=a")
    assert "longer than" in refused("alertname=" + "a" * 2000)
    assert scene.amtool.json("silence", "query") == []
    done = scene.amtool.run("alert", "add", "mine", "a=b")
    assert done.returncode == 1


def test_silences_of_a_file_are_taken_over(scene: Scene, tmp_path: Path) -> None:
    exported = {
        "id": "",
        "matchers": [{"name": "instance_id", "value": "db-.+", "isRegex": True, "isEqual": True}],
        "startsAt": "2099-01-01T00:00:00.000Z",
        "endsAt": "2099-01-01T02:00:00.000Z",
        "createdBy": "bob",
        "comment": "planned",
    }
    file = tmp_path / "silences.json"
    file.write_text(json.dumps([exported]))
    scene.amtool("silence", "import", str(file))
    (imported,) = scene.amtool.json("silence", "query")
    assert imported["status"]["state"] == "pending"
    for key in ["matchers", "startsAt", "endsAt", "comment"]:
        assert imported[key] == exported[key]


def test_the_status_says_what_is_in_use(scene: Scene) -> None:
    # An inhibition that names both rules, as it stands in the file.
    assert "suppresses: cpu_busy" in scene.amtool("config", "show")
    assert "disabled" in scene.amtool("cluster", "show")


def test_who_has_no_password_sees_nothing(scene: Scene) -> None:
    scene.fire("db-1")
    done = scene.stranger.run("alert", "query")
    assert done.returncode == 1
    assert "db-1" not in done.stdout + done.stderr
    assert "401" in done.stdout + done.stderr
