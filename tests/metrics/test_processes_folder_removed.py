"""The folder that processes share is removed, or emptied, while they live: their counts stay on the page."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gds_metrics import PrometheusMetrics
from tests.metrics.programs import Program, run
from tests.services.process import http_get, wait_until

pytestmark = pytest.mark.timing


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def remove_files_of_processes(folder: Path) -> None:
    for path in folder.glob("*.gds"):
        path.unlink()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "shared"


def sibling(folder: Path) -> Program:
    return Program(
        "from gds_metrics import PrometheusMetrics\n"
        f"metrics = PrometheusMetrics(prefix='', multiprocess_dir={str(folder)!r}, start_server=False)\n"
        "metrics.increment('requests', 10); metrics.gauge('level', 3); metrics.timing('took', 1000)"
    )


@pytest.mark.parametrize("clean", [remove, empty, remove_files_of_processes])
def test_the_page_goes_on_to_show_what_the_living_counted(folder: Path, clean: Callable[[Path], None]) -> None:
    metrics = PrometheusMetrics(prefix="", multiprocess_dir=folder, port=0, addr="127.0.0.1")
    metrics.increment("requests")
    with sibling(folder) as idle, sibling(folder) as busy:
        for repetition in range(1, 3):
            clean(folder)
            # At once: a page without a process that lives would look like a restart to a server.
            status, page = http_get(metrics.port, "/metrics")
            assert status == 200, page
            expected = 20 + repetition
            assert f"requests_total {expected}.0\n" in page.decode()
            assert "took_count 2.0\n" in page.decode()
            assert "level 6.0\n" in page.decode()
            busy.do("metrics.increment('requests'); metrics.increment('anew')")
            for program in (idle, busy):
                assert program.ask("metrics.sample('requests')") == expected + 1
        idle.kill()
        assert metrics.sample("requests") == 23, "what a process counted in its new file is kept when it is killed"
    metrics.close()


def test_an_idle_process_comes_back_by_itself_and_says_so_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gds_metrics")
    metrics = PrometheusMetrics(prefix="", multiprocess_dir=folder, start_server=False)
    metrics.increment("requests", 5)
    [file] = folder.glob("*.gds")
    for _ in range(2):
        caplog.clear()
        file.unlink()
        wait_until(lambda: caplog.records, what="the warning")
        assert file.exists()
        [record] = caplog.records
        message = record.getMessage()
        assert f"multiprocess_dir={folder}" in message
        assert f"process {os.getpid()} made its own anew" in message
    # Another process sees it without asking it.
    source = f"""
from gds_metrics import PrometheusMetrics
other = PrometheusMetrics(prefix="", multiprocess_dir={str(folder)!r}, start_server=False)
assert other.sample("requests") == 5
"""
    run(source)
    assert len(caplog.records) == 1
    metrics.close()


def test_a_worker_that_starts_after_the_removal_may_share_the_port(folder: Path) -> None:
    metrics = PrometheusMetrics(prefix="", multiprocess_dir=folder, port=0, addr="127.0.0.1")
    claim = folder / f"port-{metrics.port}"
    remove(folder)
    wait_until(claim.exists, what="the claim of the port")
    source = f"""
from gds_metrics import PrometheusMetrics
other = PrometheusMetrics(prefix="", multiprocess_dir={str(folder)!r}, port={metrics.port}, addr="127.0.0.1")
other.close()
"""
    run(source)
    metrics.close()


def test_a_forked_child_makes_its_own_anew(folder: Path) -> None:
    source = f"""
import os, select, shutil, sys
from gds_metrics import PrometheusMetrics
folder = {str(folder)!r}
metrics = PrometheusMetrics(prefix="", multiprocess_dir=folder, start_server=False)
metrics.increment("requests")
(told, tell), (asked, ask) = os.pipe(), os.pipe()
process_id = os.fork()
if process_id == 0:
    os.close(2)  # where the warning of an unheard logger goes
    metrics.increment("requests", 2)
    os.write(tell, b".")
    os.read(asked, 1)
    os._exit(0)
os.read(told, 1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
shutil.rmtree(folder)
assert metrics.sample("requests") == 3
os.write(ask, b".")
assert os.waitpid(process_id, 0)[1] == 0
assert metrics.sample("requests") == 3
"""
    run(source)
