"""Importing the package starts nothing, and the wheel holds what it should and works by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.metrics.programs import environment, run
from tests.services.fixtures import missing

ROOT = Path(__file__).parents[2]


def test_import_starts_no_thread_opens_no_socket_and_touches_no_logger() -> None:
    source = """
import os, sys

def audit(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.fork", "os.posix_spawn")):
        raise AssertionError(f"import did {event}")

sys.addaudithook(audit)
before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
import gds_metrics
if os.path.isdir("/proc/self/task"):
    assert len(os.listdir("/proc/self/task")) == 1
    assert set(os.listdir("/proc/self/fd")) == before
unused = {"asyncio", "concurrent.futures", "logging", "socket", "threading", "typing"}
loaded = unused | {"opentelemetry", "prometheus_client"}
print(sorted(loaded & set(sys.modules)))
"""
    assert run(source) == "[]\n"


def test_naming_every_collector_starts_nothing_either() -> None:
    source = """
import os, sys
import gds_metrics
for name in gds_metrics.__all__:
    getattr(gds_metrics, name)
if os.path.isdir("/proc/self/task"):
    assert len(os.listdir("/proc/self/task")) == 1
print(sorted({"asyncio", "opentelemetry", "prometheus_client", "socket", "ssl"} & set(sys.modules)))
import logging
assert not logging.getLogger("gds_metrics").handlers
assert not logging.getLogger("gds_metrics").level
assert not logging.getLogger().handlers
"""
    assert run(source) == "[]\n"


def wheel() -> Path:
    found = sorted((ROOT / "dist").glob("gds_telemetry-*.whl"))
    if not found:
        missing("dist/ has no wheel; `make wheel` builds it")
    assert len(found) == 1
    return found[0]


def test_the_wheel_is_small_typed_and_without_tests() -> None:
    path = wheel()
    assert path.stat().st_size <= 20 * 1024 * 1024
    assert "-abi3-" in path.name
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    assert {"gds_metrics/py.typed", "gds_native/py.typed", "gds_native/_lib.pyi", "gds_metrics/__init__.py"} <= names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} - {"gds_telemetry.libs"} == {
        "gds_alerting",
        "gds_cli",
        "gds_kafka",
        "gds_kafka.py",
        "gds_metrics",
        "gds_monitor",
        "gds_store",
        "gds_metrics.py",
        "gds_native",
    }
    # What users test their own programs with is part of the package.
    tests = {name for name in names if "test" in name.lower()} - {
        "gds_kafka/testing.py",
        "gds_native/spare/gds_kafka/testing.py",
    }
    assert not tests | {name for name in names if name.endswith((".rs", ".pyc"))}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_installs_into_a_clean_environment_and_needs_nothing_else(tmp_path: Path) -> None:
    path = wheel()
    made = tmp_path / "venv"
    clean = {**environment(), "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1"}
    clean.pop("PYTHONPATH", None)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made], check=True, env=clean)
    python = made / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--python", python, "install", path], check=True, env=clean)
    source = """
import sys
from importlib.metadata import distributions
from gds_metrics import (
    CompositeMetrics, ConsoleMetrics, NoOpMetrics, OpenTelemetryMetrics, PrometheusMetrics, StatsdMetrics,
    get_current_trace_context, timed, with_trace_context,
)
assert [found.name for found in distributions()] == ["gds-telemetry"], [found.name for found in distributions()]
assert "gds_metrics" in sys.modules and sys.prefix in sys.modules["gds_metrics"].__file__
page = PrometheusMetrics(prefix="", port=0, addr="127.0.0.1")
with CompositeMetrics([page, NoOpMetrics()]) as metrics:
    metrics.increment("requests", labels=with_trace_context({"path": "/"}))
    with timed(metrics, "took"):
        pass
assert get_current_trace_context() == {}
assert page.sample("requests", {"path": "/"}) == 1
from urllib.request import ProxyHandler, build_opener
page = PrometheusMetrics(prefix="", port=0, addr="127.0.0.1")
page.increment("requests")
served = build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{page.port}/metrics").read()
assert b"requests_total 1.0" in served, served
ConsoleMetrics().increment("done")
from socket import AF_INET, SOCK_DGRAM, socket
server = socket(AF_INET, SOCK_DGRAM)
server.bind(("127.0.0.1", 0))
with StatsdMetrics("127.0.0.1", server.getsockname()[1]) as statsd:
    statsd.increment("requests")
assert server.recv(65536).startswith(b"requests:1|c")
server.close()
"""
    done = subprocess.run(
        [python, "-W", "error", "-c", source], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.startswith("[COUNTER] done")
