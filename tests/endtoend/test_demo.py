"""`gds demo` with real servers: no more rights than it needs, and a Prometheus has the numbers that it prints."""

from __future__ import annotations

import json
import signal

from tests.cli.commands import gds, objects, started
from tests.cli.test_demo import summary
from tests.services.fixtures import KafkaFactory, PrometheusFactory
from tests.services.kafka import KafkaBroker
from tests.services.run import scrape_job
from tests.services.vault import Vault

HITS = "gds_vault_secret_hit_total"
AT_REST = f"sum(changes({HITS}[2s])) == 0 and min(count_over_time({HITS}[2s])) >= 10"
"""No hit in ten scrapes; while the demo plays there are hundreds a second."""


def names_below(vault: Vault, folder: str) -> list[str]:
    """Of all secrets, at any depth."""
    names: list[str] = []
    for name in vault.call("LIST", f"secret/metadata/{folder}")["data"]["keys"]:
        path = folder + name
        names += names_below(vault, path) if name.endswith("/") else [path]
    return names


def test_the_demo_agrees_with_real_servers_and_leaves_no_secret(vault: Vault, kafka: KafkaBroker) -> None:
    vault.write_policy(
        "gds-demo",
        {f"secret/{kind}/gds-demo-*": ["create", "read", "update", "delete", "list"] for kind in ("data", "metadata")},
    )
    role_id, secret_id = vault.add_approle("gds-demo", policies=["gds-demo"])
    done = gds(
        *("demo", "--seconds", 3, "--json", "--vault", vault.url, "--kafka", kafka.bootstrap_servers),
        VAULT_ROLE_ID=role_id,
        VAULT_SECRET_ID=secret_id,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    found = summary(objects(done))
    assert found["outcomes"]["read"] > 0
    assert secret_id not in done.stdout
    # Of KV version 2 the names of deleted secrets stay.
    written = [name for name in names_below(vault, "") if name.startswith("gds-demo-")]
    assert written
    for name in written:
        kept = vault.call("GET", f"secret/metadata/{name}")["data"]
        assert all(version["deletion_time"] for version in kept["versions"].values()), kept


def test_a_prometheus_that_scrapes_the_demo_has_what_it_prints_at_its_end(
    prometheus_factory: PrometheusFactory, kafka_factory: KafkaFactory, leased_port: int
) -> None:
    kafka = kafka_factory()
    prometheus = prometheus_factory([scrape_job("demo", [f"127.0.0.1:{leased_port}"])], scrape_interval_ms=100)
    settings = ("--seconds", 0, "--json", "--prometheus-port", leased_port, "--kafka", kafka.bootstrap_servers)
    with started("demo", *settings) as process:
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            if prometheus.query(f"{HITS} > 0"):
                break
        # A demo that ends waits for Kafka, so that its page, complete by then, stays until it is scraped.
        kafka.pause()
        process.send_signal(signal.SIGINT)
        prometheus.wait_for(AT_REST)
        kafka.resume()
        printed.extend(process.stdout)
        assert process.wait() == 0, "".join(printed)
    found = summary([json.loads(line) for line in printed])
    assert found["ended_early"] is True

    # The demo is gone, so its series have ended.
    last = prometheus.query('sum by (__name__) (last_over_time({job="demo", __name__=~"gds_vault_.+"}[10m]))')
    scraped = {sample.labels["__name__"]: sample.value for sample in last}
    endings = {"counter": "_total", "timing": "_count", "histogram": "_count", "gauge": ""}
    for name, counts in found["counts"].items():
        on_page = f"gds_{name.replace('.', '_')}{endings[counts['type']]}"
        assert scraped[on_page] == counts["page"], name
        assert counts["type"] == "gauge" or scraped[on_page] == counts["program"] > 0
