"""The rights in contrib/ are enough, and no more: a real Vault and a real Kafka say so."""

from __future__ import annotations

import logging
import os
import subprocess
import uuid
from typing import Any

import pytest

from gds_kafka import (
    DeliveredMessage,
    KafkaConsumerClient,
    KafkaLoggingHandler,
    KafkaMessageError,
    KafkaMetrics,
    KafkaProducerClient,
)
from gds_vault import AppRoleAuth, VaultClient, VaultPermissionError
from tests.contrib.files import CONTRIB
from tests.kafka.test_security import unsigned_token
from tests.services.install import install
from tests.services.kafka import SecureKafka
from tests.services.process import wait_until
from tests.services.vault import Vault


def test_the_policy_is_what_a_reader_needs_and_no_more(vault: Vault) -> None:
    name = f"policy-{uuid.uuid4().hex[:8]}"
    policy = (CONTRIB / "vault" / "policy.hcl").read_text("utf-8").replace("/myapp/", f"/{name}/")
    vault.call("PUT", f"sys/policies/acl/{name}", {"policy": policy})
    role_id, secret_id = vault.add_approle(name, policies=[name])
    # As the head of the file says.
    vault.call("POST", f"auth/approle/role/{name}", {"token_no_default_policy": True})
    vault.put(f"{name}/database", {"password": "s3cret"})
    vault.put("others/database", {"password": "s3cret"})
    with VaultClient(vault.url, AppRoleAuth(role_id, secret_id)) as client:
        assert client.get_secret(f"{name}/database") == {"password": "s3cret"}
        assert client.list_secrets(name) == ["database"]
        for denied in (
            lambda: client.get_secret("others/database"),
            lambda: client.put_secret(f"{name}/database", {"password": "new"}),
            lambda: client.delete_secret(f"{name}/database"),
            lambda: client.list_secrets("others"),
        ):
            with pytest.raises(VaultPermissionError):
                denied()
    granted = vault.call("POST", "auth/approle/login", {"role_id": role_id, "secret_id": secret_id})["auth"]
    assert granted["policies"] == [name]
    token = granted["client_token"]
    assert vault.lookup(token)["renewable"]
    assert vault.call("POST", "auth/token/renew-self", {}, token=token)["auth"]["lease_duration"] > 0


def test_the_acls_are_what_a_writer_and_a_reader_need_and_no_more(secure_kafka: SecureKafka) -> None:
    mark = uuid.uuid4().hex[:8]
    names = {role: f"{role}-{mark}" for role in ("writer", "reader", "group", "logs", "metrics")}
    for topic in (names["logs"], names["metrics"], f"others-{mark}"):
        secure_kafka.create_topic(topic)
    run_class = install("kafka")["kafka-run-class"]
    subprocess.run(
        ["sh", CONTRIB / "kafka" / "acls.sh"],
        env=os.environ
        | {
            "KAFKA_ACLS": f"{run_class} -Xshare:auto -XX:TieredStopAtLevel=1 org.apache.kafka.tools.AclCommand"
            f" --bootstrap-server {secure_kafka.direct_bootstrap_servers}",
            "WRITER": f"User:{names['writer']}",
            "READER": f"User:{names['reader']}",
            "GROUP": names["group"],
            "LOGS": names["logs"],
            "METRICS": names["metrics"],
        },
        check=True,
        timeout=60,
        capture_output=True,
    )

    def connection(role: str) -> dict[str, Any]:
        return {
            "security_protocol": "SASL_SSL",
            "ssl_cafile": str(secure_kafka.certificates.ca),
            "sasl_mechanism": "OAUTHBEARER",
            "sasl_oauth_token_provider": lambda: unsigned_token(names[role]),
        }

    servers = secure_kafka.bootstrap_servers
    with KafkaProducerClient(servers, delivery_timeout_ms=5_000, **connection("writer")) as producer:
        # Rules come to the broker after the command has ended.
        def allowed() -> bool:
            [outcome] = producer.send_many(names["metrics"], [{"probe": 1}])
            return isinstance(outcome, DeliveredMessage)

        wait_until(allowed, what="the broker to know the writer")
        KafkaMetrics(producer, names["metrics"]).increment("orders")
        handler = KafkaLoggingHandler(producer, names["logs"])
        handler.handle(logging.LogRecord("shop", logging.INFO, __file__, 1, "order taken", None, None))
        assert producer.flush(30) == 0
        [refused] = producer.send_many(f"others-{mark}", [{"order": 7}])
        assert isinstance(refused, KafkaMessageError), refused
        assert producer.stats()["failed_total"].keys() <= {"not_authorized"}

    def read(group: str) -> list[object]:
        topics = [names["logs"], names["metrics"]]
        settings = connection("reader") | {"auto_offset_reset": "earliest", "consumer_timeout_ms": 20_000}
        wanted = {"order taken", "orders"}
        found: list[object] = []
        with KafkaConsumerClient(topics, servers, group, **settings) as consumer:
            for message in consumer:
                found.append(message["value"].get("message") or message["value"].get("name"))
                if wanted <= set(found):
                    break
        return found

    def as_reader() -> bool:
        try:
            return {"order taken", "orders"} <= set(read(names["group"]))
        except KafkaMessageError:
            return False

    wait_until(as_reader, what="the broker to know the reader")
    with pytest.raises(KafkaMessageError):
        read(f"other-{mark}")
