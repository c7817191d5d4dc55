"""The stand-in for Snowflake: quoting counts, one statement is one, and what is not there is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from snowflake import connector

from tests.services.snowflake import Snowflake


@pytest.fixture
def session(snowflake: Snowflake) -> Iterator[Any]:
    with connector.connect(password="any", **snowflake.arguments) as session:
        yield session


def names(session: Any, statement: str) -> set[str]:
    with session.cursor(connector.DictCursor) as cursor:
        return {row["name"] for row in cursor.execute(statement).fetchall()}


def test_a_name_is_in_capitals_unless_it_is_quoted(session: Any) -> None:
    with session.cursor() as cursor:
        cursor.execute("CREATE USER helper PASSWORD = 'it''s long' TYPE = SERVICE")
        cursor.execute('CREATE USER "it""s; helper"')
        assert {"HELPER", 'it"s; helper'} <= names(session, "SHOW USERS")
        cursor.execute('DROP USER "HELPER"')
        cursor.execute('DROP USER "it""s; helper"')
    assert not {"HELPER", 'it"s; helper'} & names(session, "SHOW USERS")


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ('DROP USER "nobody"', "02000"),
        ("DROP USER DBA; DROP USER DBA", "42000"),
        ("CREATE USER DBA", "42710"),
        ("CREATE USER x PASSWORD = 'short'", "28P01"),
        ("CREATE USER x NO_SUCH = 1", "22023"),
        ("ALTER ACCOUNT SET NO_SUCH = 1", "02000"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(session: Any, statement: str, state: str) -> None:
    before = names(session, "SHOW USERS")
    with session.cursor() as cursor, pytest.raises(connector.errors.ProgrammingError) as caught:
        cursor.execute(statement)
    assert caught.value.sqlstate == state
    assert names(session, "SHOW USERS") == before
