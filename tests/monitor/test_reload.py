"""A changed monitor.yaml, while cycles run."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gds_kafka import KafkaConsumerClient
from gds_monitor import Metric, WriteResult
from gds_monitor.errors import MonitorConfigError
from gds_monitor.factory import DatabaseMonitorFactory
from gds_monitor.scheduler import MonitoringScheduler
from gds_monitor.service import MonitorService
from gds_monitor.slot import OutputSlot
from tests.monitor.clock import FakeClock, settled
from tests.monitor.doubles import Counting, Kept
from tests.monitor.postgresql import url
from tests.monitor.small_pack import SMALL
from tests.monitor.test_service import Answering, until, written
from tests.services.postgresql import PostgreSQL
from tests.services.process import http_ready, lease_port, wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture
def factory() -> DatabaseMonitorFactory:
    Answering.happened = asyncio.Event()
    made = DatabaseMonitorFactory()
    made.register("postgresql", Answering)
    return made


def outputs(path: Path, *lines: str, more: str = "") -> None:
    """Have these outputs in a file that `written` wrote."""
    kept = path.read_text().split("outputs:")[0]
    path.write_text(f"{kept}outputs:\n" + "".join(f"  - {line}\n" for line in lines) + more)


def cycles(folder: Path) -> list[str]:
    """The cycles whose metrics a hub has, in their order, each once."""
    with KafkaConsumerClient(
        "gds.metrics.postgresql.one",
        f"embedded:{folder}",
        value_deserializer=json.loads,
        auto_offset_reset="earliest",
        consumer_timeout_ms=2000,
    ) as consumer:
        return list(dict.fromkeys(message["value"]["metadata"]["correlation_id"] for message in consumer))


async def test_outputs_are_exchanged_and_no_cycle_is_lost(
    tmp_path: Path, factory: DatabaseMonitorFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "one")
    first, second = tmp_path / "first", tmp_path / "second"
    # One that stays, and sees every cycle.
    outputs(path, f"kafka: embedded:{first}", "stdout:")
    service = MonitorService(path, factory=factory)
    await service.start()
    try:
        job = service.system.scheduler.jobs["one"]
        stays = next(slot for slot in service.system.outputs if "Stdout" in repr(slot))
        await until(lambda: job.cycles >= 3)
        outputs(path, f"kafka: embedded:{second}", "stdout:")
        assert await service.reload()
        at = job.cycles
        await until(lambda: job.cycles >= at + 3)
        assert stays in service.system.outputs
        outputs(path, "stdout:")
        assert await service.reload()
        at = job.cycles
        await until(lambda: job.cycles >= at + 1)
        assert service.system.outputs == [stays]
        assert set(job.skipped) <= {"late", "still_running"}  # on a busy machine
    finally:
        await service.stop()
    seen = list(
        dict.fromkeys(json.loads(line)["metadata"]["correlation_id"] for line in capsys.readouterr().out.splitlines())
    )
    before, after = await asyncio.to_thread(cycles, first), await asyncio.to_thread(cycles, second)
    assert len(before) >= 3
    assert len(after) >= 3
    assert before + after == seen[: len(before) + len(after)]
    assert len(seen) > len(before) + len(after)


async def test_an_output_that_cannot_be_made_leaves_all_as_they_were(
    tmp_path: Path, factory: DatabaseMonitorFactory, caplog: pytest.LogCaptureFixture, leased_port: int
) -> None:
    path = written(tmp_path, "one")
    outputs(path, f"prometheus: 127.0.0.1:{leased_port}", "stdout:")
    service = MonitorService(path, factory=factory)
    await service.start()
    try:
        config, before = service.config, list(service.system.outputs)
        # The page moves, and then the hub cannot be had: the page is where it was.
        outputs(path, "prometheus: 127.0.0.1:0", "stdout:", "kafka: {bootstrap_servers: 'x:1', linger: 5}")
        assert not await service.reload()
        assert 'not reloaded: outputs: kafka: "linger" is no setting' in caplog.text
        assert service.config is config
        assert service.system.outputs == before
        job = service.system.scheduler.jobs["one"]
        at = job.cycles
        await until(lambda: job.cycles >= at + 2)
        assert await asyncio.to_thread(http_ready, leased_port, "/metrics")
        # Its own port, with other settings.
        outputs(path, f"prometheus: {{listen: 127.0.0.1:{leased_port}, aliases: false}}", "stdout:")
        assert await service.reload()
        assert await asyncio.to_thread(http_ready, leased_port, "/metrics")
    finally:
        await service.stop()


async def test_where_it_listens_what_it_discovers_and_how_many_run_change_too(
    tmp_path: Path, factory: DatabaseMonitorFactory, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as leases:
        first, second = lease_port(leases), lease_port(leases)
        for name in ("a", "b"):
            (tmp_path / f"{name}.yaml").write_text(f"- {{url: 'postgresql://{name}', packs: [small.yaml]}}\n")
        path = written(tmp_path, "one", more="discovery: [{file: a.yaml, refresh: 3600}]\n")
        text = path.read_text()
        path.write_text(text.replace("127.0.0.1:0", f"127.0.0.1:{first}"))
        service = MonitorService(path, factory=factory)
        await service.start()
        try:
            assert set(service.system.collectors) == {"one", "a"}
            known = service.system.collectors["one"]
            path.write_text(
                text.replace("127.0.0.1:0", f"127.0.0.1:{second}").replace("a.yaml", "b.yaml")
                + "concurrency: {postgresql: 1}\n"
            )
            assert await service.reload()
            assert set(service.system.collectors) == {"one", "b"}
            assert service.system.collectors["one"] is known
            assert await asyncio.to_thread(http_ready, second, "/healthz")
            assert not await asyncio.to_thread(http_ready, first, "/healthz")
            # Nobody can listen there: it stays where it is, and so does all else.
            path.write_text(text.replace("127.0.0.1:0", "203.0.113.1:1").replace("stdout: ", "prometheus: 0"))
            assert not await service.reload()
            assert "not reloaded: listen: " in caplog.text
            assert await asyncio.to_thread(http_ready, second, "/healthz")
            assert [repr(slot) for slot in service.system.outputs if "Prometheus" in repr(slot)] == []
        finally:
            await service.stop()


async def test_fewer_cycles_at_a_time_are_let_run_and_those_that_run_end() -> None:
    clock = FakeClock()
    collectors = [Counting(f"db{number}") for number in range(6)]
    scheduler = MonitoringScheduler(clock=clock, concurrency=4)
    gate = asyncio.Event()
    for each in collectors:
        each.gate = gate
        scheduler.schedule_job(each.instance_id, each, 30.0, [])
    await scheduler.start()
    await clock.advance(5)

    def running() -> int:
        return sum(each.running for each in collectors)

    assert running() == 4
    scheduler.limit({"postgresql": 2})
    await settled()
    assert running() == 4
    scheduler.limit(5)
    await settled()
    assert running() == 5
    scheduler.limit(1)
    gate.set()
    await settled()
    assert [each.calls for each in collectors] == [1] * 6
    gate.clear()
    await clock.advance(30)
    assert running() == 1
    gate.set()
    await settled()
    await scheduler.stop()
    with pytest.raises(ValueError, match="concurrency=0 of a platform"):
        scheduler.limit(0)


async def test_who_writes_while_an_output_is_replaced_waits_for_the_next() -> None:
    class Slow(Kept):
        def __init__(self) -> None:
            super().__init__()
            self.gate = asyncio.Event()

        async def write(self, metrics: Any) -> WriteResult:
            assert not self.closed
            await self.gate.wait()
            return await super().write(metrics)

    before, after = Slow(), Kept()
    slot = OutputSlot(before)
    metrics = [Metric("n", number, "one", "postgresql") for number in range(3)]
    first = asyncio.create_task(slot.write(metrics[:1]))
    await settled()

    async def make() -> Kept:
        assert before.closed
        return after

    replacing = asyncio.create_task(slot.replace(make))
    await settled()
    second = asyncio.create_task(slot.write(metrics[1:2]))
    await settled()
    assert not before.closed
    before.gate.set()
    await asyncio.gather(first, replacing, second)
    assert (before.metrics, after.metrics) == (metrics[:1], metrics[1:2])

    async def fail() -> Kept:
        raise MonitorConfigError("no")

    with pytest.raises(MonitorConfigError):
        await slot.replace(fail)
    assert after.closed


def test_sighup_changes_a_real_process_and_it_loses_nothing(postgresql: PostgreSQL, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    path = tmp_path / "monitor.yaml"

    def write(port: int, hub: str, name: str) -> None:
        path.write_text(
            f"interval: 0.5\nlisten: 127.0.0.1:{port}\n"
            f"targets: [{{url: '{url(postgresql)}', name: one, packs: [small.yaml], tags: {{as: {name}}}}}]\n"
            f"outputs: [{{kafka: 'embedded:{tmp_path / hub}'}}, {{stdout: }}]\n"
        )

    with ExitStack() as leases:
        first, second = lease_port(leases), lease_port(leases)
        write(first, "a", "before")
        program = [sys.executable, "-W", "error", "-m", "gds_cli", "monitor", "run", "-c", str(path)]
        with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                wait_until(lambda: http_ready(first, "/readyz"), what="the monitor to be ready")
                write(second, "b", "after")
                process.send_signal(signal.SIGHUP)
                wait_until(lambda: http_ready(second, "/readyz"), what="the monitor to do as the file says now")
                assert process.stdout is not None
                assert process.stderr is not None
                lines: list[str] = []
                while not lines or json.loads(lines[-1])["tags"]["as"] != "after":
                    lines.append(process.stdout.readline())
                process.send_signal(signal.SIGTERM)
                lines += process.stdout.readlines()
                err = process.stderr.read()
                assert process.wait(60) == 0
            finally:
                process.kill()
    assert (process.returncode, err) == (0, "")
    seen = list(dict.fromkeys(json.loads(line)["metadata"]["correlation_id"] for line in lines))
    assert {json.loads(line)["tags"]["as"] for line in lines} == {"before", "after"}
    before, after = cycles(tmp_path / "a"), cycles(tmp_path / "b")
    assert before
    assert after
    assert before + after == seen
