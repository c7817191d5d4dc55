"""A program with both Vault clients, watched by a real Prometheus and over a real Kafka: all three count the same."""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from gds_kafka import KafkaConsumerClient
from tests.metrics.programs import Program
from tests.services.fixtures import require_service
from tests.services.kafka import KafkaBroker
from tests.services.process import http_get
from tests.services.run import Prometheus, scrape_job
from tests.services.vault import Vault

METRICS, LOGS = "endtoend-metrics", "endtoend-logs"
LABELS = ("method", "path", "type")
TOKEN = re.compile(rb"hv[sbr]\.[A-Za-z0-9_-]{20,}")

PROGRAM = """
import asyncio, json, logging
from collections import Counter
from gds_kafka import KafkaLoggingHandler, KafkaMetrics, KafkaProducerClient
from gds_metrics import CompositeMetrics, PrometheusMetrics
from gds_vault import (
    AppRoleAuth, AsyncVaultClient, RetryPolicy, TokenAuth, UserpassAuth, VaultClient, VaultError,
)

given = json.loads(GIVEN)
servers, url = given["servers"], given["url"]


class Tally:
    # What the program itself sees of the calls.
    def __init__(self):
        self.sums, self.counts, self.last = Counter(), Counter(), {}

    @staticmethod
    def key(name, labels):
        return json.dumps([name, sorted((labels or {}).items())])

    def increment(self, name, value=1, labels=None):
        self.sums[self.key(name, labels)] += value

    def gauge(self, name, value, labels=None):
        self.last[self.key(name, labels)] = value

    def histogram(self, name, value, labels=None):
        raise AssertionError("no client has one")

    def timing(self, name, value_ms, labels=None):
        self.counts[self.key(name, labels)] += 1


class Lines(logging.Handler):
    # What the program itself sees of its log.
    def __init__(self):
        super().__init__()
        self.seen = []

    def emit(self, record):
        self.seen.append([record.name, record.levelname, record.getMessage()])


tally, lines, outcomes = Tally(), Lines(), Counter()
producer = KafkaProducerClient(servers)
page = PrometheusMetrics(port=0, addr="127.0.0.1")
metrics = CompositeMetrics([page, KafkaMetrics(producer, topic=given["metrics"]), tally])
handler = KafkaLoggingHandler(producer, topic=given["logs"], service="endtoend")
log = logging.getLogger("gds_vault")
log.setLevel(logging.DEBUG)
log.propagate = False
log.addHandler(lines)
log.addHandler(handler)

approle = AppRoleAuth(given["role_id"], given["secret_id"])
user = UserpassAuth("endtoend", given["password"])
settings = {"metrics": metrics, "retry_policy": RetryPolicy(attempts=2, base_delay_seconds=0.01)}
sync = VaultClient(url, approle, **settings)
by_token = VaultClient(url, TokenAuth(given["token"]), **settings)
loop = asyncio.new_event_loop()


async def opened(auth):
    return AsyncVaultClient(url, auth, **settings)


asynchronous = loop.run_until_complete(opened(user))


def note(work):
    try:
        secret = work()
    except VaultError as error:
        outcomes[type(error).__name__] += 1
    else:
        assert secret["password"] == given["canary"], "the secret is not the one that was put there"
        outcomes["read"] += 1


async def noted(path, **options):
    try:
        secret = await asynchronous.get_secret(path, **options)
    except VaultError as error:
        outcomes[type(error).__name__] += 1
    else:
        assert secret["password"] == given["canary"], "the secret is not the one that was put there"
        outcomes["read"] += 1


async def many():
    await asyncio.gather(*(noted(f"endtoend/{number % 5}") for number in range(50)))
    for path in ("endtoend/0", "endtoend/none", "elsewhere/shut"):
        await noted(path, use_cache=False)


def work():
    for number in range(60):
        note(lambda: sync.get_secret(f"endtoend/{number % 6}", use_cache=number % 4 > 0))
    note(lambda: sync.get_secret("endtoend/0", version=1))
    for path in ("endtoend/none", "elsewhere/shut", "elsewhere/shut"):
        note(lambda: sync.get_secret(path))
    for _ in range(7):
        note(lambda: by_token.get_secret("endtoend/3"))
    loop.run_until_complete(many())


def refused():
    # Who has the wrong credentials, and who asks while the vault is sealed.
    with VaultClient(url, AppRoleAuth(given["role_id"], given["canary"]), **settings) as stranger:
        note(lambda: stranger.get_secret("endtoend/0"))


def away():
    note(lambda: sync.get_secret("endtoend/1", use_cache=False))
    note(lambda: sync.get_secret("endtoend/1"))
    loop.run_until_complete(noted("endtoend/2", use_cache=False))


def careless():
    # What programs do to themselves.
    note(lambda: sync.get_secret(given["token"]))
    log.warning("password=%s for %s", given["canary"], approle)
    try:
        raise RuntimeError(f"token: {given['token']}")
    except RuntimeError:
        log.exception("near-exception")


def told():
    return {
        "sums": dict(tally.sums),
        "counts": dict(tally.counts),
        "last": tally.last,
        "outcomes": dict(outcomes),
        "lines": lines.seen,
        "shown": [repr(each) for each in (sync, by_token, asynchronous, approle, user, settings, handler)],
    }


def close():
    sync.close()
    by_token.close()
    loop.run_until_complete(asynchronous.aclose())
    loop.close()
    metrics.flush()
    handler.flush()
    return [producer.flush(), producer.stats()["dropped_total"], handler.stats()["dropped"]]
"""


