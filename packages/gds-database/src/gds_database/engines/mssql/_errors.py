"""What drivers say, as errors of ours. The four have four ways to say one thing."""

from __future__ import annotations

import re
from typing import Any

from gds_database.errors import (
    ConfigurationError,
    DatabaseConnectionError,
    ObjectNotFoundError,
    PrivilegeError,
    QueryError,
    StatementTimeoutError,
)

__all__ = ["REFUSED", "error_for", "number_of", "text_of"]

# DB-Library's own errors, which come behind those of the server.
_LIBRARY = re.compile(r"DB-Lib error message \d+, severity \d+:\s*")
_LIBRARY_NUMBERS = re.compile(rb"DB-Lib error message (\d+), severity (\d+):")
_GENERAL = re.compile(r"General SQL Server error: Check messages from the SQL Server")
_ODBC = re.compile(r"\((\d{3,5})\)\s*(?:\(SQL\w+\)|;|$)")
# What pyodbc puts behind the words of the server: their number, and its own function.
_SUFFIX = re.compile(r"\s*\(\d+\)\s*\(SQL\w+\)")
_PREFIX = re.compile(r"^(?:\[[^\]]*\]\s*)+|^Driver Error: .*?; DDBC Error: (?:\[[^\]]*\]\s*)*")

CONNECTION = {
    *(233, 258, 596, 4060, 10053, 10054, 10060, 10061, 17142, 17809, 18401, 18452, 18456, 18461, 18470, 18486, 18487),
    *(18488, 20002, 20003, 20004, 20006, 20009, 20017, 20018, 20047, 40613),
}
PRIVILEGE = {229, 230, 262, 297, 300, 371, 916, 3110, 6102, 15247, 15281, 15562, 21089}
TRANSACTION = {226, 574, 3021, 6115, 15002}
LOCK_TIMEOUT = 1222
# Of DB-Library: the server said why, in a message of its own.
REFUSED = 20018

_GONE = re.compile(
    r"not connected|connection (?:is )?(?:closed|dead|lost|reset|refused|operation failed)|closed connection"
    r"|communication link failure|login failed|login timeout|unexpected eof|broken pipe|server is not found",
    re.IGNORECASE,
)
_TIMED_OUT = re.compile(r"query timeout expired|deadline has elapsed|timed? ?out", re.IGNORECASE)
_DENIED = re.compile(r"permission (?:was )?denied|does not have permission", re.IGNORECASE)
_GRANT = re.compile(r"\b(VIEW (?:ANY|SERVER|DATABASE)[A-Z ]*|ALTER ANY \w+|CREATE (?:ANY )?DATABASE) permission")


def number_of(error: BaseException) -> int | None:
    """The number of the server's error; None if the driver does not tell."""
    number = getattr(error, "number", None)
    if isinstance(number, int) and number:
        return number
    first = error.args[0] if error.args else None
    args = first if isinstance(first, tuple) and first else error.args
    if args and isinstance(args[0], int):
        return _library_number(args[-1], args[0]) if isinstance(args[-1], bytes) else args[0]
    found = _ODBC.findall(str(error))
    return int(found[0]) if found else None


def _library_number(text: bytes, number: int) -> int:
    """What happened to a connection of pymssql that was not made.

    For connections that are not made pymssql keeps one number for the whole process, that of the gravest error there
    ever was; the text is of this time. A number whose words are not in the text is of another time.
    """
    found = [(int(each), int(severity)) for each, severity in _LIBRARY_NUMBERS.findall(text)]
    if not _LIBRARY_NUMBERS.match(text) or number in (each for each, _ in found):
        return number
    if any(each == REFUSED for each, _ in found):
        return REFUSED
    return max(found, key=lambda each: each[1])[0]


def text_of(error: BaseException) -> str:
    """What the server said, without what the driver puts around it."""
    parts: Any = error.args
    if len(parts) == 1 and isinstance(parts[0], list) and all(isinstance(each, tuple) for each in parts[0]):
        parts = [each[-1] for each in parts[0] if each]  # of OpenSSL: library, function and reason of each
    if len(parts) == 1 and isinstance(parts[0], tuple):
        parts = parts[0]
    text = next((each for each in reversed(parts) if isinstance(each, (str, bytes)) and each), None)
    if text is None:
        text = str(error) or type(error).__name__
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    # DB-Library has the server's own words first.
    own, *library = _LIBRARY.split(text)
    text = own if own.strip() else " ".join(library)
    return " ".join(_PREFIX.sub("", _SUFFIX.sub("", _GENERAL.sub("", text))).split()) or type(error).__name__


def error_for(error: Exception, said: str) -> Exception:
    """The error to raise.

    Args:
        error: The driver's.
        said: Its text, redacted.
    """
    if isinstance(error, ConfigurationError):
        return error  # ours already, such as that of a driver that is not installed
    number = number_of(error)
    kind, text = _kind(error, number, said)
    found = kind(text)
    if number is not None:
        vars(found)["number"] = number
    return found


def _kind(error: Exception, number: int | None, said: str) -> tuple[type[Exception], str]:
    if isinstance(error, (DatabaseConnectionError, ObjectNotFoundError, PrivilegeError, StatementTimeoutError)):
        return type(error) if not isinstance(error, ObjectNotFoundError) else QueryError, said
    if number == LOCK_TIMEOUT:
        return StatementTimeoutError, f"{said}: another session holds what it needs; list_processes() has blocked_by"
    if number in TRANSACTION:
        return QueryError, f"{said}: the connection is inside a transaction; end it, or give the engine one of its own"
    if number in PRIVILEGE or (number is None and _DENIED.search(said)):
        return PrivilegeError, _with_grant(said)
    if number == 20003 or isinstance(error, TimeoutError) or _TIMED_OUT.search(said):
        return StatementTimeoutError, said
    if number in CONNECTION or isinstance(error, OSError) or (number is None and _GONE.search(said)):
        return DatabaseConnectionError, said
    return QueryError, said


def _with_grant(said: str) -> str:
    found = _GRANT.search(said)
    return f"{said}; run: GRANT {found[1]} TO [login]" if found else said
