"""Sets up what the demo is played on, plays it, and takes everything away again."""

from __future__ import annotations

import logging
import secrets
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from gds_cli._messages import raw
from gds_cli._options import line, settings
from gds_cli.demo.folder import make_folder
from gds_cli.demo.reader import Hub, Reader
from gds_cli.demo.tally import RecordCount, Tally
from gds_cli.demo.verdict import Verdict, call_costs, shown
from gds_cli.demo.workload import APPLICATIONS, Workload
from gds_cli.kafka import admin
from gds_cli.live.model import Model
from gds_cli.live.page import parse
from gds_cli.live.show import Ending, how, show
from gds_cli.live.sources import HubSource, PageSource, Source, fetch, quiet
from gds_cli.live.view import Heading
from gds_kafka import KafkaConsumerClient, KafkaLoggingHandler, KafkaMetrics, KafkaProducerClient
from gds_metrics import CompositeMetrics, PrometheusMetrics
from gds_vault import (
    AppRoleAuth,
    AsyncVaultClient,
    RetryPolicy,
    SecretCache,
    VaultClient,
    VaultConfigurationError,
    VaultError,
)
from gds_vault.testing import VaultServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

__all__ = ["Given", "run"]

INTERVAL_SECONDS = 0.5
JOIN_SECONDS = 5.0
SETTLE_SECONDS = 20.0
"""How long the end waits for what is on its way."""

TOKEN_SECONDS = 8.0
"""How long a token of the demo's own Vault lives, so that its renewal can be seen."""

CACHE_SECONDS = 1.0
BUCKETS = (0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.024, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0)
PARTITIONS = 2


class Given(NamedTuple):
    """What the command line said."""

    kafka: str | None
    vault: str | None
    prometheus_port: int
    settings: tuple[str, ...]
    seconds: float
    no_tui: bool
    as_json: bool


class Vault(NamedTuple):
    """Where secrets are."""

    url: str
    auth: AppRoleAuth | None
    mount_point: str | None
    path: str
    server: VaultServer | None


