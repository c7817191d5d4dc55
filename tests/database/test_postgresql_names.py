"""Names, passwords and values as hostile as they come: the catalogue afterwards holds exactly what was asked."""

from __future__ import annotations

import logging
import string
import traceback
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from gds_database.engines.postgresql import PostgreSQLConnection, PostgreSQLEngine
from gds_database.errors import ConfigurationError, DatabaseConnectionError
from tests.database.postgresql import engine_of, unique
from tests.services.postgresql import PostgreSQL

shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30)

# What statements that are put together by hand fall for.
INJECTIONS = (
    "x'; DROP DATABASE postgres; --",
    'x"; DROP ROLE postgres; --',
    "x\\'; SELECT pg_sleep(9); --",
    "x'); DELETE FROM pg_authid; --",
    "$$; DROP TABLE t; $$",
    "x/*",
    "*/ x",
    "%s",
    "%(name)s",
    "{0}",
    "x\r\nGRANT postgres TO public",
    "';ALTER ROLE postgres NOSUPERUSER;'",
    'a".b',
    "dbname=postgres user=nobody",
    "postgresql://localhost/postgres",
    "-x",
    "--help",
    "select",
    "USER",
    " ",
    "ﬀ\N{GREEK SMALL LETTER FINAL SIGMA}\N{COMBINING ACUTE ACCENT}",
    "\N{FULLWIDTH QUOTATION MARK}\N{MODIFIER LETTER APOSTROPHE}\N{RIGHT SINGLE QUOTATION MARK}",
    "x" * 63,
)
names = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), st.sampled_from("'\"\\%;-{}$ /")),
    min_size=1,
    max_size=63,
).filter(lambda name: len(name.encode()) <= 63 and not name.startswith("pg_") and name not in {"public", "none"})
passwords = st.text(
    st.one_of(st.sampled_from(string.printable), st.characters(exclude_categories=["Cs"])), min_size=1
).filter(lambda text: "\0" not in text)


@pytest.fixture(scope="module")
def engine(postgresql: PostgreSQL) -> Iterator[PostgreSQLEngine]:
    with engine_of(postgresql) as engine:
        yield engine


_CATALOGUE = {
    "roles": "SELECT rolname, rolsuper, rolcanlogin, rolcreaterole FROM pg_roles ORDER BY oid",
    "members": "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members ORDER BY 1, 2",
    "databases": "SELECT datname, pg_get_userbyid(datdba) FROM pg_database ORDER BY oid",
    "settings": "SELECT name, setting FROM pg_file_settings ORDER BY seqno",
    "tables": "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' ORDER BY oid",
}


def catalogue(server: PostgreSQL) -> dict[str, list[Any]]:
    """All roles with what they may, and all databases with whose they are."""
    with server.connect() as session:
        return {name: session.execute(statement).fetchall() for name, statement in _CATALOGUE.items()}


@given(name=names, password=passwords)
@example(name="printable", password=string.printable)
@shared
def test_user_is_exactly_the_one_asked_for(
    postgresql: PostgreSQL, engine: PostgreSQLEngine, name: str, password: str
) -> None:
    before = catalogue(postgresql)
    result = engine.create_user(name, password)
    if password.casefold() == name.casefold():
        assert "another word" in (result.error or "")
        return
    assert result.is_success(), result.error
    try:
        after = catalogue(postgresql)
        assert after.pop("roles") == [*before["roles"], (name, False, True, False)]
        assert after == {key: value for key, value in before.items() if key != "roles"}
        with engine_of(postgresql, user=name, password=password) as own:
            assert own._query("SELECT current_user::text AS me") == [{"me": name}]
    finally:
        assert engine.drop_user(name).is_success()
    assert catalogue(postgresql) == before


