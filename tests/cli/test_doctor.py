"""``gds doctor``: what it finds wrong, what it says to do about it, and that it tells no secret and always ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time
from typing import Any

import pytest
import typer

from gds_cli.checks import FAILED, OK, WARNING, Finding
from gds_cli.checks.machine import spool_usable
from gds_cli.checks.vault import vault_steps
from gds_cli.doctor import checked
from gds_vault._settings import VARIABLES
from gds_vault.testing import VaultServer
from tests.kafka.test_cli import gds, words
from tests.metrics.programs import Program, environment
from tests.services.kafka import KafkaBroker, SecureKafka
from tests.services.kafka.secure import PASSWORDS

Checks = dict[str, dict[str, str]]

NOBODY = 65_534


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def doctor(*arguments: object) -> Checks:
    """What it finds, by check. Its exit code says whether something failed."""
    done = gds("doctor", "--json", *arguments)
    assert done.stderr == ""
    found = [json.loads(row) for row in done.stdout.splitlines()]
    assert all(list(check) == ["check", "level", "found", "remedy"] for check in found)
    assert all(check["remedy"] for check in found if check["level"] == FAILED)
    assert done.returncode == (1 if any(check["level"] == FAILED for check in found) else 0)
    return {check["check"]: check for check in found}


def asked(url: str, seconds: float = 10.0) -> Checks:
    """What it finds of a Vault."""
    return {check.check: check._asdict() for check in checked(vault_steps(url, seconds), seconds)}


# ------------------------------------------------------------------ the command
def test_without_options_it_looks_at_what_is_installed() -> None:
    found = doctor()
    assert list(found) == ["wheel", "distributions", "extras", "clock"]
    assert "the compiled module loads" in found["wheel"]["found"]
    assert "gds-telemetry[cli] (rich" in found["extras"]["found"]
    assert "unknown" in found["clock"]["found"]


def test_people_are_told_level_finding_and_remedy(leased_port: int) -> None:
    with socket.create_server(("127.0.0.1", leased_port)):
        done = gds("doctor", "--port", leased_port)
        assert done.returncode == 1
        rows = done.stdout.splitlines()
        at = rows.index(f"failed   port {leased_port}: taken")
        assert rows[at + 1].startswith("         -> see who has it with: ss -ltnp")
    assert doctor("--port", leased_port)[f"port {leased_port}"]["level"] == OK


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--topic", "orders"), "--topic: expected the brokers"),
        (("--write", "-b", "localhost:1"), "--write: expected the topics"),
        (("--vault", "hunter2@vault:8200"), "expected a URL such as"),
        (("--vault", "http://u:hunter2@vault:port"), "expected a URL such as"),
        (("--port", "65536"), "--port"),
        (("--timeout", "0"), "--timeout"),
        (("-b", "localhost:1", "-X", "acks"), "-X acks: expected NAME=VALUE"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(arguments: tuple[str, ...], expected: str) -> None:
    done = gds("doctor", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in words(done.stderr.replace("\u2502", " "))
    assert "hunter2" not in done.stderr


def test_checks_go_on_after_one_that_raises_or_never_ends() -> None:
    never = threading.Event()

    def raises() -> Finding:
        raise ValueError("hunter2")

    def hangs() -> Finding:
        never.wait()
        return Finding(OK, "")

    steps = [("raises", raises), ("hangs", hangs), ("works", lambda: Finding(OK, "fine"))]
    found = list(checked(steps, 0.05))
    never.set()
    assert [(check.check, check.level) for check in found] == [("raises", FAILED), ("hangs", FAILED), ("works", OK)]
    assert "ValueError" in found[0].found
    assert "hunter2" not in repr(found)
    assert "no end after" in found[1].found


# ------------------------------------------------------------------ hubs
def test_topics_of_a_broker(kafka: KafkaBroker) -> None:
    kafka.create_topic("doctor-orders", partitions=3)
    arguments = ("-b", kafka.bootstrap_servers, "--topic", "doctor-orders", "--topic", "doctor-missing")
    found = doctor(*arguments)
    assert found["brokers"]["level"] == OK
    assert (found["topic doctor-orders"]["level"], found["topic doctor-orders"]["found"]) == (OK, "3 partitions")
    assert found["topic doctor-orders, read"]["found"] == "allowed"
    assert "topic doctor-orders, write" not in found
    assert kafka.read("doctor-orders") == [], "nothing is written unless it is asked for"
    missing = found["topic doctor-missing"]
    assert (missing["level"], "gds kafka topics doctor-missing --create" in missing["remedy"]) == (WARNING, True)
    assert found["topic doctor-missing, read"]["level"] == WARNING
    assert "doctor-missing" not in gds("kafka", "topics", "-b", kafka.bootstrap_servers).stdout, "looking makes none"
    assert doctor(*arguments[:4], "--write")["topic doctor-orders, write"]["level"] == OK
    assert [record.value for record in kafka.read("doctor-orders")] == [b'{"from":"gds doctor"}']


def test_rights_that_are_missing_are_named_and_no_password_is(secure_kafka: SecureKafka) -> None:
    names = ("doctor-hidden", "doctor-writes", "doctor-reads")
    for topic in names:
        secure_kafka.create_topic(topic)
    secure_kafka.allow("alice", "WRITE", "doctor-writes")
    secure_kafka.allow("alice", "READ", "doctor-reads")
    settings = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "alice",
        "sasl_plain_password": PASSWORDS["alice"],
        "ssl_cafile": secure_kafka.certificates.ca,
    }
    given = [each for name, value in settings.items() for each in ("-X", f"{name}={value}")]
    topics = [each for topic in names for each in ("--topic", topic)]
    found = doctor("-b", secure_kafka.bootstrap_servers, *given, *topics, "--write", "--timeout", 30)
    assert {name: check["level"] for name, check in found.items() if name.startswith("topic")} == {
        "topic doctor-hidden": FAILED,
        "topic doctor-hidden, read": WARNING,
        "topic doctor-hidden, write": FAILED,
        "topic doctor-writes": OK,
        "topic doctor-writes, read": FAILED,
        "topic doctor-writes, write": OK,
        "topic doctor-reads": OK,
        "topic doctor-reads, read": OK,
        "topic doctor-reads, write": FAILED,
    }
    for name, operation in (("hidden", "Describe"), ("writes, read", "Read"), ("reads, write", "Write")):
        check = found[f"topic doctor-{name}"]
        assert "authorization failed" in check["found"]
        assert f"--operation {operation}" in check["remedy"]
    assert PASSWORDS["alice"] not in str(found)

    given[given.index(f"sasl_plain_password={PASSWORDS['alice']}")] = "sasl_plain_password=not-the-password"
    found = doctor("-b", secure_kafka.bootstrap_servers, *given, "--topic", "doctor-reads", "--timeout", 30)
    assert found["brokers"]["level"] == FAILED
    assert "uthentication" in found["brokers"]["found"]
    assert found["topic doctor-reads"]["found"] == "not looked at: the hub is not reached"
    assert "not-the-password" not in str(found)


def test_a_broker_that_is_away_is_named() -> None:
    found = doctor("-b", "127.0.0.1:1", "--timeout", 0.5)
    assert found["brokers"]["level"] == FAILED
    assert "127.0.0.1:1" in found["brokers"]["found"]


def test_a_hub_in_a_folder(tmp_path: Path) -> None:
    hub = f"embedded:{tmp_path / 'hub'}"
    found = doctor("-b", hub)
    assert (found["brokers"]["level"], "the first message makes it" in found["brokers"]["found"]) == (OK, True)
    assert not (tmp_path / "hub").exists(), "looking makes none"
    opened = f"from gds_kafka import KafkaProducerClient\nproducer = KafkaProducerClient({hub!r})"
    with Program(opened) as owner:
        owner.do("producer.send_many('orders', [1])")
        shared = doctor("-b", hub, "--topic", "orders", "--write")
        assert {shared[name]["level"] for name in shared if name.startswith(("brokers", "topic"))} == {OK}
        owner.do("producer.close()")
        owner.end()
    found = doctor("-b", hub, "--topic", "orders", "--write")
    levels = [found[name]["level"] for name in ("brokers", "topic orders", "topic orders, read", "topic orders, write")]
    assert levels == [OK] * 4
    (tmp_path / "file").touch()
    assert doctor("-b", f"embedded:{tmp_path / 'file' / 'hub'}")["brokers"]["level"] == FAILED


# ------------------------------------------------------------------ Vault, and its clock
def test_a_vault_its_seal_and_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with VaultServer() as server:

        def look(token: str) -> Checks:
            monkeypatch.setenv("VAULT_TOKEN", token)
            found = asked(server.url)
            assert not token or token not in str(found)
            return found

        monkeypatch.setenv("VAULT_ADDR", server.url)
        monkeypatch.setenv("VAULT_TOKEN", server.root_token)
        assert doctor()["vault"]["level"] == OK
        found = look(server.root_token)
        assert (found["vault"]["level"], server.url in found["vault"]["found"]) == (OK, True)
        assert "does not expire" in found["vault token"]["found"]
        wrong = look("hvs.of-nobody")["vault token"]
        assert (wrong["level"], "log in again" in wrong["remedy"]) == (FAILED, True)
        damaged = look("hvs.two\nlines")["vault token"]
        assert (damaged["level"], "token: expected visible ASCII" in damaged["found"]) == (FAILED, True)
        assert look(f"{server.root_token}\n")["vault token"]["level"] == OK, "a line break at the end is none of it"
        assert look("")["vault token"]["level"] == WARNING
        monkeypatch.setenv("VAULT_ROLE_ID", "role")
        monkeypatch.setenv("VAULT_SECRET_ID", "hunter2")
        role = look("")
        assert (role["vault token"]["level"], "hunter2" in str(role)) == (OK, False)
        server.seal()
        sealed = look(server.root_token)
        assert (sealed["vault"]["level"], sealed["vault"]["remedy"]) == (FAILED, "vault operator unseal")
        assert sealed["vault token"]["found"] == "not tried: Vault is sealed"
    away = asked(server.url)
    assert (away["vault"]["level"], server.url in away["vault"]["found"]) == (FAILED, True)
    with pytest.raises(typer.BadParameter) as refused:
        asked(server.url.replace("//", "//user:hunter2@"))
    assert "hunter2" not in str(refused.value)


def test_without_a_client_of_vault_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    # As where there is none, and where there is one of before 1.0.
    monkeypatch.setitem(sys.modules, "gds_vault._probe", None)
    found = asked("http://127.0.0.1:1")
    assert list(found) == ["vault", "clock"]
    assert (found["vault"]["level"], found["vault"]["remedy"]) == (WARNING, "pip install 'gds-vault>=1.0'")


@contextmanager
def answering(date: str | None, body: bytes = b'{"sealed":false}', status: int = 200) -> Iterator[str]:
    """A server that says the same to everybody, at the time it is told."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(status)
            if date is not None:
                self.send_header("Date", date)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("ahead_seconds", "level", "expected"),
    [(0, OK, "as Vault's"), (60, WARNING, "s behind Vault's"), (-3600, FAILED, "s ahead of Vault's")],
)
def test_a_clock_that_is_wrong_is_seen(ahead_seconds: int, level: str, expected: str) -> None:
    with answering(formatdate(time() + ahead_seconds, usegmt=True)) as url:
        clock = asked(url)["clock"]
    assert (clock["level"], expected in clock["found"]) == (level, True)


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_a_server_that_tells_no_time_leaves_the_clock_unknown(date: str | None) -> None:
    with answering(date) as url:
        clock = asked(url)["clock"]
    assert (clock["level"], "unknown" in clock["found"]) == (OK, True)


