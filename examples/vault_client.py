"""Secrets from Vault, with every read counted and every log line shipped.

`VaultServer` stands in for a Vault and `embedded:hub` for Kafka, so that this runs anywhere. A program of yours
writes `VaultClient(metrics=metrics)`: address and credentials are VAULT_ADDR, VAULT_ROLE_ID and VAULT_SECRET_ID.
"""

from __future__ import annotations

import logging
import os

from gds_kafka import KafkaConsumerClient, KafkaLoggingHandler
from gds_metrics import PrometheusMetrics
from gds_vault import AppRoleAuth, VaultClient, VaultPermissionError, VaultSecretNotFoundError
from gds_vault.testing import VaultServer

SERVERS = os.environ.get("GDS_BOOTSTRAP_SERVERS", "embedded:hub")


def read(vault_addr: str, metrics: PrometheusMetrics) -> None:
    """Reads that work, and two that do not."""
    with VaultClient(vault_addr, AppRoleAuth("shop", "not shown"), metrics=metrics) as client:
        print("fields:", sorted(client.get_secret("shop/database")))
        for _ in range(2):
            client.get_secret("shop/database")
        try:
            client.get_secret("shop/nothing")
        except VaultSecretNotFoundError as error:
            print("not found:", error.path)
        try:
            client.get_secret("billing/database")
        except VaultPermissionError as error:
            print("denied:", error.path)


def main() -> None:
    """Read, then look at what was observed."""
    handler = KafkaLoggingHandler(bootstrap_servers=SERVERS, service="shop")
    logging.getLogger("gds_vault").addHandler(handler)
    logging.getLogger("gds_vault").setLevel(logging.DEBUG)
    metrics = PrometheusMetrics(start_server=False)
    with VaultServer() as server:
        server.put("shop/database", {"user": "shop", "password": "stands in for a secret"})
        server.deny("billing/")
        server.add_approle("shop", "not shown", token_ttl_seconds=3600)
        read(server.url, metrics)
    logging.shutdown()

    print("from the cache:", metrics.sample("vault.secret.hit", {"path": "shop/database"}))
    print("from Vault:", metrics.sample("vault.secret.fetch", {"path": "shop/database"}))
    print("logins:", metrics.sample("vault.auth.success", {"method": "approle"}))
    with KafkaConsumerClient("logs", SERVERS, auto_offset_reset="earliest", consumer_timeout_ms=2000) as consumer:
        for message in consumer:
            print(message["value"]["level"], message["value"]["message"])


if __name__ == "__main__":
    main()
