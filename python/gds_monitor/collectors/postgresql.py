"""`PostgreSQLCollector`: one PostgreSQL, measured by packs over one connection."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from gds_database.config import EngineConfig
from gds_monitor.collectors._packs import PackCollector
from gds_monitor.collectors._replay import replayed
from gds_monitor.collectors._session import APPLICATION, PostgreSQLSession
from gds_monitor.metric import Metric
from gds_monitor.packs.facts import postgresql_facts
from gds_monitor.packs.load import shipped_pack
from gds_monitor.secrets import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gds_database.config import EngineConfig
    from gds_monitor.packs.model import Pack
    from gds_monitor.packs.plan import ServerFacts
    from gds_monitor.secrets import SharedVault

__all__ = ["PostgreSQLCollector"]

PROBE_SECONDS = 5.0
REFRESH_SECONDS = 600.0
"""After so long all that is known of a server is asked again, also if nothing seems to have changed."""
RESERVED_CONNECTIONS = 3
"""With fewer free connections than these we keep the one we have, and visit no other database."""

# What may change while we are connected, in one round trip.
_PROBE = """
SELECT pg_is_in_recovery() AS in_recovery, pg_postmaster_start_time() AS started, clock_timestamp() AS now,
    current_setting('server_version_num') AS version,
    ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'pg\\_%' AND pg_has_role(current_user, oid, 'USAGE')
        ORDER BY rolname) AS roles,
    ARRAY(SELECT extname || ' ' || extversion FROM pg_extension ORDER BY 1) AS extensions,
    ARRAY(SELECT datname::text FROM pg_database WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2
        AND has_database_privilege(oid, 'CONNECT') ORDER BY datname) AS databases,
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS free
"""


class PostgreSQLCollector(PackCollector):
    """Measures one PostgreSQL.

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
            instance_id or f"{where.host or 'localhost'}:{where.port or 5432}",
            "postgresql",
            [shipped_pack("postgresql")] if packs is None else packs,
            **more,
        )
        self.session = PostgreSQLSession(self._credentials, application_name=application_name)
        self._known: ServerFacts | None = None
        self._seen: tuple[Any, ...] = ()
        self._learned = 0.0
        self._free = 0
        self._skew = 0.0

    async def _begin(self) -> ServerFacts:
        await self.session.renew()
        asked = time.time()
        (probe,) = await self._ask(_PROBE, self.session.home, PROBE_SECONDS)
        middle = (asked + time.time()) / 2
        self._skew = probe["now"].timestamp() - middle
        self._free = probe["free"]
        names = ("in_recovery", "started", "version", "roles", "extensions")
        seen = (self.session.connections, *(str(probe[name]) for name in names))
        known, now = self._known, time.monotonic()
        if known is None or seen != self._seen or now - self._learned > REFRESH_SECONDS:
            known = await replayed(
                lambda run: postgresql_facts(run, settings=self._settings()),
                lambda statement: self._ask(statement, self.session.home, PROBE_SECONDS),
            )
            self._seen, self._learned = seen, now
        self._known = replace(known, databases=tuple(probe["databases"]))
        return self._known

    def _settings(self) -> set[str]:
        """Settings that queries of the packs ask for."""
        return {
            name
            for pack in self.packs
            for collector in pack.collectors
            for query in collector.queries
            for name in query.requires.settings
        }

    async def _ask(self, statement: Any, database: str, seconds: float) -> Sequence[Mapping[str, Any]]:
        answer = await self.session.query(statement, timeout_seconds=seconds, database=database or self.session.home)
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]

    async def _end(self) -> None:
        await self.session.go_home()

    def _may_visit(self) -> str:
        if self._free >= RESERVED_CONNECTIONS or self.session.database != self.session.home:
            return ""
        return f"{max(self._free, 0)} connections are free"

    def _self_metrics(self, *, up: int) -> list[Metric]:
        found = super()._self_metrics(up=up)
        if up:
            tags = dict(self.tags)
            now = datetime.now(timezone.utc)
            found.append(
                Metric("postgresql.clock.skew", self._skew, self.instance_id, self.database_type, now, tags, "s")
            )
        return found

    def abort(self) -> None:
        """Cut the connection."""
        self.session.abort()

    async def close(self) -> None:
        """Close the connection."""
        await self.session.close()
        self._credentials.close()
