"""Every file in examples/ runs, and does what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gds_kafka import KafkaConsumerClient
from gds_kafka.testing import MockKafkaCluster
from gds_vault.testing import VaultServer
from tests.kafka.schemas import problems
from tests.project.documents import EXAMPLES, TIMEOUT_SECONDS, datagrams, receiver
from tests.services.fixtures import require_service
from tests.services.postgresql import PostgreSQL


def environment(**settings: str) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("GDS_BOOT", "OTEL_", "PROMETHEUS_"))
    }
    return kept | {"PYTHONWARNINGS": "error"} | settings


def run(name: str, *arguments: str, cwd: Path, **settings: str) -> str:
    """What an example prints; it must end well."""
    return python(EXAMPLES / name, *arguments, cwd=cwd, variables=environment(**settings))


def python(*arguments: str | Path, cwd: Path, variables: dict[str, str]) -> str:
    """What Python prints, told this; it must end well."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=variables,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def first_metric(folder: Path) -> None:
    assert 'gds_requests_total{path="/"} 1.0' in run("first_metric.py", cwd=folder)


SECRET = "stands in for a secret"


def vault_client(folder: Path) -> None:
    printed = run("vault_client.py", cwd=folder)
    lines = printed.splitlines()
    assert lines[:6] == [
        "fields: ['password', 'user']",
        "not found: shop/nothing",
        "denied: billing/database",
        "from the cache: 2.0",
        "from Vault: 1.0",
        "logins: 1.0",
    ]
    assert any(re.match(r"(DEBUG|INFO) .*shop/database", line) for line in lines[6:]), printed
    assert SECRET not in printed
    assert "not shown" not in printed


@dataclass(frozen=True)
class Surroundings:
    """What a program finds in production: a Vault with its secret, a Kafka, and its files."""

    folder: Path
    vault: VaultServer
    kafka: MockKafkaCluster

    @property
    def settings(self) -> dict[str, str]:
        return environment(
            VAULT_ADDR=self.vault.url,
            VAULT_ROLE_ID="shop",
            VAULT_SECRET_ID="right",
            PYTHONDONTWRITEBYTECODE="1",
            PYTHONPATH=os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")]),
        )

    def lines(self, *wanted: str) -> list[dict[str, object]]:
        """The records on the topic, read until the wanted ones are there."""
        found: list[dict[str, object]] = []
        missing = set(wanted)
        with KafkaConsumerClient(
            "logs", self.kafka.bootstrap_servers, auto_offset_reset="earliest", consumer_timeout_ms=20_000
        ) as consumer:
            for message in consumer:
                found.append(message["value"])
                missing -= {str(message["value"]["message"])}
                if not missing:
                    break
        assert not missing, found
        assert SECRET not in json.dumps(found)
        return found


@contextmanager
def surroundings(folder: Path, *names: str) -> Iterator[Surroundings]:
    """The files that an example needs are copied, so that the address of Kafka is the one there is."""
    with VaultServer() as vault, MockKafkaCluster() as kafka:
        vault.add_approle("shop", "right")
        vault.put("shop/database", {"user": "ann", "password": SECRET})
        for name in ("logging.json", *names):
            text = (EXAMPLES / name).read_text("utf-8")
            (folder / name).write_text(text.replace("localhost:9092", kafka.bootstrap_servers), "utf-8")
        yield Surroundings(folder, vault, kafka)


def vault_cron(folder: Path) -> None:
    with surroundings(folder, "vault_cron.py") as around:

        def job() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "vault_cron.py", "backup.prom"],
                cwd=folder,
                env=around.settings,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )

        done = job()
        assert done.returncode == 0, done.stderr
        page = (folder / "backup.prom").read_text()
        families = {family.name for family in text_string_to_metric_families(page)}
        assert families >= {"backup_duration", "backup_last_success_timestamp_seconds", "vault_secret_fetch"}
        around.vault.deny("shop/")
        denied = job()
        assert denied.returncode == 1, denied.stderr
        assert SECRET not in done.stderr + denied.stderr
        records = around.lines("backup made as ann")
        assert {record["service"] for record in records} == {"shop"}


