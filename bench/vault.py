"""What watching costs a program that reads secrets: the same reads with everything on, and with nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.brokers import broker, fresh_topic
from bench.harness import AT_MOST, Bar, Effort, Row, alternate, expect, row
from gds_kafka import KafkaLoggingHandler, KafkaMetrics, KafkaProducerClient
from gds_metrics import CompositeMetrics, MetricsCollector, PrometheusMetrics
from gds_vault import AppRoleAuth, VaultClient
from tests.services.kafka import KafkaBroker
from tests.services.vault import Vault

__all__ = ["reads"]

_READS = 20_000
_PATHS = 100
_SECRET = {"username": "orders", "password": "correct-horse", "host": "db-17.example.com", "port": 5432}

_UNCACHED_EVERY = 10
"""Of ten reads nine find their secret in the cache: a program that asks for it before each piece of work."""


@dataclass(frozen=True)
class _Watched:
    """A client with everything on."""

    client: VaultClient
    page: PrometheusMetrics
    producer: KafkaProducerClient
    handler: KafkaLoggingHandler


def _client(vault: Vault, auth: AppRoleAuth, metrics: MetricsCollector | None) -> VaultClient:
    return VaultClient(vault.url, auth, metrics=metrics)


@contextmanager
def _watched(vault: Vault, auth: AppRoleAuth, kafka: KafkaBroker) -> Iterator[_Watched]:
    # Large enough that nothing is dropped, which would be cheaper.
    with ExitStack() as opened:
        producer = KafkaProducerClient(kafka.bootstrap_servers, buffer_memory=1 << 30, close_timeout_seconds=0)
        opened.callback(producer.close, 0)
        page = opened.enter_context(PrometheusMetrics(port=0, addr="127.0.0.1"))
        metrics = CompositeMetrics([page, KafkaMetrics(producer, fresh_topic(kafka))])
        handler = KafkaLoggingHandler(producer, fresh_topic(kafka))
        client = opened.enter_context(_client(vault, auth, metrics))
        yield _Watched(client, page, producer, handler)


def _seconds(client: VaultClient, uncached_every: int | None) -> float:
    """The time of the reads, which are checked."""
    get, paths = client.get_secret, [f"bench/{number}" for number in range(_PATHS)]
    wrong = 0
    begin = time.perf_counter()
    for number in range(_READS):
        cached = uncached_every is None or number % uncached_every > 0
        wrong += get(paths[number % _PATHS], cached) != _SECRET
    taken = time.perf_counter() - begin
    expect("reads that got something else", wrong, 0)
    return taken


def reads(effort: Effort) -> list[Row]:
    """20,000 reads, watched and not, in turns; with the broker up, and with it away."""
    rounds = max(3, effort.long_rounds // 3)
    rows = []
    with Vault() as vault, broker() as kafka:
        for number in range(_PATHS):
            vault.put(f"bench/{number}", _SECRET)
        vault.write_policy("bench", {"secret/data/bench/*": ["read"]})
        auth = AppRoleAuth(*vault.add_approle("bench", policies=["bench"]))
        with _watched(vault, auth, kafka) as watched, _client(vault, auth, None) as plain:
            log = logging.getLogger("gds_vault")
            log.propagate = False

            def ours(uncached_every: int | None) -> Callable[[], float]:
                def run() -> float:
                    log.setLevel(logging.INFO)
                    log.addHandler(watched.handler)
                    try:
                        return _seconds(watched.client, uncached_every)
                    finally:
                        log.removeHandler(watched.handler)
                        log.setLevel(logging.WARNING)

                return run

            def peer(uncached_every: int | None) -> Callable[[], float]:
                return lambda: _seconds(plain, uncached_every)

            ours(None)()
            peer(None)()
            for state in ("up", "away"):
                if state == "away":
                    expect("messages left", watched.producer.flush(), 0)
                    kafka.stop()
                name = "20,000 reads of secrets, metrics and logs to Prometheus and Kafka"
                measured = alternate(ours(_UNCACHED_EVERY), peer(_UNCACHED_EVERY), rounds)
                rows.append(
                    row(f"{name}, broker {state}", measured, unit="s", against="metrics=None", bar=Bar(AT_MOST, 1.05))
                )
                cached = alternate(ours(None), peer(None), rounds)
                each = [(a / _READS * 1e6, b / _READS * 1e6) for a, b in cached]
                rows.append(
                    row(
                        f"one of them from the cache, broker {state}",
                        each,
                        unit="us",
                        against="metrics=None",
                        sense=AT_MOST,
                    )
                )
            stats = watched.producer.stats()
            expect("messages dropped", (stats["dropped_total"], watched.handler.stats()["dropped"]), ({}, 0))
            _check(watched, rounds)
    return rows


def _check(watched: _Watched, rounds: int) -> None:
    """Everything was on: the page counted each read."""
    once, mixed = _READS, 2 * rounds * _READS
    asked = sum(watched.page.sample("vault.secret.fetch", {"path": f"bench/{number}"}) or 0 for number in range(_PATHS))
    expect("reads of the server on the page", asked, _PATHS + mixed // _UNCACHED_EVERY)
    hits = sum(watched.page.sample("vault.secret.hit", {"path": f"bench/{number}"}) or 0 for number in range(_PATHS))
    expect("reads from the cache on the page", hits, once - _PATHS + mixed - mixed // _UNCACHED_EVERY + mixed)
