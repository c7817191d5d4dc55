"""Mail to a real server: TLS, a login, one mail for a subject that tries to be more."""

from __future__ import annotations

import signal
import ssl
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from tests.alerting.running import LONG_SECONDS, Measuring, watching
from tests.helpers.certificates import Pki, make_pki

PASSWORD = "c4n4ry-p4ssw0rd"
RULES = """\
version: 1
routing:
  default_channel: dba
  channels:
    dba: {{type: email, to: dba@example.com, host: localhost, port: {port}, from: "Alerts <alerts@example.com>"}}
rules:
  - id: cpu_high
    metric: cpu_usage
    threshold: {{op: ">", value: 85}}
    annotations:
      summary: "Über\\r\\nBcc: boss@example.com\\r\\n{long}"
"""


class Taking:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.mails: Queue[tuple[list[str], EmailMessage]] = Queue()

    async def handle_DATA(self, _server: Any, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        assert isinstance(envelope.content, bytes)
        assert max(map(len, envelope.content.splitlines())) <= 998
        mail = message_from_bytes(envelope.content, policy=policy.default)
        self.mails.put((list(envelope.rcpt_tos), mail))
        return "250 taken"


def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and data.password == PASSWORD.encode()
    return AuthResult(success=right, handled=False)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return make_pki(tmp_path)


@pytest.fixture
def server(pki: Pki, leased_port: int) -> Iterator[tuple[Taking, int]]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki.server_cert, pki.server_key)
    taking = Taking()
    controller = Controller(
        taking,
        hostname="localhost",
        port=leased_port,
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=authenticate,
    )
    controller.start()
    try:
        yield taking, leased_port
    finally:
        controller.stop()


def test_one_mail_for_an_alert_and_one_for_its_end(server: tuple[Taking, int], pki: Pki, tmp_path: Path) -> None:
    taking, port = server
    hub, rules = f"embedded:{tmp_path / 'hub'}", tmp_path / "rules.yaml"
    rules.write_text(RULES.format(port=port, long="long " * 240))
    variables = {
        "GDS_ALERTING_EMAIL_USER": "alerts",
        "GDS_ALERTING_EMAIL_PASSWORD": PASSWORD,
        "GDS_ALERTING_EMAIL_CAFILE": str(pki.ca),
    }
    with Measuring(hub) as measuring, watching(rules, hub, **variables) as watcher:
        measuring.measure("db-1", 92)
        to, fired = taking.mails.get(timeout=LONG_SECONDS)
        measuring.measure("db-1", 10)
        _, over = taking.mails.get(timeout=LONG_SECONDS)
        assert watcher.end(signal.SIGINT) == 0
    assert to == ["dba@example.com"]
    assert fired["bcc"] is None
    assert fired["subject"].startswith("FIRING warning: Über Bcc: boss@example.com long")
    assert (fired["auto-submitted"], fired["from"]) == ("auto-generated", "Alerts <alerts@example.com>")
    assert fired["references"] == over["references"]
    assert fired["message-id"] != over["message-id"]
    assert {part.get_content_type() for part in fired.walk()} >= {"text/plain", "text/html"}
    plain = fired.get_body(("plain",))
    assert plain is not None
    assert "value: 92" in plain.get_content()
    assert taking.mails.empty()
    assert not any(PASSWORD in line for line in watcher.printed)


def test_a_wrong_password_is_said_without_it_and_tried_again(
    server: tuple[Taking, int], pki: Pki, tmp_path: Path
) -> None:
    _, port = server
    hub, rules = f"embedded:{tmp_path / 'hub'}", tmp_path / "rules.yaml"
    rules.write_text(RULES.format(port=port, long=""))
    variables = {
        "GDS_ALERTING_DBA_USER": "alerts",
        "GDS_ALERTING_DBA_PASSWORD": "hunter2-and-more",
        "GDS_ALERTING_DBA_CAFILE": str(pki.ca),
    }
    with Measuring(hub) as measuring, watching(rules, hub, **variables) as watcher:
        measuring.measure("db-1", 92)
        assert "it is tried again" in watcher.wait_for("channel dba")
        assert watcher.end(signal.SIGINT) == 0
    assert not any("hunter2" in line for line in watcher.printed), watcher.printed
