"""A server that speaks Snowflake's protocol, of its own for each who enters it.

    with Snowflake() as snowflake_server:
        snowflake.connector.connect(**snowflake_server.arguments)

It is fakesnow, run as a separate process with packages of its own, with an account before it (``account.py``): users,
roles, parameters, warehouses and failover groups, and the views of ``SNOWFLAKE.ACCOUNT_USAGE``, empty. It takes any
password.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.services.install import install
from tests.services.process import LOOPBACK, Server, accepts_tcp

__all__ = ["Snowflake"]


class Snowflake(Server):
    """One server. What it is told is gone when it stops."""

    name = "snowflake"
    # It imports pandas and pyarrow.
    ready_timeout_seconds = 120.0

    def __init__(self) -> None:
        super().__init__()
        self._binary = install("snowflake")["snowflake-emulator"]
        self._port = 0

    @property
    def port(self) -> int:
        """The loopback port."""
        return self._port

    @property
    def url(self) -> str:
        """An address for engines; any password would do."""
        return f"snowflake://dba:any-password@{LOOPBACK}:{self._port}/?account=testaccount&protocol=http"

    @property
    def arguments(self) -> dict[str, Any]:
        """Those of the driver's ``connect``, without a password."""
        return {
            "user": "dba",
            "account": "testaccount",
            "host": LOOPBACK,
            "port": self._port,
            "protocol": "http",
            "login_timeout": 60,
            "session_parameters": {"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False},
        }

    def hold(self, pattern: str | None) -> None:
        """Statements that match wait until their client cancels them; with None none does any more."""
        self._arrange(pattern=pattern)

    def held(self) -> list[str]:
        """The statements that wait."""
        return self._arrange()["held"]

    def cancelled(self) -> list[str]:
        """Those that their clients have cancelled since the last `hold`."""
        return self._arrange()["cancelled"]

    def _arrange(self, **told: Any) -> dict[str, list[str]]:
        asked = urllib.request.Request(
            f"http://{LOOPBACK}:{self._port}/of-tests/hold",
            json.dumps(told).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=self.ready_timeout_seconds) as answer:
            found: dict[str, list[str]] = json.load(answer)
        return found

    def _prepare(self) -> None:
        self._port = self._lease_port()

    def _command(self) -> Sequence[str | Path]:
        return [self._binary, str(self._port)]

    def _is_ready(self) -> bool:
        return accepts_tcp(self._port)