@given(name=names)
@settings(shared, max_examples=8)
def test_database_is_exactly_the_one_asked_for(postgresql: PostgreSQL, engine: PostgreSQLEngine, name: str) -> None:
    before = catalogue(postgresql)
    assume(name not in dict(before["databases"]))
    result = engine.get_database(name).create()
    assert result.is_success(), result.error
    try:
        after = catalogue(postgresql)
        assert after.pop("databases") == [*before["databases"], (name, "postgres")]
        assert after == {key: value for key, value in before.items() if key != "databases"}
        assert engine.get_database(name).metadata.name == name
    finally:
        assert engine.get_database(name).drop().is_success()
    assert catalogue(postgresql) == before


@pytest.mark.parametrize("text", INJECTIONS)
def test_injection_is_a_name_like_any_other(postgresql: PostgreSQL, engine: PostgreSQLEngine, text: str) -> None:
    before = catalogue(postgresql)
    assert engine.create_user(text, f"{text} is the password").is_success()
    database = engine.get_database(text)
    created = database.create(owner=text, connection_limit=3)
    assert created.is_success(), created.error
    after = catalogue(postgresql)
    assert after["roles"] == [*before["roles"], (text, False, True, False)]
    assert after["databases"] == [*before["databases"], (text, text)]
    assert after["tables"] == before["tables"]
    assert database.metadata.owner == text
    assert [each.name for each in engine.list_databases()].count(text) == 1
    assert text in engine.list_users()
    # It is refused everywhere else, too, and nothing has changed by it.
    for result in (
        engine.drop_user(text),
        engine.create_user(unique("user"), "password", roles=[text + "x"]),
        engine.set_configuration(text, 1),
        engine.kill_process(text),
        engine.failover(text),
        database.create(),
    ):
        assert result.is_failure()
    assert catalogue(postgresql) == after
    assert database.drop().is_success()
    assert engine.drop_user(text).is_success()
    assert catalogue(postgresql) == before


@pytest.mark.parametrize("text", INJECTIONS)
def test_injection_is_a_value_like_any_other(postgresql: PostgreSQL, engine: PostgreSQLEngine, text: str) -> None:
    before = catalogue(postgresql)
    changed = engine.set_configuration("cluster_name", text.encode("ascii", "replace").decode())
    after = catalogue(postgresql)
    del after["settings"], before["settings"]
    assert after == before
    if changed.is_success():
        stored = postgresql.ask(
            "SELECT setting FROM pg_file_settings WHERE name = 'cluster_name' ORDER BY seqno DESC LIMIT 1"
        )
        assert stored == [(text.encode("ascii", "replace").decode(),)]
    assert engine.set_configuration("cluster_name", None).is_success()
    for options in ({"owner": text}, {"template": text}, {"encoding": text}, {"tablespace": text}, {"locale": text}):
        assert engine.get_database(unique("never")).create(**options).is_failure()  # type: ignore[arg-type]
    assert {key: value for key, value in catalogue(postgresql).items() if key != "settings"} == before


@pytest.mark.parametrize("name", ["", "x" * 64, "ü" * 32, "a\0b", "\ud800", 7, None])
def test_name_that_would_become_another_one_is_refused(engine: PostgreSQLEngine, name: Any) -> None:
    with pytest.raises(ConfigurationError, match="database name"):
        engine.get_database(name)
    result = engine.create_user(name, "a password")
    assert "user name" in (result.error or "")


@pytest.mark.parametrize("password", ["", "a\0b", None, 7, "\ud800"])
def test_password_that_is_none_is_refused(engine: PostgreSQLEngine, password: Any) -> None:
    assert "password: expected" in (engine.create_user(unique("user"), password).error or "")


def test_user_has_what_was_asked_for(postgresql: PostgreSQL, engine: PostgreSQLEngine) -> None:
    group, name = unique("group"), unique("user")
    postgresql.ask(f"CREATE ROLE {group}")
    until = datetime(2040, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=5)))
    options = {"roles": [group], "valid_until": until, "connection_limit": 4, "createdb": True, "inherit": False}
    shown = engine.create_user(name, "a password", dry_run=True, **options)  # type: ignore[arg-type]
    assert name not in engine.list_users()
    assert "********" in (shown.data or {})["statements"][0]
    assert engine.create_user(name, "a password", **options).is_success()  # type: ignore[arg-type]
    found = postgresql.ask(
        "SELECT rolvaliduntil, rolconnlimit, rolcreatedb, rolinherit, rolsuper, pg_has_role(rolname, %s, 'MEMBER') "
        "FROM pg_roles WHERE rolname = %s",
        (group, name),
    )
    assert found == [(until, 4, True, False, False, True)]
    assert "does not exist" in (engine.create_user(unique("user"), "a password", roles=["nobody there"]).error or "")
    assert engine.drop_user(name).is_success()


