"""Settings and arguments: checked once, with messages that say what to change and never show a secret."""

from __future__ import annotations

import difflib
import math
import re
from typing import TYPE_CHECKING

from gds_vault.errors import VaultConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["header_text", "nearest", "number", "secret_path", "text", "whole"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEADER = re.compile(r"[\x21-\x7e]+")
_MAX_PATH = 512


def text(setting: str, value: object) -> str:
    """Text that is not empty; it is not shown, it may be a secret."""
    if not isinstance(value, str) or not value:
        got = "an empty one" if isinstance(value, str) else type(value).__name__
        raise VaultConfigurationError(f"{setting}: expected a str, got {got}")
    try:
        value.encode()
    except UnicodeEncodeError:
        problem = f"{setting}: expected text that UTF-8 can hold, without lone surrogates"
    else:
        return value
    raise VaultConfigurationError(problem)


def header_text(setting: str, value: object) -> str:
    """Text that is sent as a header; a token read from a file often ends in a line break."""
    if not _HEADER.fullmatch(text(setting, value)):
        raise VaultConfigurationError(
            f"{setting}: expected visible ASCII without spaces; it may end in a line break, strip it"
        )
    return str(value)


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


def whole(setting: str, value: object, low: int, high: int) -> int:
    """A whole number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise VaultConfigurationError(f"{setting}={value!r}: expected a whole number from {low} to {high}")
    return value


def nearest(name: object, known: Iterable[str]) -> str:
    """The known name that is most like this one."""
    [near] = difflib.get_close_matches(str(name), sorted(known), n=1, cutoff=0.0)
    return near
