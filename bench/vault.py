"""What watching costs a program that reads secrets: the same reads with everything on, and with nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.brokers import broker, fresh_topic
from bench.harness import AT_MOST, Bar, Effort, Row, expect, row
from gds_kafka import KafkaLoggingHandler, KafkaMetrics, KafkaProducerClient
from gds_metrics import CompositeMetrics, MetricsCollector, PrometheusMetrics
from gds_vault import AppRoleAuth, SecretCache, VaultClient
from tests.services.kafka import KafkaBroker
from tests.services.vault import Vault

__all__ = ["reads"]

_READS = 20_000
_PATHS = [f"bench/{number}" for number in range(100)]
_SECRET = {"username": "orders", "password": "correct-horse", "host": "db-17.example.com", "port": 5432}

# Both sides take turns this often in one round: what else the machine does is then done to both.
_TURNS = 20

_ASKED_EVERY = 10
"""Of ten reads nine find their secret in the cache: a program that asks for it before each piece of work."""


@dataclass(frozen=True)
class _Watched:
    """A client with everything on."""

    client: VaultClient
    page: PrometheusMetrics
    producer: KafkaProducerClient
    handler: KafkaLoggingHandler


def _client(vault: Vault, auth: AppRoleAuth, metrics: MetricsCollector | None) -> VaultClient:
    # Nothing expires while it is timed, so that both do the same.
    return VaultClient(vault.url, auth, SecretCache(ttl_seconds=86_400), metrics=metrics)


@contextmanager
def _watched(vault: Vault, auth: AppRoleAuth, kafka: KafkaBroker) -> Iterator[_Watched]:
    with ExitStack() as opened:
        # Large enough that nothing is dropped, which would be cheaper.
        producer = KafkaProducerClient(kafka.bootstrap_servers, buffer_memory=1 << 30)
        # What cannot be delivered at the end is not waited for.
        opened.callback(producer.close, 0)
        page = opened.enter_context(PrometheusMetrics(port=0, addr="127.0.0.1"))
        metrics = CompositeMetrics([page, KafkaMetrics(producer, fresh_topic(kafka))])
        handler = KafkaLoggingHandler(producer, fresh_topic(kafka))
        yield _Watched(opened.enter_context(_client(vault, auth, metrics)), page, producer, handler)


@contextmanager
def _logged(handler: logging.Handler) -> Iterator[None]:
    log = logging.getLogger("gds_vault")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.WARNING)


def _seconds(client: VaultClient, reads: int, asked_every: int | None) -> float:
    """The time of some reads; each gets what was written, or the benchmark stops."""
    get, wrong = client.get_secret, 0
    begin = time.perf_counter()
    for number in range(reads):
        use_cache = asked_every is None or number % asked_every > 0
        wrong += get(_PATHS[number % len(_PATHS)], use_cache) != _SECRET
    taken = time.perf_counter() - begin
    expect("reads that got something else", wrong, 0)
    return taken


def _round(watched: _Watched, plain: VaultClient, asked_every: int | None) -> tuple[float, float]:
    """Seconds of all the reads, watched and not."""
    ours = peer = 0.0
    for _ in range(_TURNS):
        with _logged(watched.handler):
            ours += _seconds(watched.client, _READS // _TURNS, asked_every)
        peer += _seconds(plain, _READS // _TURNS, asked_every)
    return ours, peer


def reads(effort: Effort) -> list[Row]:
    """20,000 reads, watched and not, in turns; with the broker up, and with it away."""
    rounds = max(2, effort.long_rounds // 5)
    rows = []
    with Vault() as vault, broker() as kafka:
        for path in _PATHS:
            vault.put(path, _SECRET)
        vault.write_policy("bench", {"secret/data/bench/*": ["read"]})
        auth = AppRoleAuth(*vault.add_approle("bench", policies=["bench"]))
        with _watched(vault, auth, kafka) as watched, _client(vault, auth, None) as plain:
            # From here on all is in both caches.
            _round(watched, plain, None)
            rows += _rows(watched, plain, "up", rounds)
            expect("messages left", watched.producer.flush(), 0)
            kafka.stop()
            rows += _rows(watched, plain, "away", rounds)
            _check(watched, rounds)
    return rows


def _rows(watched: _Watched, plain: VaultClient, state: str, rounds: int) -> list[Row]:
    mixed = [_round(watched, plain, _ASKED_EVERY) for _ in range(rounds)]
    cached = [_round(watched, plain, None) for _ in range(rounds)]
    each = [(ours / _READS * 1e6, peer / _READS * 1e6) for ours, peer in cached]
    against = "metrics=None"
    return [
        row(
            f"20,000 reads of secrets with all metrics and logs, a tenth asks Vault, broker {state}",
            mixed,
            unit="s",
            against=against,
            bar=Bar(AT_MOST, 1.05),
        ),
        row(f"one read from the cache, broker {state}", each, unit="us", against=against, sense=AT_MOST),
    ]


def _check(watched: _Watched, rounds: int) -> None:
    """Everything was on: the page has each read, and the producer took each message."""
    asked, mixed, cached = 2 * rounds * _READS // _ASKED_EVERY, 2 * rounds * _READS, (2 * rounds + 1) * _READS

    def on_page(name: str) -> float:
        return sum(watched.page.sample(name, {"path": path}) or 0 for path in _PATHS)

    expect("fetches on the page", on_page("vault.secret.fetch"), asked + len(_PATHS))
    expect("hits on the page", on_page("vault.secret.hit"), mixed - asked + cached - len(_PATHS))
    stats = watched.producer.stats()
    expect("messages dropped", (stats["dropped_total"], watched.handler.stats()["dropped"]), ({}, 0))
    expect("enough messages for that", stats["accepted_total"] > mixed + cached, True)
