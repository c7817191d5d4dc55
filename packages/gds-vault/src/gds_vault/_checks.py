"""Settings and arguments: checked once, with messages that say what to change and never show a secret."""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from gds_vault.exceptions import VaultConfigurationError, VaultCredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Credential", "credential", "current", "flag", "header_text", "json_object", "nearest"]
__all__ += ["number", "secret_path", "similar", "text", "whole"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEADER = re.compile(r"[\x21-\x7e]+")
_MAX_PATH = 512
_SIMILAR = 0.8

Credential: TypeAlias = "str | os.PathLike[str] | Callable[[], str]"
"""A credential itself, a file (`pathlib.Path`) that is read at each login, or a function that is asked at each."""


def text(setting: str, value: object, error: type[VaultConfigurationError] = VaultConfigurationError) -> str:
    """Text that is not empty; it is not shown, it may be a secret."""
    if not isinstance(value, str) or not value:
        got = "an empty one" if isinstance(value, str) else type(value).__name__
        raise error(f"{setting}: expected a str, got {got}")
    try:
        value.encode()
    except UnicodeEncodeError:
        problem = f"{setting}: expected text that UTF-8 can hold, without lone surrogates"
    else:
        return value
    raise error(problem)


def header_text(setting: str, value: object, error: type[VaultConfigurationError] = VaultConfigurationError) -> str:
    """Text that is sent as a header, without the line break that files and variables often end in."""
    known = text(setting, value, error).rstrip("\r\n")
    if not _HEADER.fullmatch(known):
        raise error(f"{setting}: expected visible ASCII without spaces or line breaks within it")
    return known


def credential(setting: str, value: object) -> Credential:
    """What a credential may be; one that is here already is checked and loses the line break at its end."""
    if isinstance(value, os.PathLike):
        # From the root, as it is read anew wherever the program has gone meanwhile.
        return Path(value).absolute()
    if callable(value):
        return value
    return _credential(setting, value)


def current(setting: str, value: Credential) -> str:
    """What a credential is now. May wait: for a file, or for a function of the program's."""
    if isinstance(value, str):
        return value
    where = ""
    try:
        if isinstance(value, os.PathLike):
            where = f" in {os.fspath(value)!r}"
            found: object = Path(value).read_text("utf-8")
        else:
            found = value()
    except VaultConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, its text may hold what it was about
        what = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        problem = f"{setting}: expected text{where}, got: {what.lower()}"
    else:
        return _credential(setting + where, found)
    raise VaultCredentialsError(problem)


def _credential(setting: str, value: object) -> str:
    known = value.rstrip("\r\n") if isinstance(value, str) else value
    if setting.startswith("token"):
        return header_text(setting, known, VaultCredentialsError)
    return text(setting, known, VaultCredentialsError)


def secret_path(value: object, setting: str = "path") -> str:
    """A path within Vault, without slashes at its ends. `..` would lead out of the mount, so it is refused."""
    if not isinstance(value, str):
        raise VaultConfigurationError(f"{setting}: expected a str, got {type(value).__name__}")
    path = value.strip("/")
    parts = path.split("/")
    if (
        not path
        or len(path) > _MAX_PATH
        or _CONTROL.search(path)
        or any(part in {"", ".", ".."} for part in parts)
        or text(setting, path) != path
    ):
        raise VaultConfigurationError(
            f"{setting}={value[:_MAX_PATH]!r}: expected a path such as 'app/database', of at most {_MAX_PATH} letters, "
            "without empty parts, '.', '..' or control characters"
        )
    return path


def number(setting: str, value: object, low: float, high: float, unit: str = "seconds") -> float:
    """A number within bounds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise VaultConfigurationError(f"{setting}={value!r}: expected a number of {unit}")
    if not low <= value <= high:
        raise VaultConfigurationError(f"{setting}={value!r}: expected a number of {unit} from {low:g} to {high:g}")
    return float(value)


def whole(
    setting: str,
    value: object,
    low: int,
    high: int,
    error: type[VaultConfigurationError] = VaultConfigurationError,
) -> int:
    """A whole number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise error(f"{setting}={value!r}: expected a whole number from {low} to {high}")
    return value


def flag(setting: str, value: str) -> bool:
    """A truth value of the environment, in the words that Vault's own command takes."""
    word = value.strip()
    if word in {"1", "t", "T", "true", "TRUE", "True"}:
        return True
    if word in {"0", "f", "F", "false", "FALSE", "False"}:
        return False
    raise VaultConfigurationError(f"{setting}={value!r}: expected true or false")


def nearest(name: object, known: Iterable[str]) -> str:
    """The known name that is most like this one."""
    [near] = difflib.get_close_matches(str(name), sorted(known), n=1, cutoff=0.0)
    return near


def similar(name: object, known: Iterable[str]) -> str | None:
    """The known name that this one is a misspelling of, None if it is a name of its own."""
    near = difflib.get_close_matches(str(name), sorted(known), n=1, cutoff=_SIMILAR)
    return near[0] if near else None


def json_object(setting: str, value: object, path: str) -> Any:
    """What is written to a path, as JSON knows it. Its values are not shown."""
    if not isinstance(value, Mapping):
        raise VaultConfigurationError(f"{setting}: expected a mapping, got {type(value).__name__}", path=path)
    try:
        return json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        pass
    raise VaultConfigurationError(
        f"{setting}: expected what JSON can hold: text, finite numbers, lists, mappings", path=path
    )