def test_user_who_owns_something_is_not_dropped(postgresql: PostgreSQL, engine: PostgreSQLEngine) -> None:
    name = unique("owner")
    assert engine.create_user(name, "a password").is_success()
    assert engine.create_database(unique("owned"), owner=name).metadata.owner == name
    result = engine.drop_user(name)
    assert "REASSIGN OWNED" in (result.error or "")
    assert name in engine.list_users()


def test_database_that_somebody_is_in_is_not_dropped(postgresql: PostgreSQL, engine: PostgreSQLEngine) -> None:
    database = engine.create_database(unique("busy"))
    with closing(postgresql.connect(dbname=database.name)):
        for options in ({"dry_run": True}, {}):
            assert "force=True" in (database.drop(**options).error or "")
        assert database.exists()
        assert database.drop(force=True).is_success()
    own = engine.get_database("postgres").drop(force=True)
    assert "connected to it" in (own.error or "")


CANARY = "Canary-0c1f'\"\\%s{}x"


def test_password_is_nowhere(
    postgresql: PostgreSQL, engine: PostgreSQLEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in a log of ours or of the server, an error, a repr, a result, or what other sessions see."""
    caplog.set_level(logging.NOTSET)
    name = unique("secretive")
    told: list[str] = []
    results = [engine.create_user(name, CANARY), engine.create_user(name, CANARY), engine.create_user("", CANARY)]
    told += [repr(result) + repr(result.to_dict()) for result in results]
    with engine_of(postgresql, user=name, password=CANARY) as own:
        told += [
            repr(own),
            repr(own.connection),
            repr(own.connection.get_connection_info()),
            repr(vars(own._secrets).keys()),
        ]
        told += [repr(engine.list_processes()), repr(own.metadata), repr(own.capabilities())]
        told.append(repr(own.get_database("postgres").backup("/nowhere/at all")))
        told.append(repr(own.create_user(unique("user"), CANARY)))
        told += [repr(row) for row in postgresql.ask("SELECT * FROM pg_stat_activity")]
    wrong = PostgreSQLConnection("127.0.0.1", postgresql.port, "postgres", "nobody", CANARY)
    with pytest.raises(DatabaseConnectionError) as caught:
        wrong.connect()
    told += ["".join(traceback.format_exception(caught.value)), repr(wrong)]
    with pytest.raises(ConfigurationError) as refused:
        PostgreSQLConnection(connection_url=f"postgresql://{CANARY}", config={"nonsense": 1}).connect()
    told.append("".join(traceback.format_exception(refused.value)))
    told += [caplog.text, postgresql.log()]
    for number, text in enumerate(told):
        assert CANARY[:11] not in text, f"{number}: {text[:2000]}"
    # It is one that works, and that the server keeps only as a verifier.
    ((kept,),) = postgresql.ask("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (name,))
    assert kept.startswith("SCRAM-SHA-256$")
    with pytest.raises(psycopg.OperationalError):
        postgresql.connect(user=name, password=CANARY + "x")
    assert engine.drop_user(name).is_success()


def test_password_that_others_have_sent_is_not_shown(postgresql: PostgreSQL, engine: PostgreSQLEngine) -> None:
    with postgresql.connect() as session:
        session.execute("SELECT 'ALTER ROLE x PASSWORD ''" + "Hunter-2x" + "''', 1 -- PASSWORD 'Hunter-2y'")
        pid = str(session.info.backend_pid)
        (found,) = [each for each in engine.list_processes() if each["id"] == pid]
        assert "Hunter-2y" not in found["statement"]
