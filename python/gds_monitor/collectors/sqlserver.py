"""`SQLServerCollector`: one SQL Server, measured by packs over one connection.

What it asks waits a tenth of a second for a lock and for no row of anybody, gives way in a deadlock, and is rolled back
whatever it is. The server has no time limit for statements, so the connection ends with one that takes too long.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gds_database.engines.mssql.connection import MODULES, PORT, MSSQLConnection
from gds_database.errors import ConfigurationError, MissingExtraError, PrivilegeError, StatementTimeoutError
from gds_monitor.collectors._blocking import GRACE_SECONDS, BlockingLink
from gds_monitor.collectors._link import APPLICATION, CONNECT_SECONDS, needs
from gds_monitor.collectors._packs import PackCollector
from gds_monitor.collectors._replay import replayed
from gds_monitor.errors import CollectionError
from gds_monitor.packs.facts import sql_server_facts
from gds_monitor.packs.load import shipped_pack
from gds_monitor.secrets import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gds_database.config import EngineConfig
    from gds_monitor.packs.model import Pack
    from gds_monitor.packs.plan import ServerFacts
    from gds_monitor.secrets import SharedVault

__all__ = ["SQLServerCollector", "SQLServerSession"]

PROBE_SECONDS = 5.0
REFRESH_SECONDS = 600.0
"""After so long the columns of its views are asked for again, also if nothing seems to have changed."""
LOCK_TIMEOUT_MS = 100

_BEGIN = (
    f"SET LOCK_TIMEOUT {LOCK_TIMEOUT_MS}; SET DEADLOCK_PRIORITY LOW; SET XACT_ABORT ON; SET NOCOUNT ON; "
    "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED"
)
_BY_NUMBER = {
    **dict.fromkeys((195, 207, 208, 2812, 4121), "missing_object"),
    **dict.fromkeys((911, 922, 924, 942, 4060), "database_gone"),
    **dict.fromkeys((10928, 10929, 17300, 17809), "too_many_connections"),
    # 20018: refused, and pymssql kept the reason; most often it is this, and who waits locks no account out.
    **dict.fromkeys((4064, 18401, 18452, 18456, 18470, 18486, 18487, 18488, 20018), "authentication"),
    1222: "lock_timeout",
}


class SQLServerSession(BlockingLink):
    """A connection that is opened when it is needed, kept, and replaced when it is lost.

    Args:
        credentials: Where the server is, and who asks.
        application_name: What the server shows of us.
    """

    def __init__(self, credentials: Credentials, *, application_name: str = APPLICATION) -> None:
        config = credentials.config
        connection = MSSQLConnection.of(replace(config, user=None, password=None))
        limit = float(connection.get_config("login_timeout_seconds", CONNECT_SECONDS))
        super().__init__(credentials, application_name=application_name, connect_seconds=limit)
        self.driver = connection.driver
        self.home = config.database or "master"
        """The database that it is idle in."""

    async def query(self, sql: str, *, timeout_seconds: float, database: str | None = None) -> list[dict[str, Any]]:
        """The rows of a statement.

        Args:
            sql: One statement that reads, or several of which the last one's rows are wanted.
            timeout_seconds: For all of it.
            database: Where; None is ``home``.

        Raises:
            CollectionError: There are none, and why.
        """
        place = database or self.home
        async with self._turn:
            connection = self._raw if self._is_open() else await self._connect()
            # What ended in the middle has left a transaction, on servers that do not know better.
            text = "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;\n"
            if self._place != place:
                text += f"USE {_quoted(place)};\n"
            text += f"BEGIN TRANSACTION;\n{sql}\n;ROLLBACK TRANSACTION"
            self._place = ""
            try:
                rows: list[dict[str, Any]] = await self._called(
                    lambda: connection.run(text, timeout_seconds=timeout_seconds, return_dict=True),
                    timeout_seconds + GRACE_SECONDS,
                    raw=connection,
                )
            except CollectionError:
                await self._drop()
                raise
            except Exception as error:  # noqa: BLE001 - the driver's own; translated, for it may hold a secret
                failed = self._failed(error)
                if failed.reason in {"authentication", "connection", "statement_timeout"}:
                    await self._drop()
            else:
                self._place = place
                return rows
            raise failed

    async def go_home(self) -> None:
        """Leave the database that was visited, so that it can be dropped."""
        if self._is_open() and self._place != self.home:
            await self.query("SELECT 1 AS one", timeout_seconds=PROBE_SECONDS)

    def _is_open(self) -> bool:
        return self._raw is not None and self._raw.is_connected()

    async def _opened(self, place: str, current: tuple[str | None, str | None]) -> Any:  # noqa: ARG002 - USE does that
        user, password = current
        config = replace(self.credentials.config, user=user, password=password)
        options = {name: value for name, value in config.options.items() if name != "login_timeout"}
        # pymssql tries one version of the protocol after the other, each for so long.
        tries = 4 if self.driver == "pymssql" else 1
        options["login_timeout_seconds"] = max(1.0, self.opening_seconds / tries)
        options.setdefault("application_name", self.application_name)
        try:
            connection = MSSQLConnection.of(replace(config, options=options))
        except ConfigurationError as error:
            raise CollectionError("error", str(error)) from None

        def connect() -> MSSQLConnection:
            connection.connect()
            try:
                connection.run(_BEGIN, timeout_seconds=PROBE_SECONDS)
            except Exception:
                connection.disconnect()
                raise
            return connection

        try:
            return await self._called(connect, self.opening_seconds)
        except CollectionError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            failed = self._failed(error, at_the_door=True)
        raise failed

    def _failed(self, error: Exception, *, at_the_door: bool = False) -> CollectionError:
        said = self.credentials.redact(" ".join(str(error).split()) or type(error).__name__)
        number = getattr(error, "number", None)
        if isinstance(error, MissingExtraError):
            return CollectionError("driver_missing", said)
        if number in _BY_NUMBER:
            return CollectionError(_BY_NUMBER[number], said)
        if isinstance(error, PrivilegeError):
            return CollectionError("privilege", said)
        if isinstance(error, StatementTimeoutError) and not at_the_door:
            return CollectionError("statement_timeout", said)
        lost = at_the_door or type(error).__name__ == "DatabaseConnectionError" or isinstance(error, OSError)
        return CollectionError("connection" if lost and not isinstance(error, ConfigurationError) else "error", said)

    def _disconnect(self, raw: Any) -> None:
        raw.disconnect()

    def _cut(self, raw: Any) -> None:
        if raw.can_be_cancelled:
            raw.cancel()


def _quoted(name: str) -> str:
    return "[" + name.replace("]", "]]") + "]"


class SQLServerCollector(PackCollector):
    """Measures one SQL Server.

    Args:
        config: An address, a dict as `gds_database.EngineConfig` takes it, or one of these; user and password may be
            ``vault://path#field``.
        instance_id: None is ``host:port``.
        packs: What is measured; None is what comes with the package.
        vault: A client of Vault that targets share.
        application_name: What the server shows of us.
        more: As `PackCollector` takes it: ``tags``, ``disabled``, ``databases``, ``excluded``.

    Raises:
        ConfigurationError: The config is none.
        MissingExtraError: The driver is not installed.
    """

    def __init__(
        self,
        config: str | Mapping[str, Any] | EngineConfig,
        *,
        instance_id: str | None = None,
        packs: Sequence[Pack] | None = None,
        vault: SharedVault | None = None,
        application_name: str = APPLICATION,
        **more: Any,
    ) -> None:
        self._credentials = Credentials(config, vault)
        where = self._credentials.config
        super().__init__(
            instance_id or f"{where.host or 'localhost'}:{where.port or PORT}",
            "mssql",
            [shipped_pack("mssql")] if packs is None else packs,
            **more,
        )
        self.session = SQLServerSession(self._credentials, application_name=application_name)
        needs(MODULES[self.session.driver], "mssql")
        self._known: ServerFacts | None = None
        self._learned = (0, 0.0)

    async def _begin(self) -> ServerFacts:
        self.session.begin_cycle(self.budget_seconds)
        await self.session.renew()
        connections, learned = self._learned
        now = time.monotonic()
        known = self._known if now - learned < REFRESH_SECONDS and connections == self.session.connections else None
        self._known = await replayed(
            lambda run: sql_server_facts(run, views=self._views(), known=known),
            lambda statement: self._ask(statement, self.session.home, self.session.allowed(PROBE_SECONDS)),
        )
        if known is None or known.columns is not self._known.columns:
            self._learned = (self.session.connections, now)
        return self._known

    def _views(self) -> set[str]:
        """Views whose columns the packs ask for."""
        found = set()
        for query in (query for pack in self.packs for collector in pack.collectors for query in collector.queries):
            found |= {query.view.split()[0]} if query.view else set()
            found |= {need.rpartition(".")[0] for metric in query.metrics for need in metric.needs}
        return found

    async def _ask(self, statement: Any, database: str, seconds: float) -> Sequence[Mapping[str, Any]]:
        return await self.session.query(statement, timeout_seconds=seconds, database=database or None)

    async def _end(self) -> None:
        await self.session.go_home()

    def abort(self) -> None:
        """Cut the connection."""
        self.session.abort()

    async def close(self) -> None:
        """Close the connection."""
        await self.session.close()
        self._credentials.close()
