"""What stands in for SQL Server: it speaks TDS to the real drivers and runs what they send on DuckDB.

    with SqlServer() as server:
        connection = pymssql.connect("127.0.0.1", "sa", server.password, port=str(server.port))

Each process is one instance with its own databases, logins, sessions and error log. Queries are T-SQL, translated by
sqlglot; the system views are those of ``catalogue.txt`` with the columns of the version that is asked for, and one
that is not there fails as SQL Server fails. It has no plans, no pages and no cluster, and proves nothing about those.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trustme

from tests.services.process import LOOPBACK, Server, ServerFailed

__all__ = ["SqlServer"]

# Its core of its own, which needs no library that a machine may not have; read when the driver is imported.
os.environ.setdefault("MSSQL_PYTHON_NATIVE_PROVIDER", "mssql-odbc")

_ROOT = Path(__file__).parents[3]


class SqlServer(Server):
    """One instance. What it keeps is lost when it stops.

    ``version`` is the major one: 13 is SQL Server 2016, 17 is 2025. ``engine_edition`` is what SERVERPROPERTY says: 3
    is Enterprise, 5 Azure SQL Database. ``offset_minutes`` puts the clock of the server into another zone. With
    ``expired`` its certificate ended yesterday.
    """

    name = "sqlserver"
    # It is written in Python, and what it imports takes a busy machine long.
    ready_timeout_seconds = 120.0
    password = "Tr1cky 'quote"

    def __init__(
        self,
        *,
        version: int = 16,
        engine_edition: int = 3,
        offset_minutes: int = 0,
        instance: str = "SQL1",
        tls: bool = True,
        expired: bool = False,
    ) -> None:
        super().__init__()
        self._arguments = ["--version", str(version), "--engine-edition", str(engine_edition), "--name", instance]
        self._arguments += ["--offset-minutes", str(offset_minutes)]
        self._has_tls = tls
        self._expired = expired
        self._port = 0

    @property
    def port(self) -> int:
        """The loopback port."""
        return self._port

    @property
    def certificate_authority(self) -> Path:
        """The file with the certificate that vouches for this server, which is ``localhost`` and 127.0.0.1."""
        return self.folder / "ca.pem"

    def put(self, view: str, rows: Sequence[Mapping[str, Any]] | None) -> None:
        """Give a view these rows, or its own again with ``None``."""
        self._ask("put", view=view, rows=rows)

    def fault(
        self,
        pattern: str,
        *,
        seconds: float = 0.0,
        error: tuple[int, int, int, str] | None = None,
        hang_up: bool = False,
        times: int = 1_000_000,
    ) -> None:
        """Statements that match wait, fail with a number, severity, state and text, or lose their connection."""
        self._ask("fault", pattern=pattern, seconds=seconds, error=error, hang_up=hang_up, times=times)

    def no_faults(self) -> None:
        """No fault any more."""
        self._ask("no_faults")

    def statements(self) -> list[str]:
        """Every batch and call that was received, as it came."""
        return [text for _, text in self._ask("statements")]

    def sessions(self) -> list[int]:
        """The numbers of the sessions that are open."""
        found: list[int] = self._ask("sessions")
        return found

    def limit_connections(self, most: int) -> None:
        """As ``user connections`` at the last start; 0 is no limit."""
        self._ask("limit_connections", most=most)

    def knocks(self) -> int:
        """How many connections there were, let in or not."""
        found: int = self._ask("knocks")
        return found

    def write_log(self, process: str, text: str) -> None:
        """A line of the error log."""
        self._ask("log", process=process, text=text)

    def start(self) -> None:
        """Start it with the password of ``sa`` set."""
        super().start()
        self._ask("password", password=self.password)

    def _ask(self, what: str, **given: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(self.ready_timeout_seconds)
            control.connect(str(self._control))
            control.sendall(json.dumps({"do": what, **given}).encode() + b"\n")
            with control.makefile("rb") as answers:
                answer = json.loads(answers.readline())
        if "error" in answer:
            raise ServerFailed(answer["error"])
        return answer["answer"]

    def _prepare(self) -> None:
        self._port = self._lease_port()
        self._control = self._unix_path("control")
        if self._has_tls:
            authority = trustme.CA()
            authority.cert_pem.write_to_path(str(self.certificate_authority))
            past = dt.datetime.now(dt.timezone.utc) - dt.timedelta(days=1)
            begin, end = (past - dt.timedelta(days=9), past) if self._expired else (None, None)
            authority.issue_cert(
                "localhost", LOOPBACK, not_before=begin, not_after=end
            ).private_key_and_cert_chain_pem.write_to_path(str(self.folder / "server.pem"))

    def _command(self) -> Sequence[str | Path]:
        # Its folder is the working directory, so the project is found by its path.
        starting = (
            f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from tests.services.mssql.__main__ import main; main()"
        )
        command = [
            sys.executable,
            "-c",
            starting,
            "--port",
            str(self._port),
            "--control",
            str(self._control),
            *self._arguments,
        ]
        return [*command, "--certificate", str(self.folder / "server.pem")] if self._has_tls else command

    def _is_ready(self) -> bool:
        try:
            self._ask("ping")
        except (OSError, ValueError):
            return False
        return True
