from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gds_monitor.collectors._packs import PackCollector
from gds_monitor.factory import DatabaseMonitorFactory
from gds_monitor.packs.plan import ServerFacts
from gds_monitor.service import MonitorService
from tests.metrics.doubles import Recorder
from tests.monitor.small_pack import SMALL
from tests.services.process import http_get

pytestmark = pytest.mark.anyio

PATIENCE = 60.0


class Answering(PackCollector):
    """A server that answers every query with one row."""

    happened: asyncio.Event

    def __init__(self, config: Any, *, instance_id: str, packs: Any, vault: Any = None, **more: Any) -> None:
        super().__init__(instance_id, "postgresql", packs, **more)
        self.closed = False

    async def _begin(self) -> ServerFacts:
        return ServerFacts(
            version=(15, 0), databases=("app",), database="app", privileges=frozenset({"pg_read_all_stats"})
        )

    async def _ask(self, statement: Any, database: str, seconds: float) -> list[dict[str, Any]]:
        self.happened.set()
        return [{"n": 1, "relname": "t", "size": 2, "lag": 0}]

    async def close(self) -> None:
        self.closed = True
        self.happened.set()


@pytest.fixture
def factory() -> DatabaseMonitorFactory:
    # Of the loop of one test.
    Answering.happened = asyncio.Event()
    made = DatabaseMonitorFactory()
    made.register("postgresql", Answering)
    return made


def written(folder: Path, *targets: str, more: str = "") -> Path:
    (folder / "small.yaml").write_text(SMALL)
    (folder / "next.yaml").write_text(SMALL.replace("postgresql.backends", "postgresql.sessions"))
    path = folder / "monitor.yaml"
    listed = "".join(f"  - {{url: 'postgresql://{name}', packs: [small.yaml]}}\n" for name in targets)
    path.write_text(
        f"interval: 0.2\ntargets:\n{listed or '  []'}\noutputs: [{{stdout: }}]\nlisten: 127.0.0.1:0\n{more}"
    )
    return path


async def until(condition: Callable[[], object]) -> None:
    """Look again whenever a server was asked or left: cycles go on, so what one changes is seen at the next."""

    async def wait() -> None:
        while not condition():
            Answering.happened.clear()
            await Answering.happened.wait()

    await asyncio.wait_for(wait(), PATIENCE)


async def test_what_the_file_says_runs_and_is_written(
    tmp_path: Path, factory: DatabaseMonitorFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder()
    service = MonitorService(
        written(tmp_path, "one", "two"), factory=factory, metrics=recorder, page=lambda: b"page 1\n"
    )
    await service.start()
    try:
        jobs = service.system.scheduler.jobs
        await until(lambda: all(job.cycles for job in jobs.values()))
        assert set(jobs) == {"one", "two"}
        assert service.health is not None
        port = service.health.port
        for path in ("/healthz", "/readyz"):
            status, body = await asyncio.to_thread(http_get, port, path)
            assert (status, json.loads(body)[{"/healthz": "alive", "/readyz": "ready"}[path]]) == (200, True)
        assert await asyncio.to_thread(http_get, port, "/metrics") == (200, b"page 1\n")
        assert (await asyncio.to_thread(http_get, port, "/"))[0] == 404
    finally:
        await service.stop()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["instance_id"] for line in lines} == {"one", "two"}
    assert "postgresql.backends" in {line["metric_name"] for line in lines}
    assert any(call.name == "monitor.cycles" for call in recorder.calls)


async def test_a_changed_file_changes_what_runs_and_loses_no_cycle(
    tmp_path: Path, factory: DatabaseMonitorFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    service = MonitorService(written(tmp_path, "one", "two"), factory=factory)
    await service.start()
    try:
        before = service.system.collectors
        cycles = service.system.scheduler.jobs["one"].cycles
        written(tmp_path, "one", "three")
        assert await service.reload()
        after = service.system.collectors
        assert set(after) == {"one", "three"}
        assert after["one"] is before["one"]
        gone = before["two"]
        assert isinstance(gone, Answering)
        await until(lambda: gone.closed)
        await until(lambda: service.system.scheduler.jobs["three"].cycles)
        await until(lambda: service.system.scheduler.jobs["one"].cycles > cycles + 1)
        assert service.system.scheduler.jobs["one"].skipped == {}
    finally:
        await service.stop()


async def test_a_file_that_cannot_be_used_leaves_everything_running(
    tmp_path: Path, factory: DatabaseMonitorFactory, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    path = written(tmp_path, "one")
    service = MonitorService(path, factory=factory, metrics=recorder)
    await service.start()
    try:
        path.write_text("targets: 5\noutputs: [{stdout: }]\n")
        assert not await service.reload()
        assert "monitor.yaml:1:10: targets: expected" in caplog.text
        assert set(service.system.collectors) == {"one"}
    finally:
        await service.stop()


async def test_targets_that_are_found_come_and_go_and_stay_when_nobody_answers(
    tmp_path: Path, factory: DatabaseMonitorFactory
) -> None:
    more = tmp_path / "more.yaml"
    more.write_text("- {url: 'postgresql://found', packs: [small.yaml]}\n")
    path = written(tmp_path, "one", more="discovery: [{file: more.yaml, refresh: 3600}]\n")
    service = MonitorService(path, factory=factory)
    await service.start()
    try:
        assert set(service.system.collectors) == {"one", "found"}
        more.unlink()
        await service.rediscover()
        assert set(service.system.collectors) == {"one", "found"}
        more.write_text("- {url: 'postgresql://other', packs: [small.yaml]}\n")
        await service.rediscover()
        assert set(service.system.collectors) == {"one", "other"}
    finally:
        await service.stop()


async def test_a_canary_that_fails_is_taken_back_by_itself(
    tmp_path: Path, factory: DatabaseMonitorFactory, caplog: pytest.LogCaptureFixture
) -> None:
    # Its budget is so small that nothing keeps to it.
    more = "canary: {pack: next.yaml, part: 1, cycles: 5, seconds: 0.000000001}\n"
    service = MonitorService(written(tmp_path, "one", more=more), factory=factory)
    await service.start()
    try:
        collector = service.system.collectors["one"]
        assert isinstance(collector, Answering)
        await until(lambda: "rolled_back" in caplog.text)
        names = {
            metric.name for each in collector.packs[0].collectors for query in each.queries for metric in query.metrics
        }
        assert "postgresql.backends" in names
        assert service.system.collectors["one"] is collector
    finally:
        await service.stop()
