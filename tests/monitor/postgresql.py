"""What the tests on PostgreSQL share."""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import quote

from gds_monitor.collectors._session import APPLICATION
from tests.services.postgresql import PostgreSQL

_numbers = itertools.count(1)


def unique(word: str) -> str:
    """A name that no other test of this run has."""
    return f"{word}_{next(_numbers)}"


def url(server: PostgreSQL, **changes: Any) -> str:
    """Its address, as the superuser unless it says otherwise."""
    to = server.address(**changes)
    return f"postgresql://{to['user']}:{quote(to['password'])}@{to['host']}:{to['port']}/{to['dbname']}"


def backends(server: PostgreSQL, application: str = APPLICATION) -> list[tuple[int, str]]:
    """Our sessions on the server: process and database."""
    found = server.ask("SELECT pid, datname FROM pg_stat_activity WHERE application_name = %s", (application,))
    return [(int(pid), str(database)) for pid, database in found]
