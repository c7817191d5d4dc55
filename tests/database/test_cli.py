"""``gds db``, on an engine in memory."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from gds_cli._app import run
from gds_database import ConfigurationError, EngineConfig, LogEntry, Metric
from gds_database.cli.options import control_by, secret, since
from gds_database.cli.output import _cell, size
from gds_database.control import Kubernetes, PgCtl, Systemd
from gds_database.testing import InMemoryConnection, InMemoryEngine, InMemoryServer
from tests.cli.commands import COMMAND, clean_environment, gds

Gds = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server() -> InMemoryServer:
    now = datetime.now(timezone.utc)
    session = {
        "id": "7",
        "user": "u",
        "database": "shop",
        "state": "active",
        "statement": "SELECT 1",
        "blocked_by": ["8"],
    }
    return InMemoryServer(
        databases={"shop": {"orders": [1]}, "empty": {}},
        users={"ann": {}},
        processes=[session, {**session, "id": "8", "state": "idle", "blocked_by": []}],
        metrics=[Metric("memory.databases", 2.0, "{database}", now, {"a": "b"}), Metric("memory.x", 1.0, "By", now)],
        logs=[LogEntry(now - timedelta(minutes=5), "ERROR", "no [bold] room", "memory")],
        nodes=["box", "other"],
    )


@pytest.fixture(name="gds_db")
def _gds_db(
    server: InMemoryServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Gds]:
    def opened(config: EngineConfig) -> InMemoryConnection:
        return InMemoryConnection(server)

    monkeypatch.setattr(InMemoryEngine, "_open", staticmethod(opened))
    monkeypatch.setenv("GDS_DATABASE_URL", "memory://box")
    monkeypatch.setattr("sys.stdin", Path(os.devnull).open())  # noqa: SIM115 - pytest's own is no file

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run(["db", *map(str, arguments)])
        told = capsys.readouterr()
        return code, told.out, told.err

    yield call
    sys.stdin.close()


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# ------------------------------------------------------------------ looking
def test_databases_are_listed(gds_db: Gds) -> None:
    code, out, err = gds_db("list")
    assert (code, err) == (0, "")
    assert [line.split()[:3] for line in out.splitlines() if "online" in line] == [
        ["empty", "2", "B"],
        ["shop", "15", "B"],
    ]
    found = objects(gds_db("list", "--json")[1])
    assert [(each["name"], each["size_bytes"], each["state"]) for each in found] == [
        ("empty", 2, "online"),
        ("shop", 15, "online"),
    ]


def test_one_command_shows_the_server(gds_db: Gds) -> None:
    code, out, _ = gds_db("info")
    assert code == 0
    for word in ("version", "1.0", "server time", "role", "primary", "empty, shop", "sessions"):
        assert word in out
    [found] = objects(gds_db("info", "--json")[1])
    assert (found["databases"], found["partners"], found["sessions"]) == (["empty", "shop"], ["other"], 2)


def test_users_sessions_replication_metrics_and_logs_are_shown(gds_db: Gds) -> None:
    assert objects(gds_db("users", "--json")[1]) == [{"name": "ann"}]
    _, out, _ = gds_db("processes")
    assert "SELECT 1" in out
    assert [line.split()[0] for line in out.splitlines() if line.strip()][2:] == ["7"]
    assert len(objects(gds_db("processes", "--json")[1])) == 2
    [found] = objects(gds_db("replication", "--json")[1])
    assert (found["role"], found["partners"], found["lag_seconds"], found["nodes"]) == ("primary", ["other"], 0.0, [])
    assert "sync state" in gds_db("replication")[1]
    assert [each["name"] for each in objects(gds_db("metrics", "--name", "databases", "--json")[1])] == [
        "memory.databases"
    ]
    assert "no [bold] room" in gds_db("logs")[1]
    assert gds_db("logs", "--since", "1m", "--json")[1] == ""
    assert objects(gds_db("logs", "--level", "ERROR", "--json")[1])[0]["level"] == "ERROR"
    assert len(objects(gds_db("capabilities", "--json")[1])) > 20


def test_settings_are_shown_and_set(gds_db: Gds, server: InMemoryServer) -> None:
    assert objects(gds_db("config", "--json")[1]) == [{"name": "max_connections", "value": 100}]
    assert objects(gds_db("config", "max_connections", "--json")[1])[0]["source"] == "memory"
    assert gds_db("config", "max_connections", "5", "--dry-run")[1] == "SET max_connections = '5'\n"
    assert server.settings["max_connections"] == 100
    assert gds_db("config", "max_connections", "5", "--yes")[0] == 0
    assert server.settings["max_connections"] == "5"
    code, _, err = gds_db("config", "none")
    assert (code, err) == (1, "gds: setting 'none' does not exist on box; nothing was changed\n")


# ------------------------------------------------------------------ changing
def test_a_database_is_created_backed_up_dropped_and_restored(
    gds_db: Gds, server: InMemoryServer, tmp_path: Path
) -> None:
    path = tmp_path / "backup"
    assert gds_db("create", "new")[0] == 0
    assert "new" in server.databases
    code, out, _ = gds_db("backup", "shop", path, "--type", "full")
    assert (code, out.startswith("backed up shop (")) == (0, True)
    assert gds_db("drop", "shop", "--dry-run")[1] == "DROP DATABASE 'shop'\n"
    assert "shop" in server.databases
    assert gds_db("drop", "shop", "--yes")[0] == 0
    assert "shop" not in server.databases
    [result] = objects(gds_db("restore", "shop", path, "--yes", "--json")[1])
    assert result["success"] is True
    assert server.databases["shop"] == {"orders": [1]}


def test_users_and_sessions_end(gds_db: Gds, server: InMemoryServer, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("canary\n")
    code, out, err = gds_db("create-user", "bob", "--role", "r", "--new-password-from", f"file:{tmp_path / 'pw'}")
    assert (code, "canary" in out + err) == (0, False)
    assert server.users["bob"] == {"roles": ["r"]}
    assert gds_db("drop-user", "bob", "--yes")[0] == 0
    assert gds_db("kill", "7", "--yes")[0] == 0
    assert [each["id"] for each in server.processes] == ["8"]


def test_another_node_takes_over_and_the_server_stops_and_starts(gds_db: Gds, server: InMemoryServer) -> None:
    assert gds_db("failover", "other", "--dry-run")[1] == "PROMOTE 'other'\n"
    assert gds_db("failover", "--yes")[0] == 0
    assert server.nodes == ["other", "box"]
    assert gds_db("stop", "--yes")[0] == 0
    assert gds_db("list") == (1, "", "gds: memory: the server is not running\n")
    assert gds_db("start")[0] == 0
    assert gds_db("list")[0] == 0


def test_what_cannot_be_done_is_one_line_and_a_code(gds_db: Gds) -> None:
    code, out, err = gds_db("drop", "absent", "--yes")
    assert (code, out) == (1, "")
    assert err == "gds: drop failed on box: database 'absent' does not exist on box; nothing was changed\n"
    code, out, err = gds_db("drop", "absent", "--yes", "--json")
    assert (code, err, objects(out)[0]["success"]) == (1, "", False)
    assert gds_db("list", "--url", "nothing://x")[0] == 2
    assert gds_db("list", "--password-from", "canary")[2] == (
        "gds: --password-from: expected vault://path#field, file:PATH or prompt\n"
    )


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_without_anybody_to_ask_nothing_dangerous_runs(gds_db: Gds, server: InMemoryServer, more: list[str]) -> None:
    code, out, err = gds_db("drop", "shop", *more)
    assert (code, out) == (2, "")
    assert "expected --yes, or --dry-run" in err
    assert "shop" in server.databases


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 130, True), (b"y\n", 0, False)])
def test_whoever_is_there_is_shown_the_statements_and_asked(answer: bytes, code: int, left: bool) -> None:
    program = """
