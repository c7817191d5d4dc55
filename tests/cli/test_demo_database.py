"""`gds demo database`, really run: what is blocked is seen, and nothing is left, whenever it is ended."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from gds_cli.demo import database
from gds_cli.demo.server import Postgres, find_postgres
from gds_cli.live.show import Ending
from tests.cli.commands import gds, objects, started
from tests.cli.watching import watched
from tests.services.fixtures import require_service
from tests.services.postgresql import PostgreSQL
from tests.services.process import wait_until

pytestmark = pytest.mark.timing

FOLDER = re.compile(r"host=(\S+?)'")


@pytest.fixture
def path() -> str:
    """PATH with a PostgreSQL on it."""
    require_service("postgresql")
    # Where whoever runs it can read them.
    return f"{PostgreSQL().tools}:{os.environ['PATH']}"


def those_of(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def all_end(processes: list[psutil.Process]) -> bool:
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)


def test_a_session_that_is_blocked_is_seen_with_its_blocker(path: str) -> None:
    done = gds("demo", "database", "--seconds", 5, "--json", PATH=path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-2000:]
    *pictures, last = objects(done)
    found = last["summary"]
    assert found["agree"] is True
    assert (found["defects"], found["left_behind"], found["ended_early"]) == ([], [], False)
    assert found["server"].startswith("PostgreSQL 1")
    assert found["transactions"] > 0
    assert found["blocks"] > 0
    assert 0 < found["readings_blocked"] <= found["readings"] == len(pictures)
    blocked = [each for shown in pictures for each in shown["sessions"] if each["blocked_by"]]
    assert {each["application"] for each in blocked} == {"demo checkout"}
    assert any(each["text"] for shown in pictures for each in shown["statements"])


def test_in_lines_it_says_where_to_look_and_takes_it_away(path: str) -> None:
    done = gds("demo", "database", "--seconds", 2, PATH=path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert re.search(r"is blocked by \d+: UPDATE accounts", done.stdout)
    assert "nothing is left behind" in done.stdout
    folder = FOLDER.search(done.stdout)
    assert folder
    assert not Path(folder[1]).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("until", ["is made in", "watched as by", "is blocked by"])
def test_ended_at_any_point_it_leaves_nothing_running(path: str, until: str, number: signal.Signals) -> None:
    with started("demo", "database", "--seconds", 0, PATH=path) as process:
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            if until in line:
                break
        # Python itself may be a child's first moment: what there is now has to be gone then.
        running = those_of(process.pid)
        process.send_signal(number)
        printed.extend(process.stdout)
        assert process.wait() == 0, "".join(printed)
    text = "".join(printed)
    assert "ended early" in text
    wait_until(lambda: all_end(running), what="the processes of the demo to end")
    folder = FOLDER.search(text)
    assert folder is None or not Path(folder[1]).exists()


@pytest.mark.parametrize("pause_seconds", [0.0, 0.02, 0.2])
def test_who_does_not_want_to_wait_leaves_nothing_running_either(path: str, pause_seconds: float) -> None:
    with started("demo", "database", "--seconds", 0, PATH=path) as process:
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if "is blocked by" in line:
                break
        running = those_of(process.pid)
        assert running
        # What the second and the third cut short depends on when they come.
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(pause_seconds)
        text += process.stdout.read()
        process.wait()
    wait_until(lambda: all_end(running), what="the processes of the demo to end")
    folder = FOLDER.search(text)
    assert folder
    assert not Path(folder[1]).exists()


def test_an_interrupt_just_before_anything_is_put_away_leaves_nothing_running(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", path)
    programs = find_postgres()
    assert programs is not None
    seen: list[tuple[Postgres, psutil.Process]] = []

    def play() -> None:
        with Ending() as ending:
            server = Postgres(programs, ending)
            server.start()
            assert server._process is not None
            seen.append((server, psutil.Process(server._process.pid)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play()
    ((server, process),) = seen
    assert not process.is_running()
    assert not server.folder.exists()


def test_on_a_terminal_it_is_the_view_of_gds_watch(path: str) -> None:
    with watched("--seconds", "600", command=("demo", "database"), PATH=path) as screen:
        screen.wait_for("BLOCKING", "└ ", "STATEMENTS")
        running = those_of(screen.process.pid)
        screen.press("q")
        screen.wait_for("readings had", "left behind")
        assert screen.ended() == 0
    wait_until(lambda: all_end(running), what="the processes of the demo to end")


def test_without_a_postgresql_the_engine_in_memory_plays_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(database, "find_postgres", lambda: None)
    assert database.run(1.0, no_tui=True, as_json=False) == 0
    shown = capsys.readouterr().out
    assert "21 is blocked by 20" in shown
    assert "no PostgreSQL is installed here" in shown


def test_a_postgresql_is_found_on_path_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("initdb", "postgres"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_postgres() == tmp_path


def test_one_that_cannot_be_made_is_one_line_and_leaves_nothing() -> None:
    # Where whoever runs it can read them: nobody, for root.
    with TemporaryDirectory(dir="/tmp") as folder:
        programs = Path(folder)
        programs.chmod(0o755)
        (programs / "postgres").write_text("#!/bin/sh\n")
        (programs / "initdb").write_text("#!/bin/sh\necho no space left >&2\nexit 1\n")
        for name in ("initdb", "postgres"):
            (programs / name).chmod(0o755)
        done = gds("demo", "database", PATH=f"{programs}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert done.stderr.startswith("gds: ")
    assert "no space left" in done.stderr
    assert len(done.stderr.splitlines()) == 1
