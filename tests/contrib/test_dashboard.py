"""Each query of the dashboard and of the alerts is asked of a real Prometheus, which scrapes a real page."""

from __future__ import annotations

import math
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from gds_kafka import GdsKafkaError, KafkaConsumerClient, KafkaProducerClient
from gds_metrics import PrometheusMetrics
from gds_vault import AppRoleAuth, VaultAuthError, VaultClient, VaultPermissionError
from gds_vault.testing import VaultServer
from tests.contrib.files import PROMETHEUS, alerts, dashboard, panels, read_yaml
from tests.services.fixtures import require_service
from tests.services.kafka import KafkaBroker
from tests.services.run import Prometheus, Sample, wait_until

NOWHERE = "127.0.0.1:1"
HITS_PER_MISS = 3
HIT_RATE = HITS_PER_MISS / (HITS_PER_MISS + 2)
"""The denied read is a miss too."""
TOO_LONG = "x" * 1_100_000
"""More than a broker takes by default, less than the producer here does."""

VARIABLES = {"${prefix}": "gds", "$job": ".*", "$instance": ".*", "$__rate_interval": "15s", "$__range": "1m"}


def expression(text: str) -> str:
    """As Grafana sends it."""
    for variable, value in VARIABLES.items():
        text = text.replace(variable, value)
    assert "$" not in text, text
    return text


class Program:
    """What is observed: everything a panel shows happens here, again and again, until `stop`."""

    def __init__(self, opened: ExitStack, servers: str, folder: str) -> None:
        self.metrics = opened.enter_context(PrometheusMetrics(port=0, addr="127.0.0.1", max_series=20))
        self.metrics.increment("once")
        self.topic = f"panels-{uuid.uuid4().hex[:8]}"
        vault = opened.enter_context(VaultServer())
        vault.add_approle("shop", "right", token_ttl_seconds=3600)
        vault.deny("denied/")
        for number in range(500):
            vault.put(f"db/{number}", {"password": "s3cret"})
        self._vault_url = vault.url
        self.reader = opened.enter_context(
            VaultClient(vault.url, AppRoleAuth("shop", "right"), metrics=self.metrics, config={"max_path_labels": 5})
        )
        self._rounds = 0
        self._stop = threading.Event()

        def producer(client_id: str, at: str = servers, **settings: Any) -> KafkaProducerClient:
            client = KafkaProducerClient(
                at, client_id=client_id, metrics=self.metrics, close_timeout_seconds=0.1, **settings
            )
            return opened.enter_context(client)

        self.shop = producer("shop", max_request_size=2_000_000)
        self._away = producer("away", NOWHERE, lazy=True, spool_dir=f"{folder}/away")
        self._full = producer(
            "full",
            NOWHERE,
            lazy=True,
            spool_dir=f"{folder}/full",
            spool_max_bytes=65_536,
            on_full="drop_newest",
            buffer_memory=65_536,
        )
        for number in range(20):
            self.shop.send(self.topic, {"number": number})
        self.shop.flush(30)
        self._reader = opened.enter_context(
            KafkaConsumerClient(
                self.topic, servers, "readers", client_id="reader", auto_offset_reset="earliest", metrics=self.metrics
            )
        )
        next(iter(self._reader))
        self._reader.commit()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        opened.callback(self.stop)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self._rounds += 1
            self._vault()
            self._metrics()
            self._kafka()

    def _vault(self) -> None:
        """One read that asks Vault and some that do not, one that is denied; a login that works and one that fails."""
        for _ in range(HITS_PER_MISS + 1):
            self.reader.get_secret(f"db/{self._rounds % 500}")
        with suppress(VaultPermissionError):
            self.reader.get_secret("denied/one")
        for secret_id in ("right", "wrong"):
            auth = AppRoleAuth("shop", secret_id)
            with suppress(VaultAuthError), VaultClient(self._vault_url, auth, metrics=self.metrics) as once:
                once.list_secrets("db")

    def _metrics(self) -> None:
        self.metrics.increment("", 1)
        self.metrics.increment("noise", labels={"round": self._rounds})  # type: ignore[dict-item] # any value

    def _kafka(self) -> None:
        self.shop.send(self.topic, {"round": self._rounds})
        if self._rounds % 10 == 0:
            self.shop.send(self.topic, TOO_LONG)
        self._away.send(self.topic, {"round": self._rounds})
        with suppress(GdsKafkaError):
            self._full.send(self.topic, "x" * 20_000)