@pytest.mark.parametrize(("body", "status"), [(b"<html>", 200), (b"[]", 200), (b"", 404), (b"", 307)])
def test_what_is_no_vault_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch, body: bytes, status: int) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "hvs.secret")
    with answering(None, body, status) as url:
        vault = asked(url)["vault"]
    expected = "307, a redirect that is not followed" if status == 307 else f"answers {status}, not as a Vault does"
    assert (vault["level"], expected in vault["found"]) == (FAILED, True)


def test_a_vault_that_never_answers_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        found = asked(f"http://127.0.0.1:{silent.getsockname()[1]}", 0.3)
    assert (found["vault"]["level"], "no answer within 0.3 s" in found["vault"]["found"]) == (FAILED, True)


# ------------------------------------------------------------------ the spool
def test_a_spool_that_is_there_or_can_be_made(tmp_path: Path) -> None:
    assert doctor("--spool", tmp_path)[f"spool {tmp_path}"]["level"] in {OK, WARNING}, "a small disk is a warning"
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
    assert spool_usable(tmp_path / "new" / "folder").level == OK
    assert list(tmp_path.iterdir()) == []


def test_a_spool_that_is_no_folder(tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.touch()
    assert spool_usable(taken).found == "it is no folder"
    assert "cannot be made" in spool_usable(taken / "below").found


@pytest.mark.parametrize("below", ["", "new"])
def test_a_spool_one_may_not_write_to(below: str) -> None:
    # Not below pytest's folder, which others may not even look into.
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o555)
        user = os.geteuid()
        try:
            if user == 0:  # who may write everywhere
                os.seteuid(NOBODY)
            found = spool_usable(Path(made, below))
        finally:
            os.seteuid(user)
    assert found.level == FAILED
    assert "writable" in found.found
    assert made in found.remedy


def test_a_full_spool(tmp_path: Path) -> None:
    # To the process a disk that takes no more bytes of a file.
    source = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); from gds_cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", source, "doctor", "--json", "--spool", tmp_path],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    check = json.loads(done.stdout.splitlines()[-1])
    assert (check["level"], check["found"].startswith("full: ")) == (FAILED, True)
    assert "make room" in check["remedy"]


def test_spools_of_dead_processes_are_told_from_those_in_use(tmp_path: Path) -> None:
    opened = f"""
from gds_kafka import KafkaProducerClient
producer = KafkaProducerClient("127.0.0.1:1", lazy=True, spool_dir={str(tmp_path)!r}, close_timeout_seconds=0.1)
producer.send("orders", "x" * 5000)
"""
    with Program(opened) as program:
        assert "dead" not in spool_usable(tmp_path).found
        program.kill()
    left = spool_usable(tmp_path)
    assert (left.level, "dead processes: 1, with 5 KiB" in left.found) == (WARNING, True)
