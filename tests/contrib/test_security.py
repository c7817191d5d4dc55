"""What docs/security.md says of log records and of files."""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path

import pytest

from gds_kafka import KafkaConsumerClient, KafkaLoggingHandler
from tests.contrib.files import ROOT
from tests.metrics.programs import run

JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
VAULT_TOKEN = "hvs.CAESIJ0123456789abcdefghijklmnop"
CLOUD_KEY = "AKIAIOSFODNN7EXAMPLE"
# A row of the table, and lines whose secrets it is about.
ROWS = {
    "values under the name of a secret": ("password=hunter2", '{"token": "hunter2"}'),
    "values whose name is in another place": (
        '{"name": "DB_PASSWORD", "value": "hunter2"}',
        "INSERT INTO users (name, password) VALUES ('bob', 'hunter2')",
    ),
    "passwords in statements and calls": ("CREATE USER u IDENTIFIED BY 'hunter2'", 'db.auth("u", "hunter2")'),
    "credentials in URLs and connection strings": ("postgres://shop:hunter2@db/orders", "shop:hunter2@tcp(db:3306)/x"),
    "command lines, also as lists of arguments": ("mysql -phunter2 orders", "curl -u bob:hunter2 host"),
    "headers and cookies": ("Authorization: Bearer hunter2hunter2", "X-Vault-Token: hunter2hunter2"),
    "tokens by their shape": (JWT, VAULT_TOKEN, CLOUD_KEY),
    "private keys": ("-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",),
    "what you name": ("customer-47110815",),
}
SECRETS = ("hunter2", JWT, VAULT_TOKEN, CLOUD_KEY, "47110815")


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


# ------------------------------------------------------------------ who may read what is on disk
HUB = """
import os, sys
from gds_kafka import KafkaConsumerClient, KafkaProducerClient

os.umask(0)
hub = f"embedded:{sys.argv[1]}"
with KafkaProducerClient(hub) as producer:
    producer.send_many("orders", [{"id": 7}])
with KafkaConsumerClient("orders", hub, "g", auto_offset_reset="earliest", consumer_timeout_ms=100) as consumer:
    assert len(list(consumer)) == 1
"""

SPOOL = """
import logging, os, sys
from gds_kafka import KafkaProducerClient

logging.disable()  # that nobody is there is said sooner or later
os.umask(0)
producer = KafkaProducerClient("127.0.0.1:1", lazy=True, spool_dir=sys.argv[1])
producer.send("orders", {"id": 7})
os._exit(0)
"""


def modes(folder: Path) -> dict[str, set[int]]:
    """The permissions of the folders and of the files below one."""
    found: dict[str, set[int]] = {"folders": set(), "files": set()}
    for path in folder.rglob("*"):
        found["folders" if path.is_dir() else "files"].add(stat.S_IMODE(path.stat().st_mode))
    return found


def test_a_hub_is_for_its_owner_alone(tmp_path: Path) -> None:
    run(HUB, tmp_path / "made" / "hub")
    assert modes(tmp_path) == {"folders": {0o700}, "files": {0o600}}


def test_a_spool_is_for_its_owner_alone(tmp_path: Path) -> None:
    run(SPOOL, tmp_path / "made" / "spool")
    assert modes(tmp_path) == {"folders": {0o700}, "files": {0o600}}


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub").chmod(0o750)
    run(HUB, tmp_path / "hub")
    assert stat.S_IMODE((tmp_path / "hub").stat().st_mode) == 0o750
    assert modes(tmp_path / "hub") == {"folders": {0o700}, "files": {0o600}}