@dataclass(frozen=True)
class Seen:
    """What everybody saw of one program.

    Attributes:
        told: What the program says.
        prometheus: Its samples of the program's page, by name and labels.
        messages: The values of the metrics topic.
        logs: Those of the log topic.
        files: Every file of the broker, by name, and the page itself.
        canaries: Secrets by what they are.
    """

    told: dict[str, Any]
    prometheus: dict[str, float]
    messages: list[dict[str, Any]]
    logs: list[dict[str, Any]]
    files: dict[str, bytes]
    canaries: dict[str, str]


def key(name: str, labels: dict[str, str]) -> str:
    return json.dumps([name, sorted(labels.items())])


@pytest.fixture(scope="module")
def seen(vault: Vault) -> Iterator[Seen]:
    require_service("prometheus")
    require_service("kafka")
    canary, password = secrets.token_hex(16), secrets.token_hex(16)
    for number in range(6):
        vault.put(f"endtoend/{number}", {"user": "ada", "password": canary})
    vault.put("elsewhere/shut", {"password": canary})
    vault.write_policy("endtoend", {"secret/data/endtoend/*": ["read"]})
    role_id, secret_id = vault.add_approle("endtoend", policies=["endtoend"])
    vault.add_user("endtoend", password, policies=["endtoend"])
    token = vault.make_token(policies=["endtoend"])
    canaries = {"secret": canary, "password": password, "secret id": secret_id, "token": token}
    # A broker of its own: every byte it has written is looked through.
    with KafkaBroker() as kafka:
        for topic in (METRICS, LOGS):
            kafka.create_topic(topic)
        given = {
            "servers": kafka.bootstrap_servers,
            "url": vault.url,
            "metrics": METRICS,
            "logs": LOGS,
            "role_id": role_id,
            "secret_id": secret_id,
            "password": password,
            "token": token,
            "canary": canary,
        }
        with Program(f"GIVEN = {json.dumps(given)!r}") as program:
            program.do(PROGRAM)
            port = program.ask("page.port")
            with Prometheus([scrape_job("program", [f"127.0.0.1:{port}"])]) as prometheus:
                program.do("work()")
                program.do("refused()")
                vault.seal()
                try:
                    program.do("away()")
                finally:
                    vault.unseal()
                program.do("work()")
                program.do("careless()")
                assert program.ask("close()") == [0, {}, 0], "nothing is left and nothing was dropped"
                told = program.ask("told()")
                scraped = everything_scraped(prometheus, program)
                _, text = http_get(port, "/metrics")
                program.end()
        files = {str(path): path.read_bytes() for path in kafka.nodes[0].folder.rglob("*") if path.is_file()}
        yield Seen(
            told=told,
            prometheus=scraped,
            messages=consumed(kafka, METRICS),
            logs=consumed(kafka, LOGS),
            files=files | {"page": text, "broker's log": kafka.log().encode()},
            canaries=canaries,
        )


def everything_scraped(prometheus: Prometheus, program: Program) -> dict[str, float]:
    """The program's samples, from a scrape that began after its last call."""
    program.do('page.increment("the.end")')
    prometheus.wait_for("gds_the_end_total == 1")
    return {
        key(sample.labels["__name__"], {name: value for name, value in sample.labels.items() if name in LABELS}): (
            sample.value
        )
        for sample in prometheus.query('{__name__=~"gds_vault_.*"}')
        if "le" not in sample.labels
    }