import sys
from gds_cli._app import run
from gds_database.testing import InMemoryConnection, InMemoryEngine, InMemoryServer
server = InMemoryServer({"shop": {}})
InMemoryEngine._open = staticmethod(lambda config: InMemoryConnection(server))
code = run(["db", "drop", "shop", "--url", "memory://box"])
print("shop" in server.databases, code)
"""
    asks, answers = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=answers,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
        text=True,
    ) as process:
        os.close(answers)
        os.write(asks, answer)
        out, err = process.communicate(timeout=90)
    os.close(asks)
    assert out.splitlines()[0] == "DROP DATABASE 'shop'"
    assert "Run this on memory? [y/N]" in err
    assert out.splitlines()[-1].strip() == f"{left} {code}"


# ------------------------------------------------------------------ the parts
def test_the_command_is_one_of_gds() -> None:
    done = gds("db", "--help")
    assert done.returncode == 0
    for name in ("list", "info", "backup", "restore", "failover", "processes", "replication"):
        assert name in done.stdout
    done = gds("db", "info", "--url", "memory://box", "--json")
    assert (done.returncode, json.loads(done.stdout)["name"]) == (0, "box")
    assert COMMAND


def test_long_work_shows_progress_on_a_terminal_only(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    program = """
from gds_database.cli.output import progressing
with progressing("backing up", as_json=False) as told:
    told("table [x]")
