"""The command line: what it says without a hub."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gds_cli._options import settings, shown
from tests.metrics.programs import environment

COMMANDS = (
    "kafka produce",
    "kafka tail",
    "kafka topics",
    "kafka lag",
    "kafka dlq list",
    "kafka dlq replay",
)


def gds(
    *arguments: object, cwd: Path | None = None, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "gds_cli", *map(str, arguments)],
        cwd=cwd,
        env={name: value for name, value in environment().items() if not name.startswith("GDS_")}
        | {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
        | variables,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def words(text: str) -> str:
    return " ".join(text.split())


def test_help_lists_every_command() -> None:
    done = gds("kafka", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(command.split()[1] in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_knows_where_to_go_and_speaks_json(command: str) -> None:
    done = gds(*command.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for option in ("--bootstrap-servers", "-b", "GDS_BOOTSTRAP_SERVERS", "-X", "--json"):
        assert option in done.stdout, option


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("kafka", "produce", "orders", "1"), "--bootstrap-servers"),
        (("kafka", "produse"), "No such command 'produse'"),
        (("kafka", "tail", "-b", "localhost:1"), "Missing argument"),
        (("kafka", "tail", "orders", "-b", "localhost:1", "--max", "0"), "--max"),
        (("kafka", "topics", "-b", "localhost:1", "--create", "3"), "expected the NAME of the topic"),
        (("kafka", "topics", "-b", "localhost:1", "-X", "acks"), "-X acks: expected NAME=VALUE"),
        (("kafka", "produce", "t", "v", "-b", "localhost:1", "--header", "a"), "--header a: expected NAME=VALUE"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(arguments: tuple[str, ...], expected: str) -> None:
    done = gds(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert expected in words(done.stderr.replace("\u2502", " "))
    assert "Traceback" not in done.stderr


def test_without_typer_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ImportError('no typer here')\n")
    path = environment().get("PYTHONPATH", "")
    done = gds("kafka", "topics", PYTHONPATH=f"{tmp_path}:{path}" if path else str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "gds: expected typer and rich; run: pip install 'gds-telemetry[cli]'\n"


def test_settings_are_typed_and_sorted_by_whose_they_are() -> None:
    given = ["acks=1", "lazy=true", "client_id=a=b", "connect_timeout_seconds=0.5", "socket.nagle.disable=true", "x="]
    assert settings(given) == {
        "acks": 1,
        "lazy": True,
        "client_id": "a=b",
        "connect_timeout_seconds": 0.5,
        "x": "",
        "librdkafka": {"socket.nagle.disable": True},
    }
    assert settings(None) == {}


def test_a_setting_without_a_value_is_named_without_what_may_be_a_password() -> None:
    with pytest.raises(Exception, match=r"^-X =hunter2|^-X : expected NAME=VALUE") as caught:
        settings(["=hunter2"])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"[1, 2]", [1, 2]),
        (b"text", "text"),
        ("größe".encode(), "größe"),
        (b"\xff\x00", {"base64": "/wA="}),
        (b"", ""),
        (b"NaN", "NaN"),
        (b'{"a": 1e999}', '{"a": 1e999}'),
        (b'["\\ud800"]', '["\\ud800"]'),
        (b"[" * 100_000, "[" * 100_000),
        (None, None),
        ({"a": 1}, {"a": 1}),
    ],
)
def test_values_are_shown_as_json_text_or_base64(raw: Any, expected: Any) -> None:
    assert shown(raw) == expected
    json.dumps(shown(raw), ensure_ascii=False, allow_nan=False).encode()
