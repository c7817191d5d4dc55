"""What the package costs before it is used: its import and its size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.harness import AT_MOST, Bar, Effort, Row, alternate, expect, row

__all__ = ["imports", "wheel_size"]

_MEBI = 1 << 20

_PROGRAM = """
import json, os, sys
from time import perf_counter
begun = perf_counter()
{statement}
took = perf_counter() - begun
sockets = [fd for fd in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + fd)
           and os.readlink("/proc/self/fd/" + fd).startswith("socket:")]
print(json.dumps([took * 1e3, len(os.listdir("/proc/self/task")), len(sockets)]))
"""


def _import(statement: str) -> tuple[float, int, int]:
    """Milliseconds, threads and sockets of a new process after the import."""
    program = _PROGRAM.format(statement=statement)
    # -I: neither the current folder nor the environment has a part in it.
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    took, threads, sockets = json.loads(done.stdout)
    return float(took), int(threads), int(sockets)


def imports(effort: Effort) -> list[Row]:
    """Both ways to import the package, in new processes."""
    rows = []
    for statement in ("import gds_metrics", "from gds_metrics import PrometheusMetrics"):
        # Also writes the compiled files, so that every round finds them.
        _import("import prometheus_client")
        expect(f"threads and sockets after {statement!r}", _import(statement)[1:], (1, 0))

        def ours(statement: str = statement) -> float:
            return _import(statement)[0]

        def peer() -> float:
            return _import("import prometheus_client")[0]

        timed = row(
            f"`{statement}`",
            alternate(ours, peer, max(20, effort.long_rounds)),
            unit="ms",
            against="`import prometheus_client`",
            sense=AT_MOST,
        )
        rows.append(timed)
        if statement == "import gds_metrics":
            rows.append(Row(f"`{statement}`, in milliseconds", timed.ours, "ms", bar=Bar(AT_MOST, 20)))
    return rows


def wheel_size(effort: Effort) -> list[Row]:
    """Size of the wheel that was built last."""
    del effort
    wheels = sorted(Path("dist").glob("gds_telemetry-*.whl"), key=lambda path: path.stat().st_mtime)
    if not wheels:
        raise FileNotFoundError("dist/gds_telemetry-*.whl: expected a wheel; run `make wheel` first")
    return [Row("the wheel", wheels[-1].stat().st_size / _MEBI, "MiB", bar=Bar(AT_MOST, 20))]
