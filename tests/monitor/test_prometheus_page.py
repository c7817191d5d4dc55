"""A real Prometheus scrapes the page of a monitor, and probes its targets."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import Self

from gds_monitor.collector_output import PrometheusOutput
from gds_monitor.config.outputs import make_output
from gds_monitor.errors import MonitorConfigError
from gds_monitor.service import MonitorService
from tests.metrics.doubles import Recorder
from tests.monitor.postgresql import unique, url
from tests.services.fixtures import PrometheusFactory
from tests.services.postgresql import PostgreSQL
from tests.services.process import LOOPBACK, http_get, wait_until
from tests.services.run import Prometheus, scrape_job

HEADER = "X-Prometheus-Scrape-Timeout-Seconds"


class Running:
    """A monitor in a thread of its own, as `gds monitor run` has it in its process."""

    def __init__(self, path: Path) -> None:
        self.recorder = Recorder()
        self._path = path
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="a monitor")
        self.failed: BaseException | None = None

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self.service = MonitorService(self._path, metrics=self.recorder)
        try:
            await self.service.start()
            self._started.set()
            await self._end.wait()
        except BaseException as error:
            self.failed = error
            raise
        finally:
            self._started.set()
            await self.service.stop()

    @property
    def page(self) -> PrometheusOutput:
        (slot,) = self.service.system.outputs
        output = slot.output  # type: ignore[attr-defined]
        assert isinstance(output, PrometheusOutput)
        return output

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        if self.failed is not None:
            self._thread.join()
            raise self.failed
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()


@pytest.fixture
def watched(postgresql: PostgreSQL) -> Iterator[str]:
    name = unique("scraped")
    postgresql.ask(f"CREATE DATABASE {name}")
    yield name
    with contextlib.suppress(Exception):
        postgresql.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def written(folder: Path, server: PostgreSQL, database: str, *, interval: float, page: Any = "127.0.0.1:0") -> Path:
    path = folder / "monitor.yaml"
    path.write_text(
        f"interval: {interval}\n"
        f"targets:\n  - {{url: '{url(server)}', name: primary, databases: [postgres, {database}]}}\n"
        f"outputs: [{{prometheus: {page}}}]\n"
    )
    return path


def test_prometheus_scrapes_and_probes_it_and_queries_of_other_exporters_work(
    postgresql: PostgreSQL, watched: str, tmp_path: Path, prometheus_factory: PrometheusFactory
) -> None:
    with Running(written(tmp_path, postgresql, watched, interval=600)) as monitor:
        port = monitor.page.port
        (job_of_it,) = monitor.service.system.scheduler.jobs.values()
        # All is measured in it, sizes too, and those not again for five minutes.
        wait_until(lambda: job_of_it.cycles == 1, what="the first cycle")
        probes = scrape_job("probes", [f"{LOOPBACK}:{port}"], metrics_path="/probe", params={"target": ["primary"]})
        prometheus = prometheus_factory([scrape_job("page", [f"{LOOPBACK}:{port}"]), probes], scrape_interval_ms=10_000)
        for job in ("page", "probes"):
            value = partial(_value, prometheus, f'job="{job}",instance_id="primary",database_type="postgresql"')
            wait_until(lambda value=value: value("monitor_up") == 1, what=f"{job} to be scraped")  # type: ignore[misc]
            # As dashboards of postgres_exporter ask.
            assert value("pg_up") == 1
            size = value("pg_database_size_bytes", f'datname="{watched}"')
            assert size == value("postgresql_db_size", f'db_namespace="{watched}"')
            assert size is not None
            commits = value("pg_stat_database_xact_commit", 'datname="postgres"')
            assert commits == value("postgresql_commits_total", 'db_namespace="postgres"')
            assert commits is not None
            assert value("pg_settings_max_connections") == int(postgresql.ask("SHOW max_connections")[0][0])
            assert value("pg_stat_bgwriter_buffers_alloc_total") is not None


def _value(prometheus: Prometheus, here: str, name: str, labels: str = "") -> float | None:
    """The value of the one series; None if there is none."""
    found = prometheus.query(f"{name}{{{here},{labels}}}")
    return found[0].value if len(found) == 1 else None


def test_a_probe_measures_now_and_knows_only_what_is_configured(
    postgresql: PostgreSQL, watched: str, tmp_path: Path
) -> None:
    with Running(written(tmp_path, postgresql, watched, interval=3600)) as monitor:
        port = monitor.page.port
        (job,) = monitor.service.system.scheduler.jobs.values()
        wait_until(lambda: job.cycles == 1, what="the first cycle")
        for cycles in (2, 3):
            status, body = http_get(port, "/probe?target=primary", {HEADER: "120"})
            assert (status, job.cycles) == (200, cycles)
            page = body.decode()
            assert 'monitor_up{database_type="postgresql",instance_id="primary"} 1.0' in page
        # Sizes are measured every few minutes only, and stay.
        assert (
            f'pg_database_size_bytes{{database_type="postgresql",datname="{watched}"'
            in http_get(port, "/metrics")[1].decode()
        )
        canary = "canary-Hunter2"
        for query, expected in [
            ("", 400),
            ("target=primary&target=primary", 400),
            ("target=other", 404),
            (f"target=postgresql://app:{canary}@db/app", 404),
            (f"target={url(postgresql)}", 404),
        ]:
            status, body = http_get(port, f"/probe?{query}")
            assert status == expected
            assert canary not in body.decode()
        assert job.cycles == 3
        results = [call.labels for call in monitor.recorder.calls if call.name == "monitor.probes"]
        assert results == [*[{"result": "success"}] * 2, *[{"result": "unknown"}] * 3]


def test_a_probe_has_an_end_and_leaves_the_cycle_alone(postgresql: PostgreSQL, watched: str, tmp_path: Path) -> None:
    with Running(written(tmp_path, postgresql, watched, interval=3600)) as monitor:
        (job,) = monitor.service.system.scheduler.jobs.values()
        wait_until(lambda: job.cycles == 1, what="the first cycle")
        # Prometheus does not even wait for one round trip.
        status, body = http_get(monitor.page.port, "/probe?target=primary", {HEADER: "0.000001"})
        assert (status, body) == (503, b"no cycle ended within 5e-07 s\n")
        wait_until(lambda: job.cycles == 2, what="the cycle to end all the same")


def test_who_may_not_see_the_page_may_not_probe(postgresql: PostgreSQL, watched: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken")
    page = "{listen: '127.0.0.1:0', bearer_token_file: token}"
    with Running(written(tmp_path, postgresql, watched, interval=3600, page=page)) as monitor:
        port = monitor.page.port
        (job,) = monitor.service.system.scheduler.jobs.values()
        wait_until(lambda: job.cycles == 1, what="the first cycle")
        assert http_get(port, "/probe?target=primary")[0] == 401
        assert http_get(port, "/probe?target=primary", {"Authorization": "Bearer t0ken", HEADER: "120"})[0] == 200
        assert job.cycles == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"listen": "127.0.0.1:0", "certfile": "gone.pem"}, "outputs: prometheus: "),
        ({"listen": "127.0.0.1:0", "keyfile": "gone.pem"}, "expected certfile= beside it"),
    ],
)
def test_a_page_that_cannot_be_served_says_why(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(MonitorConfigError) as caught:
        make_output("prometheus", given, folder=tmp_path)
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_secret_of_an_output_may_be_in_vault() -> None:
    class Vault:
        def get_secret(self, path: str) -> dict[str, str]:
            assert path == "otlp"
            return {"token": "Bearer Hunter2-canary"}

    output = make_output(
        "otlp",
        {"endpoint": "http://127.0.0.1:1/v1/metrics", "headers": {"authorization": "vault://otlp#token"}},
        vault=Vault(),  # type: ignore[arg-type]
    )
    assert "canary" not in repr(output)
    asyncio.run(output.close())