def run(given: Given) -> int:
    """Play it; the exit code."""
    threads = set(threading.enumerate())
    name = f"gds-demo-{secrets.token_hex(4)}"
    try:
        with quiet("gds_kafka", "urllib3", "asyncio"), Ending() as ending, ExitStack() as stack:
            played = _play(given, name, ending, stack)
    except VaultError as error:
        print(f"gds: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, VaultConfigurationError) else 1
    # Only now is everything taken away that can be.
    left = sorted(each.name for each in set(threading.enumerate()) - threads)
    verdict = played._replace(left_behind=[*left, *([str(played.folder)] if played.folder.exists() else [])])
    if given.as_json:
        line({"summary": verdict.as_json()})
    else:
        shown(verdict)
    return 0 if verdict.agree else 1


def _play(given: Given, name: str, ending: Ending, stack: ExitStack) -> Verdict:
    folder = make_folder(ending)
    if given.kafka is not None:
        # The topics are made here and taken away at the end; nobody's late question is to make them anew.
        given = given._replace(settings=(*given.settings, "allow.auto.create.topics=false"))
    hub = _hub(given, name, folder, stack)
    vault = _vault(given, name, stack)
    config = settings(given.settings)
    producer = stack.enter_context(KafkaProducerClient(hub.servers, on_full="drop_oldest", **config))
    page = PrometheusMetrics(port=given.prometheus_port, addr="127.0.0.1")
    stack.callback(page.close)
    page.describe("vault.secret.fetch", help="Time to fetch a secret in seconds.", buckets=BUCKETS)
    tally = Tally()
    topic = KafkaMetrics(producer, hub.metrics)
    stack.callback(topic.close)
    metrics = CompositeMetrics([page, topic, tally])
    handler = KafkaLoggingHandler(producer, hub.logs, service="gds-demo")
    records = RecordCount()
    stack.enter_context(_logged_to(handler, records))

    options: dict[str, Any] = {
        "vault_addr": vault.url,
        "auth": vault.auth,
        "mount_point": vault.mount_point,
        "retry_policy": RetryPolicy(attempts=2, base_delay_seconds=0.05, max_delay_seconds=0.1),
        "metrics": metrics,
    }
    client = stack.enter_context(VaultClient(cache=SecretCache(ttl_seconds=CACHE_SECONDS), **options))
    async_client = AsyncVaultClient(cache=SecretCache(ttl_seconds=CACHE_SECONDS), **options)
    work = Workload(client, async_client, vault.path, vault.server, given.seconds)
    model = Model("gds_vault_")
    consumer = KafkaConsumerClient(
        [hub.metrics, hub.logs],
        hub.servers,
        hub.group,
        auto_offset_reset="earliest",
        value_deserializer=raw,
        key_deserializer=raw,
        **config,
    )
    reader = Reader(consumer, hub, work.canary, model)
    stack.callback(reader.stop)
    sources: list[Source] = [
        PageSource(model, f"http://127.0.0.1:{page.port}/metrics", INTERVAL_SECONDS),
        HubSource(
            model,
            hub.servers,
            (),
            given.settings,
            only=[hub.metrics, hub.logs],
            interval_seconds=INTERVAL_SECONDS,
        ),
    ]
    stack.enter_context(_running(sources))
    reader.start()
    _announce(given, hub, vault, page.port)
    stack.callback(work.stop)
    begin = time.monotonic()
    work.start()
    show(model, how(given.as_json, given.no_tui), ending, lambda: _heading(given, work), given.seconds)
    work.stop()
    elapsed_seconds = time.monotonic() - begin
    client.close()

    # From here on nothing more is counted; what is on its way arrives.
    handler.flush()
    metrics.flush(SETTLE_SECONDS)
    reported = tally.reported()
    reader.wait_for(sum(each.calls for each in reported.values()), records.records, SETTLE_SECONDS)
    text = fetch(f"http://127.0.0.1:{page.port}/metrics", SETTLE_SECONDS)
    reader.stop()
    return Verdict(
        elapsed_seconds=elapsed_seconds,
        ended_early=ending.asked.is_set(),
        outcomes=work.outcomes,
        program=reported,
        topic=reader.reported(),
        page=parse(text),
        page_text=text,
        records=records.records,
        records_on_topic=reader.messages[hub.logs],
        canaries=work.canaries_logged,
        redacted=reader.redacted,
        leaked=reader.leaked + (work.canary in text),
        durations_ms=tally.durations_ms("vault.secret.fetch") or [],
        lost=_lost(producer.stats(), topic, metrics),
        defects=[*work.defects, *([f"the reader of the topics: {reader.error}"] if reader.error else [])],
        call_ns={} if given.as_json else call_costs(),
        folder=folder,
        left_behind=[],
    )


def _hub(given: Given, name: str, folder: Path, stack: ExitStack) -> Hub:
    """The hub with its topics; those of a real Kafka are taken away at the end."""
    if given.kafka is None:
        hub = Hub(f"embedded:{folder / 'hub'}", "metrics", "logs", "gds-demo")
    else:
        hub = Hub(given.kafka, f"{name}-metrics", f"{name}-logs", name)
    keeper = admin(hub.servers, given.settings)
    for topic in (hub.metrics, hub.logs):
        keeper.create_topic(topic, PARTITIONS)
        if given.kafka is not None:
            stack.callback(keeper.delete_topic, topic)
    return hub


def _vault(given: Given, name: str, stack: ExitStack) -> Vault:
    """Vault with something in it; what is written to a real one is taken away at the end."""
    if given.vault is None:
        server = stack.enter_context(VaultServer())
        role = ("gds-demo", secrets.token_urlsafe(16))
        server.add_approle(*role, token_ttl_seconds=TOKEN_SECONDS)
        for each in APPLICATIONS:
            server.put(f"demo/app/{each}", _secret())
        server.put("demo/denied", _secret())
        server.deny("demo/denied")
        return Vault(server.url, AppRoleAuth(*role), "secret", "demo", server)
    writer = stack.enter_context(VaultClient(given.vault))
    for each in APPLICATIONS:
        path = f"{name}/app/{each}"
        writer.put_secret(path, _secret())
        stack.callback(writer.delete_secret, path)
    return Vault(given.vault, None, None, name, None)


def _secret() -> dict[str, str]:
    return {"user": "demo", "password": secrets.token_urlsafe(12)}


@contextmanager
def _logged_to(*handlers: logging.Handler) -> Iterator[None]:
    """Have what `gds_vault` says go there, and nowhere else: the terminal is the view's."""
    logger = logging.getLogger("gds_vault")
    before = (logger.level, logger.propagate)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.setLevel(before[0])
        logger.propagate = before[1]
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


@contextmanager
def _running(sources: list[Source]) -> Iterator[None]:
    for source in sources:
        source.start()
    try:
        yield
    finally:
        for source in sources:
            source.stop()
        for source in sources:
            source.join(JOIN_SECONDS)


def _heading(given: Given, work: Workload) -> Heading:
    happening, trouble = work.happening
    return Heading("gds demo", happening, trouble, given.seconds)


def _announce(given: Given, hub: Hub, vault: Vault, port: int) -> None:
    """Where everything is, for who wants to look at it by other means; not where JSON is expected."""
    if given.as_json:
        return
    print(f"page      http://127.0.0.1:{port}/metrics")
    print(f"hub       {hub.servers}, topics {hub.metrics} and {hub.logs}, group {hub.group}")
    if vault.server is None:
        print(f"vault     {vault.url}: secrets are written below {vault.path}/ only, and deleted at the end")
        print("          it is yours, so it is not stopped: there is no outage to be seen, and no policy of the demo's")
    else:
        print(f"vault     {vault.url}, in this process: it is stopped for a while, on purpose")
    print(flush=True)


def _lost(stats: dict[str, Any], topic: KafkaMetrics, metrics: CompositeMetrics) -> dict[str, float]:
    """What was given up anywhere, by who gave it up."""
    lost: dict[str, float] = {f"KafkaMetrics {reason}": number for reason, number in topic.dropped.items()}
    for name in ("dropped_total", "failed_total"):
        found = stats.get(name)
        for reason, number in found.items() if isinstance(found, dict) else ((name, found or 0),):
            lost[f"producer {reason}"] = number
    lost |= {f"{type(member).__name__} raised": number for member, number in metrics.failures}
    return {reason: number for reason, number in lost.items() if number}
