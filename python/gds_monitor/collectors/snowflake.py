"""`SnowflakeCollector`: one account of Snowflake, measured by packs over one session.

Only statements that read are sent. What is asked of the account itself wakes no warehouse; the views of ACCOUNT_USAGE
do, so packs ask for them seldom.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gds_database.engines.snowflake.connection import SnowflakeConnection
from gds_database.errors import ConfigurationError, MissingExtraError
from gds_monitor.collectors._blocking import GRACE_SECONDS, BlockingLink
from gds_monitor.collectors._link import APPLICATION, CONNECT_SECONDS, needs
from gds_monitor.collectors._packs import PackCollector
from gds_monitor.collectors._replay import replayed
from gds_monitor.errors import CollectionError
from gds_monitor.packs.facts import snowflake_facts
from gds_monitor.packs.load import shipped_pack
from gds_monitor.secrets import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gds_database.config import EngineConfig
    from gds_monitor.packs.model import Pack
    from gds_monitor.packs.plan import ServerFacts
    from gds_monitor.secrets import SharedVault

__all__ = ["SnowflakeCollector", "SnowflakeSession"]

PROBE_SECONDS = 10.0
REFRESH_SECONDS = 600.0
"""After so long what the role may see is asked again, also if nothing seems to be missing."""
STATEMENT_SECONDS = 60
"""What Snowflake lets a statement of ours run, whatever becomes of us."""

# One statement is sent at a time, so its first word says what it does.
_READS = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*(?:SELECT|WITH|SHOW|DESC|DESCRIBE)\b", re.IGNORECASE | re.DOTALL)
_BY_NUMBER = {
    **dict.fromkeys((904, 2003, 2043), "missing_object"),
    **dict.fromkeys((3001, 3003, 3540), "privilege"),
    **dict.fromkeys((604, 630), "statement_timeout"),
    # The session is gone, or what it was let in with has expired.
    **dict.fromkeys((390104, 390110, 390111, 390112, 390114, 390115, 390195), "connection"),
}
_REFUSED = range(390_100, 391_000)
_CONNECTOR = range(250_001, 260_000)


class SnowflakeSession(BlockingLink):
    """A session that is opened when it is needed, kept, and replaced when it is lost.

    Args:
        credentials: Where the account is, and who asks.
        application_name: The tag of its statements.
    """

    def __init__(self, credentials: Credentials, *, application_name: str = APPLICATION) -> None:
        config = credentials.config
        connection = SnowflakeConnection.of(config)
        limit = float(config.options.get("login_timeout", CONNECT_SECONDS))
        super().__init__(credentials, application_name=application_name, connect_seconds=limit)
        self.account = connection.account
        self.home = config.database or ""

    async def query(self, sql: str, *, timeout_seconds: float, database: str | None = None) -> list[dict[str, Any]]:
        """The rows of a statement.

        Args:
            sql: One statement that reads.
            timeout_seconds: After which Snowflake ends it.
            database: Where; None is ``home``.

        Raises:
            CollectionError: There are none, and why.
        """
        if not _READS.match(sql):
            raise CollectionError("error", f"{sql.split(None, 1)[0][:20]}: expected a statement that reads")
        place = database or self.home
        async with self._turn:
            session = self._raw or await self._connect(self.home)

            def run() -> list[dict[str, Any]]:
                from snowflake.connector import DictCursor

                limit = max(1, round(timeout_seconds))
                with session.get_connection().cursor(DictCursor) as cursor:
                    if place and place != self._place:
                        name = '"' + place.replace('"', '""') + '"'
                        cursor.execute(f"USE DATABASE {name}", timeout=limit)
                    cursor.execute(sql, timeout=limit)
                    return list(cursor.fetchall())

            try:
                rows = await self._called(run, timeout_seconds + GRACE_SECONDS, raw=session)
            except CollectionError:
                await self._drop()
                raise
            except Exception as error:  # noqa: BLE001 - the connector's own; translated, for it may hold a secret
                failed = self._failed(error)
                if failed.reason in {"authentication", "connection"}:
                    await self._drop()
            else:
                # Without a database of its own it stays in the last one, which keeps nobody from anything.
                self._place = place or self._place
                found: list[dict[str, Any]] = rows
                return found
            raise failed

    async def _opened(self, place: str, current: tuple[str | None, str | None]) -> Any:  # noqa: ARG002 - it is home
        user, password = current
        config = replace(self.credentials.config, user=user, password=password)
        seconds = max(1, int(self.opening_seconds))
        parameters = {
            "QUERY_TAG": self.application_name,
            "STATEMENT_TIMEOUT_IN_SECONDS": STATEMENT_SECONDS,
            "STATEMENT_QUEUED_TIMEOUT_IN_SECONDS": STATEMENT_SECONDS,
            "CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False,
        }
        options = {
            # For so long the connector tries again where nobody answers.
            "network_timeout": min(seconds, int(PROBE_SECONDS)),
            "socket_timeout": seconds,
            "application": re.sub(r"\W", "_", self.application_name),
            **config.options,
            "login_timeout": seconds,
            "session_parameters": {**dict(config.options.get("session_parameters") or {}), **parameters},
        }
        try:
            session = SnowflakeConnection.of(replace(config, options=options))
        except ConfigurationError as error:
            raise CollectionError("error", str(error)) from None

        def connect() -> SnowflakeConnection:
            session.connect()
            return session

        try:
            return await self._called(connect, self.opening_seconds)
        except CollectionError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            failed = self._failed(error, at_the_door=True)
        raise failed

    def _failed(self, error: Exception, *, at_the_door: bool = False) -> CollectionError:
        said = self.credentials.redact(" ".join(str(error).split()) or type(error).__name__)
        number = getattr(error, "number", None) or getattr(error, "errno", None)
        number = abs(number) if isinstance(number, int) else 0
        if isinstance(error, MissingExtraError):
            return CollectionError("driver_missing", said)
        if number in _BY_NUMBER:
            return CollectionError(_BY_NUMBER[number], said)
        # The connector has one number for all logins that fail; the words have that of Snowflake.
        refused = number in _REFUSED or (at_the_door and re.search(r"\b3901\d\d\b|[Ii]ncorrect username", said))
        if refused:
            return CollectionError("authentication", said)
        lost = at_the_door or number in _CONNECTOR or isinstance(error, OSError)
        known = type(error).__name__
        lost = lost or known in {"DatabaseConnectionError", "InterfaceError", "OperationalError"}
        lost = lost or known.startswith(("OtherHTTP", "Forbidden", "ServiceUnavailable", "GatewayTimeout"))
        return CollectionError("connection" if lost and not isinstance(error, ConfigurationError) else "error", said)

    def _disconnect(self, raw: Any) -> None:
        raw.disconnect()


class SnowflakeCollector(PackCollector):
    """Measures one account of Snowflake.

    Args:
        config: An address, a dict as `gds_database.EngineConfig` takes it, or one of these; user and password may be
            ``vault://path#field``.
        instance_id: None is the account.
        packs: What is measured; None is what comes with the package.
        vault: A client of Vault that targets share.
        application_name: The tag of its statements.
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
        needs("snowflake.connector", "snowflake")
        self._credentials = Credentials(config, vault)
        self.session = SnowflakeSession(self._credentials, application_name=application_name)
        super().__init__(
            instance_id or self.session.account,
            "snowflake",
            [shipped_pack("snowflake")] if packs is None else packs,
            **more,
        )
        self._known: ServerFacts | None = None
        self._learned = 0.0

    async def _begin(self) -> ServerFacts:
        self.session.begin_cycle(self.budget_seconds)
        await self.session.renew()
        now = time.monotonic()
        known = self._known if now - self._learned < REFRESH_SECONDS else None
        visits = any(collector.scope == "database" for pack in self.packs for collector in pack.collectors)
        self._known = await replayed(
            lambda run: snowflake_facts(run, databases=visits, known=known),
            lambda statement: self._ask(statement, "", self.session.allowed(PROBE_SECONDS)),
        )
        if known is None or known.columns is not self._known.columns:
            self._learned = now
        return self._known

    async def _ask(self, statement: Any, database: str, seconds: float) -> Sequence[Mapping[str, Any]]:
        return await self.session.query(statement, timeout_seconds=seconds, database=database or None)

    async def close(self) -> None:
        """Close the session."""
        await self.session.close()
        self._credentials.close()

    def abort(self) -> None:
        """Let go of the session."""
        self.session.abort()
