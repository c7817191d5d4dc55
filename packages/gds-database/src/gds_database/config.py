"""Where an engine is and who asks: an address or a dict becomes an `EngineConfig`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import unquote

from gds_database._redact import MASK
from gds_database.errors import ConfigurationError

__all__ = ["ALIASES", "EngineConfig"]

ALIASES = {
    "postgres": "postgresql",
    "pg": "postgresql",
    "mongo": "mongodb",
    "mongodb+srv": "mongodb",
    "sqlserver": "mssql",
}
"""Other names of engines."""

# What drivers call it in an address.
_FIELDS = {"host": "host", "port": "port", "user": "user", "username": "user", "password": "password"}
_DATABASES = {"dbname": "database", "database": "database"}

# Options that are secrets: sslpassword, tlsCertificateKeyFilePassword, private_key_file_pwd, passcode, token and more.
_SECRET = re.compile(r"(?:password|passwd|passphrase|passcode|pwd|secret|token|private_?key)$", re.IGNORECASE)
# Those whose names end like that and that only say whether, such as passcode_in_password.
_SWITCHES = {"true", "false", "yes", "no", "on", "off", "0", "1"}


@dataclass(frozen=True, repr=False)
class EngineConfig:
    """Where an engine is and who asks.

    Attributes:
        engine: Its name among the entry points, such as ``postgresql``.
        host: A name, an address, a folder of Unix sockets or an account; several hosts are in ``hosts``.
        port: None is the platform's usual one.
        user: Who.
        password: Not in ``repr``.
        database: Which; None is the platform's usual one.
        options: What else the address said, such as ``sslmode``. In ``repr`` without those that are secrets.
        hosts: All hosts with their ports.
        scheme: As it was given, such as ``mongodb+srv``.
        from_vault: Names of options that were in Vault, which makes any of them a secret.
    """

    engine: str
    host: str | None = None
    port: int | None = None
    user: str | None = None
    password: str | None = None
    database: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    hosts: tuple[tuple[str, int | None], ...] = ()
    scheme: str = ""
    from_vault: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        shown = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "password"}
        hidden = {name: MASK for name in self.options if self._is_secret(name)}
        shown["options"] = {**self.options, **hidden}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The password, and whichever options are secrets."""
        given = (self.password, *(value for name, value in self.options.items() if self._is_secret(name)))
        return tuple(value for value in given if isinstance(value, str) and value)

    def _is_secret(self, option: str) -> bool:
        if option in self.from_vault:
            return True
        return bool(_SECRET.search(option)) and str(self.options[option]).lower() not in _SWITCHES

    @classmethod
    def parse(cls, given: str | Mapping[str, Any]) -> EngineConfig:
        """From an address such as ``postgresql://user@host:5432/db?sslmode=verify-full``, or from a dict.

        A dict has ``engine`` and whichever of the attributes are needed; all else in it are options. One with ``url``
        begins with that, and the rest replaces what it says.

        Raises:
            ConfigurationError: It is neither.
        """
        if isinstance(given, str):
            return _from_url(given)
        if not isinstance(given, Mapping):
            raise ConfigurationError(f"config: expected an address or a dict, got {type(given).__name__}")
        values = dict(given)
        start: dict[str, Any] = {}
        if "url" in values:
            found = _from_url(values.pop("url"))
            start = {each.name: getattr(found, each.name) for each in fields(found)}
        return _from_values(start, values)


def _from_values(start: dict[str, Any], values: dict[str, Any]) -> EngineConfig:
    options = dict(start.get("options") or {}) | dict(values.pop("options", None) or {})
    known = {each.name for each in fields(EngineConfig)} - {"from_vault"}
    names = _FIELDS | _DATABASES
    for name, value in values.items():
        if names.get(name, name) in known:
            start[names.get(name, name)] = value
        else:
            options[name] = value
    engine = start.get("engine")
    if not isinstance(engine, str) or not engine:
        raise ConfigurationError("config: expected 'engine', such as 'postgresql', or 'url'")
    start["scheme"] = start.get("scheme") or engine
    start["engine"] = ALIASES.get(engine, engine)
    start["port"] = _port(start.get("port"))
    start["options"] = options
    if "host" in values or not start.get("hosts"):
        start["hosts"] = ((start["host"], start["port"]),) if start.get("host") else ()
    return EngineConfig(**start)


def _from_url(url: str) -> EngineConfig:
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme:
        # Without the text, which may hold a password.
        raise ConfigurationError("url: expected an address such as postgresql://user@host/database")
    # A password may hold anything but these two, which have to be %2F and %3F in it.
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    login, at, places = authority.rpartition("@")
    user, colon, password = login.partition(":")
    hosts = tuple(_host(place) for place in places.split(",") if place)
    values: dict[str, Any] = {
        "engine": scheme.lower(),
        "host": hosts[0][0] if hosts else None,
        "port": hosts[0][1] if hosts else None,
        "user": unquote(user) if at and user else None,
        "password": unquote(password) if colon else None,
        "database": unquote(path) or None,
    }
    start = {"hosts": hosts}
    options: dict[str, Any] = {}
    for pair in filter(None, query.split("&")):
        # A plus is one: this is no form of a web page.
        name, _, value = map(unquote, pair.partition("="))
        if name in _FIELDS or name in _DATABASES:
            values[(_FIELDS | _DATABASES)[name]] = value
            if name == "host":
                start["hosts"] = ()
        else:
            options[name] = value
    values["options"] = options
    if not start["hosts"]:
        return _from_values({}, values)
    host, port = values.pop("host"), values.pop("port")
    return _from_values({**start, "host": host, "port": port}, values)


def _host(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, _port(port.lstrip(":") or None)
    host, _, port = text.partition(":")
    return unquote(host), _port(port or None)


def _port(given: Any) -> int | None:
    if given is None or given == "":
        return None
    try:
        port = int(given)
    except (TypeError, ValueError):
        port = -1
    if not 0 < port < 65536:
        raise ConfigurationError("port: expected a number from 1 to 65535")
    return port