with progressing("backing up", as_json=True) as told:
    assert told is None
"""
    variables = clean_environment() | {"TERM": "xterm"}
    done = subprocess.run([sys.executable, "-c", program], stderr=slave, env=variables, timeout=90, check=False)
    os.close(slave)
    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert done.returncode == 0
    assert "backing up: table [x]" in shown


def test_time_ranges() -> None:
    now = datetime(2026, 1, 2, tzinfo=timezone.utc)
    assert since("90s", now) == (now - timedelta(seconds=90), now)
    assert since("1.5d", now)[0] == now - timedelta(hours=36)
    assert since("2026-01-01T00:00+01:00", now)[0] == datetime(2025, 12, 31, 23, tzinfo=timezone.utc)
    for text in ("soon", "", "h", "1e999d"):
        with pytest.raises(ConfigurationError, match="expected 90s, 15m, 2h, 3d or a time"):
            since(text)


def test_controls() -> None:
    assert control_by(None) is None
    assert control_by("pg_ctl:/data") == PgCtl("/data")
    assert control_by("systemd:pg@15") == Systemd("pg@15")
    assert control_by("kubernetes:db/statefulset/pg") == Kubernetes("statefulset/pg", "db")
    for text in ("pg_ctl", "kubernetes:db/pg", "x:y"):
        with pytest.raises(ConfigurationError, match="expected pg_ctl:DATA_DIRECTORY"):
            control_by(text)


def test_where_passwords_come_from(tmp_path: Path) -> None:
    assert secret(None) is None
    (tmp_path / "pw").write_text(" a b \n")
    assert secret(f"file:{tmp_path / 'pw'}") == " a b "
    with pytest.raises(ConfigurationError, match="none: No such file"):
        secret(f"file:{tmp_path / 'none'}")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (None, "-"),
        ([], "-"),
        (["a", 1], "a, 1"),
        ({"a": None}, "a=-"),
        (5134.0, "5134"),
        (7712994798276193.0, "7712994798276193"),
        (0.00229215, "0.00229215"),
        (float("inf"), "inf"),
        (datetime(2026, 1, 2, 3, 4, 5, 6, timezone.utc), "2026-01-02 03:04:05+00:00"),
        ("SELECT\n  1", "SELECT 1"),
        ("x" * 201, "x" * 197 + "..."),
    ],
)
def test_cells_for_people(value: object, text: str) -> None:
    assert _cell(value) == text


def test_sizes_for_people() -> None:
    assert [size(number) for number in (None, 0, 1023, 1024, 5 * 2**30, 2**60)] == [
        None,
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 GiB",
        "1024.0 PiB",
    ]