def consumed(kafka: KafkaBroker, topic: str) -> list[dict[str, Any]]:
    """All values of a topic, by our own consumer."""
    wanted = sum(kafka.end_offsets(topic).values())
    with KafkaConsumerClient(
        topic, kafka.bootstrap_servers, auto_offset_reset="earliest", consumer_timeout_ms=30_000
    ) as consumer:
        return [message["value"] for message, _ in zip(consumer.messages(), range(wanted), strict=False)]


def test_program_did_all_that_is_counted(seen: Seen) -> None:
    outcomes = seen.told["outcomes"]
    # 60 + 1 + 7 + 50 + 1 of each work(), and the one from the cache while the vault was sealed.
    assert outcomes == {
        "read": 2 * 119 + 1,
        "VaultSecretNotFoundError": 2 * 2,
        "VaultPermissionError": 2 * 3 + 1,
        "VaultAuthError": 1,
        "VaultConnectionError": 2,
    }


def test_prometheus_the_topic_and_the_program_agree(seen: Seen) -> None:
    sums, counts, last = (seen.told[kind] for kind in ("sums", "counts", "last"))
    names = {json.loads(each)[0] for each in (*sums, *counts, *last)}
    assert names >= {"vault.auth.success", "vault.auth.failure", "vault.secret.fetch", "vault.secret.hit"}
    assert names >= {"vault.secret.miss", "vault.secret.error", "vault.token.ttl_seconds"}
    assert on_topic(seen.messages) == (sums, counts, last)
    assert seen.prometheus.keys() >= set(map(as_sample, sums))
    assert {as_sample(each): value for each, value in sums.items()} == {
        each: value for each, value in seen.prometheus.items() if json.loads(each)[0].endswith("_total")
    }
    assert {as_sample(each, "_seconds_count"): value for each, value in counts.items()} == {
        each: value for each, value in seen.prometheus.items() if json.loads(each)[0].endswith("_seconds_count")
    }
    assert seen.prometheus[key("gds_vault_token_ttl_seconds", {})] == last[key("vault.token.ttl_seconds", {})]


def test_time_that_prometheus_sees_is_that_on_the_topic(seen: Seen) -> None:
    spent: Counter[str] = Counter()
    for message in seen.messages:
        if message["type"] == "timing":
            spent[key("gds_vault_secret_fetch_seconds_sum", message["labels"])] += message["value"] / 1000
    shown = {each: value for each, value in seen.prometheus.items() if json.loads(each)[0].endswith("_seconds_sum")}
    assert shown == pytest.approx(dict(spent))


def as_sample(told: str, suffix: str = "_total") -> str:
    name, labels = json.loads(told)
    return key(f"gds_{name.replace('.', '_')}{suffix}", dict(labels))


def on_topic(messages: list[dict[str, Any]]) -> tuple[dict[str, float], dict[str, int], dict[str, float]]:
    sums: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    last: dict[str, float] = {}
    for message in messages:
        series = key(message["name"], message["labels"])
        match message["type"]:
            case "counter":
                sums[series] += message["value"]
            case "timing":
                counts[series] += 1
            case "gauge":
                last[series] = message["value"]
    return dict(sums), dict(counts), last


def test_lines_on_the_topic_are_those_of_the_program(seen: Seen) -> None:
    own = seen.told["lines"]
    found = [[each["logger"], each["level"], each["message"]] for each in seen.logs]
    assert len(found) == len(own) > 0
    assert {each["service"] for each in seen.logs} == {"endtoend"}
    hidden = [pair for pair in zip(own, found, strict=True) if pair[0] != pair[1]]
    # The others differ by a secret that was taken out.
    assert all(any(canary in line[2] for canary in seen.canaries.values()) for line, _ in hidden)
    assert len(hidden) < 10 < len(own)


def test_no_secret_is_in_any_byte_of_the_broker_or_on_the_page(seen: Seen) -> None:
    # They are there to be found: the topics are not compressed, and the page is the one with the paths.
    assert any(b"endtoend/5" in content for name, content in seen.files.items() if f"{METRICS}-0" in name)
    assert any(b"near-exception" in content for name, content in seen.files.items() if f"{LOGS}-0" in name)
    assert b'path="endtoend/5"' in seen.files["page"]
    found = {
        (what, where)
        for what, canary in seen.canaries.items()
        for where, content in seen.files.items()
        if canary.encode() in content
    }
    assert found == set()
    assert {where: TOKEN.findall(content) for where, content in seen.files.items() if TOKEN.search(content)} == {}
    shown = json.dumps(seen.told["shown"])
    assert [what for what, canary in seen.canaries.items() if canary in shown] == []
