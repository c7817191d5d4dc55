"""A path is what it named when it was given, wherever the program goes later."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.metrics.programs import run
from tests.metrics.test_statsd import Agent

SETUP = """
import os, sys
os.chdir(sys.argv[1])
from gds_metrics import PrometheusMetrics, StatsdMetrics
"""


def test_a_shared_folder_stays_where_it_was(tmp_path: Path) -> None:
    source = """
metrics = PrometheusMetrics(prefix="", start_server=False, multiprocess_dir="shared")
metrics.increment("requests")
os.chdir("/")
process_id = os.fork()
if process_id == 0:
    metrics.increment("requests", 2)
    os._exit(0)
assert os.waitpid(process_id, 0)[1] == 0
assert metrics.sample("requests") == 3, metrics.sample("requests")
"""
    run(SETUP + source, tmp_path)
    assert len(list((tmp_path / "shared").glob("*.gds"))) == 1


def test_a_shared_folder_of_the_environment_stays_where_it_was(tmp_path: Path) -> None:
    source = """
metrics = PrometheusMetrics(prefix="", start_server=False)
os.chdir("/")
assert b"gds_metrics_series" in metrics.render()
"""
    run(SETUP + source, tmp_path, extra={"PROMETHEUS_MULTIPROC_DIR": "shared"})
    assert (tmp_path / "shared").is_dir()


def test_a_file_that_is_read_again_stays_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("before")
    source = """
from urllib.request import Request, urlopen
metrics = PrometheusMetrics(port=0, addr="127.0.0.1", bearer_token_file="token")
os.chdir("/")
with open(os.path.join(sys.argv[1], "token"), "w") as token:
    token.write("afterwards")
request = Request(f"http://127.0.0.1:{metrics.port}/metrics", headers={"Authorization": "Bearer afterwards"})
with urlopen(request) as answer:
    assert answer.status == 200
"""
    run(SETUP + source, tmp_path)


def test_a_socket_stays_where_it_was(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "a.sock"))
        source = """
metrics = StatsdMetrics(socket_path="a.sock", flush_interval_seconds=3600)
os.chdir("/")
metrics.increment("jobs")
metrics.close()
"""
        run(SETUP + source, tmp_path)
        assert Agent(sock).lines() == ["jobs:1|c"]
