"""What docs/security.md says of log records and of files."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from gds_kafka import KafkaConsumerClient, KafkaLoggingHandler, KafkaProducerClient
from tests.pieces.contrib import ROOT

JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
VAULT_TOKEN = "hvs.CAESIJ0123456789abcdefghijklmnop"
CLOUD_KEY = "AKIAIOSFODNN7EXAMPLE"
# A row of the table, and lines whose secrets it is about.
ROWS = {
    "values under the name of a secret": ("password=hunter2", '{"token": "hunter2"}'),
    "credentials in URLs": ("postgres://shop:hunter2@db/orders",),
    "headers": ("Authorization: Bearer hunter2hunter2", "X-Vault-Token: hunter2hunter2"),
    "tokens by their shape": (JWT, VAULT_TOKEN, CLOUD_KEY),
    "private keys": ("-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",),
    "what you name": ("customer-4711",),
}
SECRETS = ("hunter2", JWT, VAULT_TOKEN, CLOUD_KEY, "4711")


@pytest.mark.parametrize("row", ROWS)
def test_what_is_said_to_be_redacted_is(row: str, tmp_path: Path) -> None:
    hub = f"embedded:{tmp_path}"
    logger = logging.getLogger(f"redacted.{tmp_path.name}")
    handler = KafkaLoggingHandler(bootstrap_servers=hub, redact=[r"customer-(\d+)"])
    logger.addHandler(handler)
    for line in ROWS[row]:
        logger.warning(line, extra={"secret_id": "hunter2"})
        try:
            raise ValueError(line)
        except ValueError:
            logger.exception("failed")
    handler.flush()
    with KafkaConsumerClient("logs", hub, auto_offset_reset="earliest", consumer_timeout_ms=500) as consumer:
        arrived = [json.dumps(message["value"], ensure_ascii=False) for message in consumer]
    logger.removeHandler(handler)
    handler.close()
    assert len(arrived) == 2 * len(ROWS[row])
    for text in arrived:
        assert "[REDACTED]" in text
        assert not [secret for secret in SECRETS if secret in text], text


def test_each_row_of_the_table_is_tried() -> None:
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    table = text.partition("## What is redacted in log records")[2].partition("| --- | --- |\n")[2].partition("\n\n")[0]
    assert {line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()} == set(ROWS)


def test_nobody_else_may_enter_the_spool_of_a_process(tmp_path: Path) -> None:
    with KafkaProducerClient("127.0.0.1:1", lazy=True, spool_dir=tmp_path, close_timeout_seconds=0.1) as producer:
        producer.send("orders", {"id": 7})
        [mine] = tmp_path.iterdir()
        assert mine.stat().st_mode & 0o777 == 0o700
