"""The log of a real PostgreSQL by time, in both formats, through the server and from its folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from gds_database.engines.postgresql import PostgreSQLEngine
from gds_database.engines.postgresql._logs import File, _csv, _of_range, _Zone
from gds_database.errors import PrivilegeError, QueryError
from tests.database.postgresql import engine_of, unique
from tests.services.fixtures import PostgreSQLFactory
from tests.services.postgresql import PostgreSQL
from tests.services.process import wait_until


@pytest.fixture(scope="module")
def engine(postgresql: PostgreSQL) -> Iterator[PostgreSQLEngine]:
    with engine_of(postgresql) as engine:
        yield engine


def written(server: PostgreSQL, message: str) -> None:
    """Wait until all files have the line: a process of its own writes them."""

    def there() -> bool:
        files = [*(server.data / "log").glob("*.csv"), *(server.data / "log").glob("*.json")]
        return all(message in file.read_text("utf-8", "replace") for file in files)

    wait_until(there, what="the line to be in the files")


MESSAGE = 'two\nlines, "quotes", naïve'


def say(server: PostgreSQL, word: str) -> None:
    """Have the server log a warning with this word in it."""
    with server.connect() as session:
        session.execute("SELECT set_config('my.message', %s, false)", (f"{MESSAGE}; {word}",))
        session.execute(
            "DO $$ BEGIN RAISE WARNING USING message = current_setting('my.message'), detail = 'a detail'; END $$"
        )


def is_found(engine: PostgreSQLEngine, server: PostgreSQL, kind: str, directory: Path | None) -> None:
    word = unique("logged")
    begin = engine.get_server_time()
    say(server, word)
    end = engine.get_server_time()
    written(server, word)
    if directory is not None:
        for file in (server.data / "log").glob(f"*.{kind}"):
            shutil.copy2(file, directory)
    found = engine.get_logs(begin, end, level="WARNING", directory=directory)
    (entry,) = [each for each in found if word in each.message]
    assert entry.message == f"{MESSAGE}; {word}"
    assert begin <= entry.timestamp <= end
    assert entry.level == "WARNING"
    assert {entry.context["detail"], entry.context["user"], entry.context["dbname"]} == {"a detail", "postgres"}
    assert entry.source.endswith(f".{kind}")
    # And not outside of the range.
    for first, last in ((begin - timedelta(hours=1), begin), (end, end + timedelta(hours=1))):
        beside = engine.get_logs(first, last - timedelta(microseconds=1), directory=directory, level="WARNING")
        assert not [each for each in beside if word in each.message and begin <= each.timestamp <= end]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_line_is_found_in_a_folder(postgresql: PostgreSQL, engine: PostgreSQLEngine, tmp_path: Path, kind: str) -> None:
    is_found(engine, postgresql, kind, tmp_path)


def test_line_is_found_through_the_server_in_jsonlog(postgresql: PostgreSQL, engine: PostgreSQLEngine) -> None:
    is_found(engine, postgresql, "json", None)


def test_line_is_found_through_the_server_in_csvlog(postgresql_factory: PostgreSQLFactory) -> None:
    server = postgresql_factory({"log_destination": "csvlog"})
    with engine_of(server) as engine:
        is_found(engine, server, "csv", None)


def test_passwords_that_others_have_sent_are_taken_out(postgresql: PostgreSQL, engine: PostgreSQLEngine) -> None:
    word = unique("role")
    begin = engine.get_server_time()
    postgresql.ask(f"CREATE ROLE {word} PASSWORD 'Hunter-2z'")
    written(postgresql, word)
    found = [each for each in engine.get_logs(begin, engine.get_server_time()) if word in each.message]
    assert found
    assert "Hunter-2z" not in repr(found)


def test_more_than_is_wanted_is_an_error_and_not_cut_off(engine: PostgreSQLEngine) -> None:
    now = engine.get_server_time()
    with pytest.raises(QueryError, match="more than max_bytes=10"):
        engine.get_logs(now - timedelta(hours=1), now, max_bytes=10)


def test_server_that_keeps_no_log_says_what_to_set(postgresql_factory: PostgreSQLFactory) -> None:
    server = postgresql_factory({"log_destination": "stderr", "logging_collector": "off"})
    with engine_of(server) as engine:
        assert not engine.capabilities().supports("get_logs")
        now = engine.get_server_time()
        with pytest.raises(QueryError, match="csvlog or jsonlog"):
            engine.get_logs(now - timedelta(hours=1), now)


def test_who_may_not_read_it_is_told(postgresql: PostgreSQL, engine: PostgreSQLEngine) -> None:
    name = unique("reader")
    assert engine.create_user(name, "a password").is_success()
    with engine_of(postgresql, user=name, password="a password") as own:
        now = own.get_server_time()
        with pytest.raises(PrivilegeError):
            own.get_logs(now - timedelta(hours=1), now)
    postgresql.ask(f"GRANT pg_monitor TO {name}")
    postgresql.ask(f"GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint) TO {name}")
    with engine_of(postgresql, user=name, password="a password") as own:
        assert own.get_logs(now - timedelta(hours=1), own.get_server_time())


@pytest.mark.parametrize(
    ("zone", "text", "utc"),
    [
        ("UTC", "2026-11-27 22:13:12.123 UTC", "2026-11-27T22:13:12.123000+00:00"),
        ("Europe/Berlin", "2026-07-01 12:00:00.000 CEST", "2026-07-01T10:00:00+00:00"),
        # The hour that is there twice.
        ("Europe/Berlin", "2026-10-25 02:30:00.500 CEST", "2026-10-25T00:30:00.500000+00:00"),
        ("Europe/Berlin", "2026-10-25 02:30:00.500 CET", "2026-10-25T01:30:00.500000+00:00"),
        ("Asia/Kolkata", "2026-01-01 05:30:00 +0530", "2026-01-01T00:00:00+00:00"),
        ("<-03>+03", "2026-01-01 00:00:00.1 -03", "2026-01-01T03:00:00.100000+00:00"),
    ],
)
def test_local_times_are_read_by_the_zone_of_the_log(zone: str, text: str, utc: str) -> None:
    assert _Zone(zone).parse(text).isoformat() == utc


def test_what_is_being_written_is_left_for_the_next_time() -> None:
    whole = b"2026-11-27 22:13:12.123 UTC" + b"," * 10 + b',ERROR,42601,"a ""b""\nc"' + b"," * 12 + b"\n"
    (entry,) = _csv(whole + b'2026-11-27 22:13:12.124 UTC,,,"half')
    assert entry["message"] == 'a "b"\nc'
    assert entry["error_severity"] == "ERROR"


def test_only_files_that_may_hold_the_range_are_read() -> None:
    day = datetime(2026, 1, 1, tzinfo=timezone.utc)
    files: list[File] = [(str(n), 1, day + timedelta(hours=n), bytes) for n in range(6)]
    chosen = _of_range(files, day + timedelta(hours=2, minutes=30), day + timedelta(hours=3, minutes=30))
    assert [name for name, *_ in chosen] == ["3", "4"]
