"""Threads, forks, kills, Ctrl-C and the end of the interpreter."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from gds_store import Store, StoreTimeoutError, StoreUnavailableError
from tests.forks import fork
from tests.metrics.programs import Program, run

pytestmark = pytest.mark.timing

NOON = 1_750_000_000.0

LONG = "sum_over_time(quantile_over_time(0.5, up[1h:1s])[1d:1s])"
"""86,400 times 3,600 numbers are put in order."""

DAY = [("up", at % 7, None, NOON - 60 * at) for at in range(1_500)]


def test_threads_append_and_ask_at_once(tmp_path: Path) -> None:
    with Store(tmp_path / "series", retention_seconds=1e10, maintain_seconds=0.001, flush_bytes=10_000) as store:
        wrong: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for at in range(300):
                    store.append("up", at, {"thread": str(number)}, NOON + at)
                    [counted] = store.query(f'count_over_time(up{{thread="{number}"}}[1h])', NOON + 300)
                    assert counted["value"] == at + 1
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


def test_other_threads_run_while_a_query_runs(tmp_path: Path) -> None:
    with Store(tmp_path / "series", retention_seconds=1e10, timeout_seconds=1.0) as store:
        store.append_many(DAY)
        ticks = 0
        ended = threading.Event()
        raised: list[BaseException] = []

        def ask() -> None:
            try:
                store.query(LONG, NOON)
            except BaseException as error:
                raised.append(error)
            ended.set()

        thread = threading.Thread(target=ask)
        thread.start()
        while not ended.wait(0.001):
            ticks += 1
        thread.join()
        assert isinstance(raised[0], StoreTimeoutError)
        assert ticks > 10


def test_a_forked_child_is_told_and_opens_one_of_its_own(tmp_path: Path) -> None:
    with Store(tmp_path / "series", retention_seconds=1e10, maintain_seconds=0.01) as store:
        store.append("up", 1, None, NOON)
        pid = fork()
        if pid == 0:
            status = 1
            try:
                with pytest.raises(StoreUnavailableError, match=f"belongs to process {os.getppid()}.*forked child"):
                    store.append("up", 2, None, NOON + 1)
                assert store.closed
                store.close()
                with Store(tmp_path / "series", read_only=True, retention_seconds=1e10) as own:
                    assert own.query("up", NOON)[0]["value"] == 1.0
                with Store(tmp_path / "own", retention_seconds=1e10) as own:
                    own.append("up", 3, None, NOON)
                    assert own.query("up", NOON)[0]["value"] == 3.0
                del store
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        store.append("up", 4, None, NOON + 1)
        assert store.query("up", NOON + 1)[0]["value"] == 4.0


def test_a_child_does_not_keep_the_folder_of_a_parent_that_ended(tmp_path: Path) -> None:
    source = f"""
import os, signal
from gds_store import Store
store = Store({str(tmp_path / "series")!r}, retention_seconds=1e10)
store.append("up", 1, None, {NOON})
"""
    with Program(source) as parent:
        parent.do("""
child = os.fork()
if child == 0:
    os.closerange(0, 3)
    signal.pause()
""")
        child = parent.ask("child")
        try:
            parent.kill()
            with Store(tmp_path / "series", retention_seconds=1e10) as store:
                assert store.query("up", NOON)[0]["value"] == 1.0
        finally:
            os.kill(child, signal.SIGKILL)


def test_what_was_taken_is_there_after_a_kill(tmp_path: Path) -> None:
    source = f"""
import os, signal
from gds_store import Store
store = Store({str(tmp_path / "series")!r}, retention_seconds=1e10)
for at in range(1000):
    store.append("up", at, None, {NOON} + at)
os.kill(os.getpid(), signal.SIGKILL)
"""
    run(source, status=-signal.SIGKILL)
    with Store(tmp_path / "series", retention_seconds=1e10) as store:
        assert store.query("count_over_time(up[1h])", NOON + 1000)[0]["value"] == 1000.0
        assert store.findings() == []


def test_ctrl_c_ends_a_query_and_the_store_goes_on(tmp_path: Path) -> None:
    with Store(tmp_path / "series", retention_seconds=1e10) as store:
        store.append_many(DAY)
        timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            store.query(LONG, NOON)
        store.close()  # waits for the query, which ends, too
        assert time.monotonic() - begun < 60
        timer.join()


@pytest.mark.parametrize("end", ["", "store.close()", "sys.exit(0)", "raise SystemExit", "del store"])
def test_a_program_ends_quietly_with_an_open_store(tmp_path: Path, end: str) -> None:
    source = f"""
import sys
from gds_store import Store
store = Store({str(tmp_path / "series")!r}, retention_seconds=1e10, maintain_seconds=0.001, flush_bytes=1)
answers = [store.query("up", {NOON}).__arrow_c_stream__() for _ in range(3)]
for at in range(100):
    store.append("up", at, None, {NOON} + at)
{end}
"""
    assert run(source) == ""
    with Store(tmp_path / "series", retention_seconds=1e10) as store:
        assert store.query("count_over_time(up[1h])", NOON + 1000)[0]["value"] == 100.0


def test_a_program_ends_while_a_thread_of_it_asks(tmp_path: Path) -> None:
    source = f"""
import threading
from gds_store import Store
store = Store({str(tmp_path / "series")!r}, retention_seconds=1e10)
store.append_many(("up", 1, None, {NOON} - 60 * at) for at in range(1500))
begun = threading.Event()
def ask():
    begun.set()
    store.query({LONG!r}, {NOON})
threading.Thread(target=ask, daemon=True).start()
begun.wait()
"""
    assert run(source) == ""


def test_an_error_of_looking_after_it_is_said_once(tmp_path: Path) -> None:
    source = f"""
import logging, shutil, time
from pathlib import Path
from gds_store import Store
said = []
class Handler(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())
logging.getLogger("gds_store").addHandler(Handler())
folder = Path({str(tmp_path / "series")!r})
with Store(folder, retention_seconds=1e10, maintain_seconds=0.001, flush_bytes=1) as store:
    (folder / "parts").rmdir()
    (folder / "parts").touch()
    store.append("up", 1, None, {NOON})
    deadline = time.monotonic() + 50
    while not said and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    print(store.query("up", {NOON})[0]["value"])
print(len(said), "could not be looked after" in said[0], "parts" in said[0])
"""
    assert run(source).splitlines() == ["1.0", "1 True True"]
