"""What every engine has to pass, whatever its platform.

    from gds_database.testing import EngineContract

    class TestMyEngine(EngineContract):
        @pytest.fixture
        def engine(self):
            with MyEngine(...) as engine:
                yield engine

What an engine says it cannot do has to fail with a reason; all else has to work. Names that the tests make begin with
`EngineContract.prefix` and are dropped again.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pytest

from gds_database.aio import AsyncDatabaseEngine
from gds_database.base import OperationResult, QueryError
from gds_database.capabilities import OPERATIONS, TestedAgainst
from gds_database.database import Database
from gds_database.errors import ConfigurationError
from gds_database.metadata import BackupType, DatabaseMetadata, EngineMetadata, LogEntry, Metric, ReplicationStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from gds_database.engine import DatabaseEngine

__all__ = ["EngineContract"]

T = TypeVar("T")


class EngineContract:
    """The tests. A subclass has the fixture ``engine``, connected and with the right to do everything.

    Attributes:
        prefix: Of all names that the tests make.
        awkward_names: Names of databases that the platform takes.
        password: Which is found nowhere afterwards; long enough for the platform's rules.
        setting: A setting that may be changed while the server runs, and another value for it; None if there is none.
        node: Another node for a dry run of ``failover``; None is the platform's choice.
    """

    prefix: ClassVar[str] = "gdsc"
    awkward_names: ClassVar[Sequence[str]] = ("Mixed Case", "it's", 'quo"te', "naïve", "select", "a;b--c")
    password: ClassVar[str] = "Canary-7f3a9'\"\\%s{}"  # noqa: S105 - the one that must be found nowhere
    setting: ClassVar[tuple[str, Any] | None] = None
    node: ClassVar[str | None] = None

    # ------------------------------------------------------------------ what a subclass brings
    @pytest.fixture
    def engine(self) -> Iterator[DatabaseEngine]:
        """The engine."""
        raise NotImplementedError("EngineContract: expected a fixture named engine")

    def fill(self, database: Database) -> None:
        """Put something into a new database, for a backup; by default nothing."""

    def content(self, database: Database) -> Any:
        """All that is in a database, to be compared; by default nothing."""

    def backup_path(self, folder: Path) -> str:
        """Where the server can write a backup."""
        return str(folder / "backup")

    # ------------------------------------------------------------------ helpers
    @pytest.fixture
    def database(self, engine: DatabaseEngine) -> Iterator[Database]:
        """A new database, dropped at the end."""
        name = f"{self.prefix}_database"
        self._drop(engine, name)
        self._needs(engine, "create_database")
        yield engine.create_database(name)
        self._drop(engine, name)

    def _needs(self, engine: DatabaseEngine, *names: str) -> None:
        for name in names:
            if not engine.capabilities().supports(name):
                pytest.skip(f"cannot {name}: {engine.capabilities()[name].how}")

    def _told(self, engine: DatabaseEngine, name: str, ask: Callable[[], T]) -> T | None:
        """What the engine says; None if it cannot, and says that."""
        if engine.capabilities().supports(name):
            return ask()
        with pytest.raises(QueryError):
            ask()
        return None

    def _drop(self, engine: DatabaseEngine, name: str) -> None:
        found = engine.get_database(name)
        if found.exists():
            found.drop(force=True)

    def _done(self, result: OperationResult) -> OperationResult:
        assert isinstance(result, OperationResult)
        assert result.is_success(), result.to_dict()
        assert result.error is None
        self._is_whole(result)
        return result

    def _refused(self, result: OperationResult, *words: str) -> OperationResult:
        assert isinstance(result, OperationResult)
        assert result.is_failure(), result.to_dict()
        assert result.error
        for word in words:
            assert word in result.error
        self._is_whole(result)
        return result

    def _is_whole(self, result: OperationResult) -> None:
        found = result.to_dict()
        assert list(found) == ["success", "message", "data", "error", "duration_ms", "timestamp", "metadata"]
        assert result.message
        assert result.duration_ms > 0
        json.dumps(found)

    def _shown(self, result: OperationResult) -> list[str]:
        """What a dry run would run."""
        data = self._done(result).data or {}
        assert data["dry_run"] is True
        assert data["statements"]
        assert all(isinstance(each, str) and each for each in data["statements"])
        return list(data["statements"])

    def _names(self, engine: DatabaseEngine) -> set[str]:
        return {each.name for each in engine.list_databases()}

    # ------------------------------------------------------------------ what it is
    def test_it_says_of_every_operation_whether_it_can_and_what_that_was_tested_against(
        self, engine: DatabaseEngine
    ) -> None:
        capabilities = engine.capabilities()
        assert set(OPERATIONS) <= set(capabilities)
        for each in capabilities.values():
            assert each.how
            assert each.tested_against in TestedAgainst
        json.dumps(capabilities.to_dict())

    def test_version_and_metadata_agree(self, engine: DatabaseEngine) -> None:
        assert engine.name
        assert engine.get_version()
        metadata = engine.metadata
        assert isinstance(metadata, EngineMetadata)
        assert metadata.version
        assert metadata.version in engine.get_version() or engine.get_version() in metadata.version

    def test_the_time_of_the_server_has_a_zone_and_does_not_go_back(self, engine: DatabaseEngine) -> None:
        first, second = engine.get_server_time(), engine.get_server_time()
        assert first.tzinfo is not None
        assert first <= second

    # ------------------------------------------------------------------ databases
    def test_getting_a_database_does_not_imply_that_it_exists(self, engine: DatabaseEngine) -> None:
        name = f"{self.prefix}_absent"
        found = engine.get_database(name)
        assert isinstance(found, Database)
        assert (found.name, found.exists()) == (name, False)
        assert name not in self._names(engine)
        with pytest.raises(QueryError, match=name):
            _ = found.metadata

    def test_a_database_is_created_listed_described_and_dropped(self, engine: DatabaseEngine) -> None:
        self._needs(engine, "create_database", "drop_database", "list_databases")
        name = f"{self.prefix}_created"
        self._drop(engine, name)
        database = engine.get_database(name)
        self._done(database.create())
        assert database.exists()
        assert name in self._names(engine)
        assert isinstance(database.metadata, DatabaseMetadata)
        assert database.metadata.name == name
        self._refused(database.create(), name)
        self._shown(database.drop(dry_run=True))  # type: ignore[call-arg]
        assert database.exists()
        self._done(database.drop())
        assert not database.exists()

    def test_dropping_what_is_not_there_is_an_error_before_anything_runs(self, engine: DatabaseEngine) -> None:
        self._needs(engine, "drop_database")
        before = self._names(engine)
        for options in ({}, {"dry_run": True}):
            result = self._refused(
                engine.get_database(f"{self.prefix}_absent").drop(**options), f"{self.prefix}_absent"
            )
            assert (result.metadata or {})["error_type"] == "ObjectNotFoundError"
        assert self._names(engine) == before

    def test_awkward_names_are_taken_as_they_are(self, engine: DatabaseEngine) -> None:
        self._needs(engine, "create_database", "drop_database", "list_databases")
        before = self._names(engine)
        names = {f"{self.prefix}-{name}" for name in self.awkward_names}
        for name in sorted(names - before):
            self._done(engine.get_database(name).create())
        assert self._names(engine) == before | names
        for name in sorted(names):
            self._done(engine.get_database(name).drop())
        assert self._names(engine) == before - names

    def test_an_option_that_nothing_reads_is_refused(self, engine: DatabaseEngine) -> None:
        self._needs(engine, "create_database")
        name = f"{self.prefix}_option"
        self._refused(engine.get_database(name).create(no_such_option=1), "no_such_option")
        assert not engine.get_database(name).exists()

    # ------------------------------------------------------------------ backups
    def test_a_backup_is_restored_with_all_that_was_in_it(
        self, engine: DatabaseEngine, database: Database, tmp_path: Path
    ) -> None:
        self._needs(engine, "backup_full", "restore", "drop_database")
        self.fill(database)
        content = self.content(database)
        path = self.backup_path(tmp_path)
        self._done(database.backup(path))
        self._done(database.drop(force=True))
        self._shown(database.restore(path, dry_run=True))
        assert not database.exists()
        self._done(database.restore(path))
        assert database.exists()
        assert self.content(database) == content

    def test_a_kind_of_backup_that_there_is_not_says_why(
        self, engine: DatabaseEngine, database: Database, tmp_path: Path
    ) -> None:
        for kind in BackupType:
            if not engine.capabilities().supports(f"backup_{kind.value}"):
                self._refused(database.backup(self.backup_path(tmp_path), kind))

    def test_what_is_not_there_is_not_backed_up(self, engine: DatabaseEngine, tmp_path: Path) -> None:
        self._needs(engine, "backup_full")
        absent = engine.get_database(f"{self.prefix}_absent")
        self._refused(absent.backup(self.backup_path(tmp_path)), absent.name)

    # ------------------------------------------------------------------ users
    def test_a_user_is_created_listed_and_dropped_and_the_password_is_nowhere(
        self, engine: DatabaseEngine, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(0)
        name = f"{self.prefix}_user"
        if not engine.capabilities().supports("create_user"):
            self._refused(engine.create_user(name, self.password))
            return
        if name in engine.list_users():
            engine.drop_user(name)
        results = [self._done(engine.create_user(name, self.password))]
        assert name in engine.list_users()
        results.append(self._refused(engine.create_user(name, self.password), name))
        results.append(self._refused(engine.create_user(f"{name}_2", self.password, no_such_option=1)))
        self._shown(engine.drop_user(name, dry_run=True))  # type: ignore[call-arg]
        assert name in engine.list_users()
        results.append(self._done(engine.drop_user(name)))
        assert name not in engine.list_users()
        told = "".join(f"{result!r}{json.dumps(result.to_dict())}" for result in results) + repr(engine) + caplog.text
        assert "Canary-7f3a9" not in told
        assert self.password not in told

    def test_users_are_listed_by_their_names(self, engine: DatabaseEngine) -> None:
        names = self._told(engine, "list_users", engine.list_users) or []
        assert len(names) == len(set(names))
        assert all(names)

    def test_dropping_a_user_that_is_not_there_is_an_error(self, engine: DatabaseEngine) -> None:
        result = self._refused(engine.drop_user(f"{self.prefix}_absent"))
        if engine.capabilities().supports("drop_user"):
            assert (result.metadata or {})["error_type"] == "ObjectNotFoundError"

    # ------------------------------------------------------------------ sessions
    def test_sessions_have_what_people_look_for(self, engine: DatabaseEngine) -> None:
        for each in self._told(engine, "list_processes", engine.list_processes) or ():
            assert isinstance(each["id"], str)
            assert {"user", "database", "state", "statement"} <= set(each)

    def test_ending_a_session_that_is_not_there_is_an_error(self, engine: DatabaseEngine) -> None:
        self._refused(engine.kill_process("2147483000"))
        self._refused(engine.kill_process("no such process"))

    # ------------------------------------------------------------------ settings
    def test_settings_are_read_and_changed(self, engine: DatabaseEngine) -> None:
        settings = self._told(engine, "get_configuration", engine.get_configuration)
        if settings is None:
            return
        assert settings
        if self.setting is None or not engine.capabilities().supports("set_configuration"):
            return
        key, value = self.setting
        before = settings[key]
        found = engine.get_setting(key)
        assert (found["name"], found["value"]) == (key, before)
        assert {"unit", "source", "restart_required"} <= set(found)
        assert any(key in each for each in self._shown(engine.set_configuration(key, value, dry_run=True)))  # type: ignore[call-arg]
        assert engine.get_configuration()[key] == before
        result = self._done(engine.set_configuration(key, value))
        assert "restart_required" in (result.data or {})
        assert engine.get_configuration()[key] != before
        self._done(engine.set_configuration(key, before))
        assert engine.get_configuration()[key] == before

    def test_a_setting_that_is_not_there_is_an_error(self, engine: DatabaseEngine) -> None:
        self._refused(engine.set_configuration("no_such_setting", 1))

    # ------------------------------------------------------------------ what it reports
    def test_metrics_have_names_units_and_times(self, engine: DatabaseEngine) -> None:
        now = datetime.now(timezone.utc)
        start, end = now - timedelta(minutes=5), now + timedelta(minutes=5)
        for each in self._told(engine, "get_metrics", lambda: engine.get_metrics(start, end)) or ():
            assert isinstance(each, Metric)
            assert each.name
            assert each.timestamp.tzinfo is not None
            float(each.value)
            assert all(isinstance(value, str) for value in each.labels.values())

    def test_log_lines_are_of_the_time_range_and_in_order(self, engine: DatabaseEngine) -> None:
        now = datetime.now(timezone.utc)
        start, end = now - timedelta(hours=1), now + timedelta(minutes=5)
        found = self._told(engine, "get_logs", lambda: engine.get_logs(start, end)) or []
        assert all(isinstance(each, LogEntry) for each in found)
        times = [each.timestamp for each in found]
        assert times == sorted(times)
        assert all(start <= each <= end for each in times)

    @pytest.mark.parametrize("name", ["get_metrics", "get_logs"])
    def test_a_range_that_ends_before_it_begins_is_refused(self, engine: DatabaseEngine, name: str) -> None:
        now = datetime.now(timezone.utc)
        ask: Callable[[datetime, datetime], Any] = getattr(engine, name)
        can = engine.capabilities().supports(name)
        with pytest.raises(ConfigurationError if can else QueryError, match="end_time" if can else None):
            ask(now, now - timedelta(minutes=1))

    def test_replication_is_told_and_never_ahead(self, engine: DatabaseEngine) -> None:
        status = engine.get_replication_status()
        assert isinstance(status, ReplicationStatus)
        assert status.role
        assert status.lag_seconds >= 0

    # ------------------------------------------------------------------ what would end it
    @pytest.mark.parametrize("name", ["failover", "shutdown", "destroy"])
    def test_a_dry_run_shows_what_would_run_and_runs_nothing(self, engine: DatabaseEngine, name: str) -> None:
        before = self._names(engine)
        ask: Callable[..., OperationResult] = getattr(engine, name)
        arguments = (self.node,) if name == "failover" else ()
        result = ask(*arguments, dry_run=True)
        if result.is_success():
            self._shown(result)
        else:
            self._refused(result)
            assert name == "failover" or not engine.capabilities().supports(name)
        assert self._names(engine) == before
        assert engine.get_version()

    def test_what_it_cannot_do_fails_with_a_reason(self, engine: DatabaseEngine) -> None:
        for name in ("build", "startup", "shutdown", "destroy", "failover"):
            if not engine.capabilities().supports(name):
                ask: Callable[[], OperationResult] = getattr(engine, name)
                self._refused(ask())

    # ------------------------------------------------------------------ for asyncio
    def test_awaited_it_gives_the_same_answers(self, engine: DatabaseEngine) -> None:
        async def ask() -> tuple[Any, ...]:
            twin = AsyncDatabaseEngine(engine)
            absent = await twin.get_database(f"{self.prefix}_absent").exists()
            names = {each.name for each in await twin.list_databases()}
            if self.setting is not None:
                assert await twin.get_setting(self.setting[0]) == engine.get_setting(self.setting[0])
            return await twin.get_version(), names, absent, (await twin.metadata).version

        assert asyncio.run(ask()) == (engine.get_version(), self._names(engine), False, engine.metadata.version)