def vault_fastapi(folder: Path) -> None:
    program = """
import asyncio, httpx, vault_fastapi
async def main():
    app = vault_fastapi.app
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop", follow_redirects=True) as client:
            answers = await asyncio.gather(*(client.get(f"/orders/{number}") for number in range(10)))
            assert [answer.json()["user"] for answer in answers] == ["ann"] * 10
            print((await client.get("/metrics")).text)
asyncio.run(main())
"""
    with surroundings(folder, "vault_fastapi.py") as around:
        page = python("-c", program, cwd=folder, variables=around.settings)
        # Ten at once, and Vault was asked once.
        assert 'shop_vault_secret_fetch_count{path="shop/database"} 1.0' in page
        around.lines("order 9 read")


def vault_flask(folder: Path) -> None:
    with surroundings(folder, "vault_flask.py", "gunicorn.conf.py") as around:
        settings = around.settings | {"BIND": "127.0.0.1:0", "PROMETHEUS_MULTIPROC_DIR": str(folder / "counts")}
        (folder / "counts").mkdir()
        with under_gunicorn("vault_flask:app", folder, settings | {"PYTHONWARNINGS": "default"}) as port:
            asked, pids = ask_until_both_answer(port)
            page = get(port, "/metrics/").decode()
        reads = re.findall(r'shop_vault_secret_(?:hit|miss)_total\{path="shop/database"\} (\S+)', page)
        assert sum(map(float, reads)) == asked
        # Each worker has a login of its own.
        assert f'shop_vault_auth_success_total{{method="approle"}} {len(pids)}.0' in page
        around.lines(f"order {asked - 1} read")


def composite(folder: Path) -> None:
    printed = run("composite.py", cwd=folder)
    assert "on the page: 3.0" in printed
    assert "'Broken': 2" in printed


def timed_functions(folder: Path) -> None:
    printed = run("timed_functions.py", cwd=folder)
    for line in ("parse failed: 1.0", "parse worked: 1.0", "query: 1.0", "read: ['ann', 'bob']", "all: 1.0"):
        assert line in printed


def own_collector(folder: Path) -> None:
    printed = run("own_collector.py", cwd=folder).splitlines()
    assert printed == [
        "is a collector: True",
        "increment orders {'kind': 'book'}",
        "gauge stock {}",
        "timing order.time {}",
    ]


def cron_push(folder: Path) -> None:
    assert run("cron_push.py", "--textfile", "backup.prom", cwd=folder) == "metrics were handed over\n"
    families = {family.name for family in text_string_to_metric_families((folder / "backup.prom").read_text())}
    assert families >= {"backup_duration", "backup_rows", "backup_last_success_timestamp_seconds"}
    with receiver() as gateway:
        run("cron_push.py", "--gateway", gateway.url, cwd=folder)
        unreachable = gateway.url
    [(method, path, page)] = gateway.requests
    assert (method, path) == ("PUT", "/metrics/job/backup/instance/db-1")
    assert b"backup_rows 499500" in page
    assert run("cron_push.py", "--gateway", unreachable, cwd=folder).startswith("metrics were not handed over")


def otlp(folder: Path) -> None:
    with receiver() as collector:
        printed = run(
            "otlp.py",
            cwd=folder,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        )
    assert printed == "taken\n"
    assert {(method, path) for method, path, _ in collector.requests} == {("POST", "/v1/metrics")}
    assert b"orders.taken" in collector.requests[0][2]


def statsd(folder: Path) -> None:
    with datagrams() as udp:
        run("statsd.py", "127.0.0.1", str(udp.getsockname()[1]), cwd=folder)
        lines = udp.recv(65_536).decode().splitlines()
    assert {line.partition("|#")[0] for line in lines} == {
        "shop.orders:5|c",
        "shop.stock:42|g",
        "shop.order.time:12.5|ms",
    }
    assert all("env:test" in line for line in lines)


def fastapi_app(folder: Path) -> None:
    program = """
import asyncio, runpy, sys, httpx
async def main():
    app = runpy.run_path(sys.argv[1])["app"]
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop", follow_redirects=True) as client:
        for number in range(3):
            assert (await client.get(f"/orders/{number}")).json() == {"number": number}
        print((await client.get("/metrics")).text)
asyncio.run(main())
"""
    page = python("-c", program, EXAMPLES / "fastapi_app.py", cwd=folder, variables=environment())
    assert 'shop_requests_total{route="/orders/{number}"} 3.0' in page
    assert "shop_order_time_count 3.0" in page


