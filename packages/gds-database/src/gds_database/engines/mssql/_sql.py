"""T-SQL as text: names in brackets, constants, placeholders, passwords as the server keeps them."""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import secrets
from typing import TYPE_CHECKING, Any

from gds_database.errors import ConfigurationError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["bracketed", "constant", "hashed", "only_reads", "reading", "spliced", "to_format", "utf16_length"]

LONGEST_NAME = 128
LONGEST_PASSWORD = 128

_PIECES = re.compile(
    r"""'(?:[^']|'')*'            # text
      | \[(?:[^\]]|\]\])*\]       # names
      | "(?:[^"]|"")*"
      | --[^\n]*                  # comments
      | /\*.*?\*/
      | \? | %""",
    re.VERBOSE | re.DOTALL,
)


def utf16_length(text: str) -> int:
    """How many characters the server counts: those beyond the basic plane are two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def bracketed(name: str, kind: str = "name") -> str:
    """A name as an identifier.

    Args:
        name: As it is, without quotes.
        kind: What it is the name of, for the error.

    Raises:
        ConfigurationError: The server could not have such a name.
    """
    if not name or not isinstance(name, str):
        raise ConfigurationError(f"{kind}={name!r}: expected text that is not empty")
    if utf16_length(name) > LONGEST_NAME:
        raise ConfigurationError(
            f"{kind}={name[:40]!r}...: expected at most {LONGEST_NAME} characters, got {utf16_length(name)}"
        )
    if "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
        raise ConfigurationError(f"{kind}={name!r}: expected text without NUL and without lone surrogates")
    return f"[{name.replace(']', ']]')}]"


def constant(text: str) -> str:
    """Text as a constant, for statements of ours that take no value."""
    return "N'" + text.replace("'", "''") + "'"


def hashed(password: str) -> str:
    """A password as the server keeps it since 2012, so that it need not be in a statement.

    A version, a salt of four bytes, and SHA-512 of the UTF-16 of the password with the salt behind it.
    """
    salt = secrets.token_bytes(4)
    return "0x0200" + (salt + hashlib.sha512(password.encode("utf-16-le") + salt).digest()).hex().upper()


@functools.lru_cache(maxsize=256)
def to_format(query: str) -> str:
    """A statement with ``?`` for values as drivers want it that take ``%s``; text, names and comments stay."""
    return _PIECES.sub(_as_format, query)


def _as_format(found: re.Match[str]) -> str:
    piece = found[0]
    return "%s" if piece == "?" else piece.replace("%", "%%")


def spliced(query: str, params: tuple[Any, ...], quote: Callable[..., bytes]) -> str:
    """A statement with its values in it, as pymssql would write them.

    pymssql looks for ``%s`` in text and names, too, and knows no way to write one that is none.

    Args:
        query: With ``?`` for values.
        params: The values.
        quote: ``pymssql._mssql.substitute_params``.

    Raises:
        QueryError: There are more values than places, or fewer.
    """
    parts = _between_places(query)
    if len(parts) - 1 != len(params):
        raise QueryError(f"the statement has {len(parts) - 1} places for values, got {len(params)}")
    values = [quote("%s", (value,), "UTF-8").decode() for value in params]
    return "".join(itertools.chain.from_iterable(zip(parts, values))) + parts[-1]  # noqa: B905 - one part more


@functools.lru_cache(maxsize=256)
def _between_places(query: str) -> tuple[str, ...]:
    """What is before, between and behind the places for values."""
    parts, start = [], 0
    for found in _PIECES.finditer(query):
        if found[0] == "?":
            parts.append(query[start : found.start()])
            start = found.end()
    return (*parts, query[start:])


# What may not be in a query that only reads. All but the last four are reserved: as a name they are in brackets.
_CHANGING = re.compile(
    r"(?i:\b(?:INSERT|UPDATE|DELETE|MERGE|INTO|TRUNCATE|CREATE|ALTER|DROP|GRANT|REVOKE|DENY|EXEC|EXECUTE|USE|SET|BEGIN"
    r"|COMMIT|ROLLBACK|SAVE|KILL|SHUTDOWN|RECONFIGURE|BACKUP|RESTORE|DBCC|WAITFOR|DECLARE|IF|WHILE|PRINT|RAISERROR"
    r"|OPENQUERY|OPENROWSET|OPENDATASOURCE|NEXT\s+VALUE)\b)|;\s*\S"
)


def only_reads(query: str) -> bool:
    """Whether it is one SELECT, with or without WITH before it, and nothing beside it.

    The server has no transactions that only read, so words that stand outside of text, names and comments tell.
    """
    bare = _PIECES.sub(lambda found: found[0] if found[0] in "?%" else " '' ", query)
    return re.match(r"\s*(?:SELECT|WITH)\b", bare, re.IGNORECASE) is not None and not _CHANGING.search(bare)


_TYPES = {bool: "bit", int: "bigint", float: "float", str: "nvarchar(4000)"}


def reading(query: str, params: tuple[Any, ...] | None, lock_timeout_ms: int) -> str:
    """A query of ours that waits for no lock for long and loses any deadlock.

    What is set inside ``sp_executesql`` ends with it: the session of whoever owns the connection stays as it was.

    Args:
        query: With ``@p1``, ``@p2`` ... for values; they are given to what this returns, as ``?``.
        params: The values, for their types.
        lock_timeout_ms: How long it waits for a lock.
    """
    return _reading(query, tuple(type(value) for value in params or ()), lock_timeout_ms)


@functools.lru_cache(maxsize=256)
def _reading(query: str, kinds: tuple[type, ...], lock_timeout_ms: int) -> str:
    text = constant(f"SET LOCK_TIMEOUT {lock_timeout_ms}; SET DEADLOCK_PRIORITY LOW; {query}")
    if not kinds:
        return f"EXEC sys.sp_executesql {text}"
    names = [f"@p{number}" for number in range(1, len(kinds) + 1)]
    declared = ", ".join(f"{name} {_TYPES[kind]}" for name, kind in zip(names, kinds, strict=True))
    given = ", ".join(f"{name} = ?" for name in names)
    return f"EXEC sys.sp_executesql {text}, N'{declared}', {given}"