@dataclass(frozen=True)
class Watched:
    program: Program
    prometheus: Prometheus

    def ask(self, text: str) -> list[Sample]:
        """The answer, once there is one that is a number."""

        def told(samples: list[Sample]) -> bool:
            return any(not math.isnan(sample.value) for sample in samples)

        return self.prometheus.wait_for(expression(text), told)


@pytest.fixture(scope="module")
def watched(kafka: KafkaBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A program at work and a Prometheus with the scrape configuration of contrib/, the address apart."""
    require_service("prometheus")
    with ExitStack() as opened:
        program = Program(opened, kafka.bootstrap_servers, str(tmp_path_factory.mktemp("spools")))
        [job] = read_yaml(PROMETHEUS / "prometheus.yml")["scrape_configs"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{program.metrics.port}"]}]
        yield Watched(program, opened.enter_context(Prometheus([job])))


def only(samples: list[Sample]) -> float:
    [sample] = samples
    return sample.value


def by(samples: list[Sample], label: str) -> dict[str, float]:
    return {sample.labels[label]: sample.value for sample in samples}


def positive(samples: list[Sample]) -> bool:
    return all(sample.value > 0 for sample in samples)


Answers = dict[str, list[Sample]]
"""What each query of a panel gives, by its legend."""


def percentiles(told: Answers) -> bool:
    return 0 < only(told["p50"]) <= only(told["p95"]) <= only(told["p99"]) < 10


SENSIBLE: dict[str, Callable[[Answers], bool]] = {
    "Hit rate": lambda told: only(told["hit rate"]) == pytest.approx(HIT_RATE, abs=0.1),
    "Failed reads": lambda told: 0 < only(told["failed"]) < 20,
    "Failed logins": lambda told: only(told["failed logins"]) > 0,
    "Reports dropped": lambda told: only(told["dropped"]) > 0,
    "Messages lost": lambda told: only(told["lost"]) > 0,
    "Token lasts": lambda told: 0 < only(told["token"]) <= 3600,
    "Reads": lambda told: only(told["cache"]) > only(told["Vault"]) > 0 and only(told["failed"]) > 0,
    "Time to fetch": percentiles,
    "Failed reads by type": lambda told: (
        by(told["{{type}}"], "type").keys() == {"VaultPermissionError", "VaultAuthError"} and positive(told["{{type}}"])
    ),
    "Slowest paths": lambda told: all(0 < value < 10 for value in by(told["{{path}}"], "path").values()),
    "Logins": lambda told: (
        by(told["{{method}}"], "method").keys() == {"approle"} and positive(told["{{method}} failed"])
    ),
    "Tokens": lambda told: 0 < only(told["{{instance}}"]) <= 60,
    "Reports dropped by reason": lambda told: (
        by(told["{{reason}}"], "reason").keys() == {"invalid_name"} and only(told["too many label sets"]) > 0
    ),
    "Series": lambda told: only(told["{{instance}}"]) > 20,
    "Time of a scrape": lambda told: 0 < only(told["{{instance}}"]) < 1,
    "Messages delivered": lambda told: (
        by(told["{{client_id}}"], "client_id").keys() == {"shop", "away", "full"}
        and {name for name, rate in by(told["{{client_id}}"], "client_id").items() if rate > 0} == {"shop"}
        and only(told["all accepted"]) > sum(by(told["{{client_id}}"], "client_id").values())
    ),
    "Messages waiting": lambda told: by(told["{{client_id}}"], "client_id")["away"] > 0,
    "Messages lost by reason": lambda told: (
        by(told["{{client_id}} dropped: {{reason}}"], "reason").keys() == {"buffer_full"}
        and by(told["{{client_id}} failed: {{reason}}"], "reason").keys() == {"message_too_large"}
    ),
    "Spool on disk": lambda told: by(told["{{client_id}}"], "client_id")["away"] > 0,
    "Oldest in the spool": lambda told: 0 < by(told["{{client_id}}"], "client_id")["away"] < 10,
    "Consumer lag": lambda told: by(told["{{client_id}} {{topic}}"], "client_id")["reader"] >= 19,
}


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_the_panel_shows_what_happens(panel: dict[str, Any], watched: Watched) -> None:
    told: Answers = {}

    def sensible() -> bool:
        """Not at once: a Kafka client tells its figures from time to time, so a rate over the first scrapes is zero."""
        told.update({target["legendFormat"]: watched.ask(target["expr"]) for target in panel["targets"]})
        return SENSIBLE[panel["title"]](told)

    wait_until(sensible, what=lambda: f"{panel['title']} to be sensible, last answer {told}")


def test_the_counts_at_the_top_see_the_first_of_a_kind(watched: Watched) -> None:
    """A counter of trouble comes into being with the first trouble, which increase() alone does not see."""
    [panel] = [panel for panel in panels() if panel["title"] == "Reports dropped"]
    assert only(watched.ask("gds_once_total")) == 1
    counted = panel["targets"][0]["expr"].replace("gds_metrics_dropped_total", "gds_once_total")
    assert only(watched.ask(counted.replace("$__range", "1h"))) == 1


def test_every_panel_is_checked() -> None:
    assert {panel["title"] for panel in panels()} == set(SENSIBLE)


def test_the_lists_to_choose_from_have_the_program(watched: Watched) -> None:
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] != "query":
            continue
        asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
        assert asked, variable
        [sample] = watched.ask(asked[1])
        assert sample.labels[asked[2]]


# A disk that fails is in tests/kafka/test_faults_producer.py: it fails for the whole process.
SPOOL_ERRORS = "gds_kafka_producer_spool_errors_total"
NAMES = {name for rule in alerts() for name in re.findall(r"\bgds_\w+", rule["expr"])}


@pytest.mark.parametrize("name", sorted(NAMES - {SPOOL_ERRORS}))
def test_what_the_alerts_ask_about_is_on_the_page(name: str, watched: Watched) -> None:
    assert watched.ask(f"count({name})")


def test_errors_of_the_spool_are_reported_by_the_name_the_alert_asks_for(watched: Watched) -> None:
    assert SPOOL_ERRORS in NAMES
    assert SPOOL_ERRORS.removeprefix("gds_kafka_producer_") in watched.program.shop.stats()


FIRING: dict[str, dict[str, str]] = {
    "GdsReportsDropped": {"reason": "invalid_name"},
    "GdsSeriesOverflow": {},
    "VaultLoginFails": {"method": "approle"},
    "VaultReadsFail": {},
    "KafkaMessagesDropped": {"client_id": "full", "reason": "buffer_full"},
    "KafkaMessagesRefused": {"client_id": "shop", "reason": "message_too_large"},
}


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_the_alert_sees_the_trouble_of_the_program(rule: dict[str, Any], watched: Watched) -> None:
    """Those for trouble the program has; the rest is about time, for which promtool has a clock."""
    if rule["alert"] in FIRING:
        samples = watched.ask(rule["expr"])
        assert {"job": "gds", **FIRING[rule["alert"]]}.items() <= samples[0].labels.items()
    else:
        watched.prometheus.query(rule["expr"])