def flask_under_gunicorn(folder: Path) -> None:
    """Two workers, one page: the sum is right whichever of them answers."""
    settings = environment(
        BIND="127.0.0.1:0", PYTHONDONTWRITEBYTECODE="1", PROMETHEUS_MULTIPROC_DIR=str(folder), PYTHONWARNINGS="default"
    )
    with under_gunicorn("flask_app:app", EXAMPLES, settings) as port:
        asked, _ = ask_until_both_answer(port)
        for _ in range(5):
            page = get(port, "/metrics/").decode()
            assert f'shop_requests_total{{route="/orders/<number>"}} {asked}.0' in page
            assert "shop_workers 2.0" in page


@contextmanager
def under_gunicorn(app: str, folder: Path, settings: dict[str, str]) -> Iterator[int]:
    """The port of two workers of gunicorn."""
    pytest.importorskip("gunicorn")
    command = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", app]
    process = subprocess.Popen(command, cwd=folder, env=settings, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(TIMEOUT_SECONDS, process.kill)
    watchdog.start()
    assert process.stderr is not None
    drain = threading.Thread(target=process.stderr.read)
    try:
        log: list[str] = []
        for line in process.stderr:
            log.append(line)
            if sum("Booting worker" in seen for seen in log) == 2:
                break
        listening = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", "".join(log))
        assert listening, log
        drain.start()
        yield int(listening[1])
    finally:
        watchdog.cancel()
        process.terminate()
        process.wait(TIMEOUT_SECONDS)
        if drain.ident is not None:
            drain.join(TIMEOUT_SECONDS)
        process.stderr.close()


def ask_until_both_answer(port: int) -> tuple[int, set[int]]:
    """How many orders were asked for until both workers had answered, and their process ids."""
    pids: set[int] = set()
    asked = 0
    while len(pids) < 2 and asked < 2000:
        pids.add(json.loads(get(port, f"/orders/{asked}"))["pid"])
        asked += 1
    assert len(pids) == 2, f"one worker answered {asked} requests"
    return asked, pids


def get(port: int, path: str) -> bytes:
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        with connection.getresponse() as response:
            assert response.status == 200, response.read()
            return response.read()
    finally:
        connection.close()


def kafka_producer(folder: Path) -> None:
    printed = run("kafka_producer.py", cwd=folder).splitlines()
    assert "outcomes: ['DeliveredMessage', 'DeliveredMessage']" in printed
    assert "delivered to orders[0] at offset 0" in printed
    assert printed[-1] == "delivered: 3"


def kafka_consumer(folder: Path) -> None:
    assert run("kafka_consumer.py", cwd=folder).splitlines() == [
        "first did job 0",
        "first did job 1",
        "first ended: job 2 fails",
        "second did job 2",
        "second did job 3",
    ]


def kafka_logging(folder: Path) -> None:
    printed = run("kafka_logging.py", cwd=folder)
    assert "INFO shop.orders order 7 taken {'kind': 'book'}" in printed.splitlines()
    assert "WARNING shop.orders cannot reach postgres://" in printed
    assert "hunter2" not in printed


def kafka_metrics(folder: Path) -> None:
    assert run("kafka_metrics.py", cwd=folder).splitlines() == [
        "stock gauge 42.0 {'kind': 'book'} ",
        "orders counter 1000.0 {'kind': 'book'} ",
        "order.time timing 20.0 {} 3",
    ]


def kafka_asyncio(folder: Path) -> None:
    assert run("kafka_asyncio.py", cwd=folder).splitlines() == ["delivered: 1000 in order: True", "sum: 499500"]


def kafka_embedded(folder: Path) -> None:
    for _ in range(2):
        printed = run("kafka_embedded.py", str(folder / "hub"), cwd=folder)
        assert printed == "read: ['ann', 'bob', 'cyd'] behind by: 0\n"


def postgresql_nightly(folder: Path) -> None:
    require_service("postgresql")
    with PostgreSQL() as server:
        server.ask('CREATE DATABASE "a/b"')
        url = f"postgresql://postgres@127.0.0.1:{server.port}/postgres"
        programs = {"PATH": f"{server.tools}:{os.environ['PATH']}", "PGPASSWORD": server.address()["password"]}
        printed = run("postgresql_nightly.py", url, str(folder / "backups"), cwd=folder, **programs)
    assert "a/b: wrote a backup to" in printed
    assert "standalone with 0 partners, 0.0 s behind" in printed
    assert "fsync is off" in printed
    assert sorted(path.name for path in (folder / "backups").iterdir()) == ["a%2Fb.dump", "postgres.dump"]


def monitor(folder: Path) -> None:
    require_service("postgresql")
    with PostgreSQL() as server:
        secret = server.address()["password"]
        url = f"postgresql://postgres:{secret}@127.0.0.1:{server.port}/postgres"
        printed = run("monitor.py", url, f"embedded:{folder / 'hub'}", cwd=folder)
    assert "shop: 1 of 1 collectors, missing: nothing" in printed
    assert "shop.orders.waiting among them: True" in printed
    assert secret not in printed


def monitor_yaml(folder: Path) -> None:
    """The file with a server, a Vault and a hub that are there: nothing else of it is changed."""
    require_service("postgresql")
    with PostgreSQL() as server, VaultServer() as vault:
        vault.put("databases/db1", {"password": server.address()["password"]})
        text = (EXAMPLES / "monitor.yaml").read_text()
        for shown, used in (
            ("watcher@db1", f"postgres@127.0.0.1:{server.port}"),
            ("localhost:9092", f"embedded:{folder / 'hub'}"),
        ):
            assert shown in text
            text = text.replace(shown, used)
        (folder / "monitor.yaml").write_text(text)
        variables = environment(VAULT_ADDR=vault.url, VAULT_TOKEN=vault.root_token)
        arguments = ("-m", "gds_cli", "monitor", "once", "--json", "-c", "monitor.yaml")
        printed = python(*arguments, cwd=folder, variables=variables)
    names = {json.loads(line)["metric_name"] for line in printed.splitlines()}
    assert {"monitor.up", "postgresql.connection.max"} <= names


def monitoring(_: Path) -> None:
    """The rules are those of the schema; what they do is a case of the crate."""
    rules = yaml.safe_load((EXAMPLES / "monitoring" / "rules.yaml").read_text("utf-8"))
    assert problems("alert-rules.json", rules) == []
    rules["rules"][0]["treshold"] = rules["rules"][0].pop("threshold")
    assert problems("alert-rules.json", rules) == ["$.rules[0].treshold: not expected"]


CASES: dict[str, Callable[[Path], None]] = {
    "first_metric.py": first_metric,
    "logging.json": vault_cron,
    "vault_client.py": vault_client,
    "vault_cron.py": vault_cron,
    "vault_fastapi.py": vault_fastapi,
    "vault_flask.py": vault_flask,
    "composite.py": composite,
    "timed_functions.py": timed_functions,
    "own_collector.py": own_collector,
    "cron_push.py": cron_push,
    "monitoring": monitoring,
    "otlp.py": otlp,
    "statsd.py": statsd,
    "fastapi_app.py": fastapi_app,
    "flask_app.py": flask_under_gunicorn,
    "gunicorn.conf.py": flask_under_gunicorn,
    "kafka_asyncio.py": kafka_asyncio,
    "kafka_consumer.py": kafka_consumer,
    "kafka_embedded.py": kafka_embedded,
    "kafka_logging.py": kafka_logging,
    "kafka_metrics.py": kafka_metrics,
    "kafka_producer.py": kafka_producer,
    "monitor.py": monitor,
    "monitor.yaml": monitor_yaml,
    "postgresql_nightly.py": postgresql_nightly,
}
BY_CASE = {case: name for name, case in CASES.items()}


@pytest.mark.parametrize("case", BY_CASE, ids=lambda case: case.__name__)
def test_the_example_does_what_it_says(case: Callable[[Path], None], tmp_path: Path) -> None:
    case(tmp_path)


def test_every_example_has_a_case() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if not path.name.startswith((".", "__"))} == set(CASES)
