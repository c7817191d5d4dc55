"""Secrets that a program logs, and its own password, are looked for in every byte that is left of them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.metrics.programs import run
from tests.services.fixtures import require_service
from tests.services.kafka import SecureKafka

PLACES = (
    *("argument", "text", "mapping", "header", "url", "vault", "extra", "nested", "exception", "cause", "source"),
    *("stack", "field"),
)
"""Where a program of the test logs a secret; beside each stands ``near-`` and the place."""

PROGRAM = """
import json, logging, runpy, sys
from gds_kafka import KafkaLoggingHandler
settings, secret, source = json.loads(sys.argv[1])
# What the client says of itself, down to librdkafka's last word, goes where the test can look through it.
own = logging.getLogger("gds_kafka")
own.setLevel(logging.DEBUG)
own.addHandler(logging.StreamHandler(sys.stdout))
fields = {"password": secret["field"], "note": "near-field"}
handler = KafkaLoggingHandler(topic="canaries", fields=fields, librdkafka={"debug": "all"}, **settings)
app = logging.getLogger("app")
app.setLevel(logging.DEBUG)
app.propagate = False
app.addHandler(handler)
app.info("near-argument password=%s", secret["argument"])
app.info(f"near-text password: {secret['text']}")
app.info("near-mapping password=%(password)s", {"password": secret["mapping"]})
app.info("near-header Authorization: Bearer %s", secret["header"])
app.info("near-url postgres://shop:%s@db.example/orders", secret["url"])
app.info("near-vault token hvs.%s", secret["vault"])
app.info("near-extra", extra={"db_password": secret["extra"]})
app.info("near-nested", extra={"config": {"servers": [{"api_key": secret["nested"]}]}})
try:
    try:
        raise LookupError(f"near-cause password={secret['cause']}")
    except LookupError as cause:
        raise RuntimeError(f"near-exception password={secret['exception']}") from cause
except RuntimeError:
    app.exception("failed")
try:
    # A file, so that its lines are in the traceback.
    runpy.run_path(source)
except ConnectionError:
    app.exception("failed")
record = app.makeRecord("app", logging.INFO, "app.py", 1, "with a stack", (), None)
record.stack_info = f"near-stack password={secret['stack']}"
app.handle(record)
handler.flush()
print(handler, handler.stats())
logging.shutdown()
"""


@pytest.fixture
def password() -> str:
    return secrets.token_hex(16)


@pytest.fixture
def kafka(password: str) -> Iterator[SecureKafka]:
    """A broker to whom alice is known by that password."""
    require_service("kafka")
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    known = {"listener.name.sasl_ssl.plain.sasl.jaas.config": f'{module} required user_alice="{password}";'}
    with SecureKafka(known) as broker:
        yield broker


def test_no_secret_is_in_the_brokers_files_or_in_what_the_program_says(
    kafka: SecureKafka, password: str, tmp_path: Path
) -> None:
    kafka.create_topic("canaries")
    kafka.allow("alice", "WRITE", "canaries")
    canaries = {place: secrets.token_hex(16) for place in PLACES}
    source = tmp_path / "source.py"
    source.write_text(
        "def connect(near_source, password):\n"
        "    raise ConnectionError('no answer')\n"
        f"connect('near-source', password='{canaries['source']}')\n"
    )
    settings = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "alice",
        "sasl_plain_password": password,
        "ssl_cafile": str(kafka.certificates.ca),
        "close_timeout_seconds": 60,
    }
    said = run(PROGRAM, json.dumps([settings, canaries, str(source)]))
    assert "sasl_ssl://" in said, "librdkafka has told what it does"
    records = kafka.read("canaries")
    files = {path: path.read_bytes() for path in (kafka.nodes[0].folder / "data").rglob("*") if path.is_file()}
    log = next(content for path, content in files.items() if path.parent.name == "canaries-0" and path.suffix == ".log")
    # The places are there, and not compressed: the secrets could be found.
    for place in PLACES:
        assert f"near-{place}".encode() in log
        assert any(f"near-{place}".encode() in (record.value or b"") for record in records)
    found = {
        (place, where)
        for place, secret in {**canaries, "password": password}.items()
        for where, content in [
            *files.items(),
            ("broker's log", kafka.log().encode()),
            ("output", said.encode()),
            *((f"record {record.offset}", repr(record).encode()) for record in records),
        ]
        if secret.encode() in content
    }
    assert found == set()
