"""An engine by its address: `open_engine` and `open_engine_async`."""

from __future__ import annotations

import difflib
from dataclasses import replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from gds_database.config import ALIASES, EngineConfig
from gds_database.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gds_database.aio import AsyncDatabaseEngine
    from gds_database.engine import DatabaseEngine

__all__ = ["GROUP", "VAULT", "engines", "from_vault", "open_engine", "open_engine_async"]

GROUP = "gds_database.engines"
"""The group of entry points; the name of each is that of its engine and of the scheme of its addresses."""

VAULT = "vault://"
"""How values begin that are in Vault."""


def engines() -> dict[str, str]:
    """The engines that are installed: names, and where each comes from."""
    return {entry.name: entry.value for entry in entry_points(group=GROUP)}


def open_engine(
    config: str | Mapping[str, Any] | EngineConfig, *, vault: Any = None, connect: bool = True, **settings: Any
) -> DatabaseEngine:
    """A connected engine; close it, or use it in a ``with`` block.

        with open_engine("postgresql://dba@db1/postgres?sslmode=verify-full") as engine:
            print(engine.get_version())

    Args:
        config: An address, or a dict as `EngineConfig.parse` takes it.
        vault: A client of ``gds_vault`` for values ``vault://path#field``; by default one is made from the environment.
        connect: False leaves that to the first statement, for a server that is to be started.
        settings: ``password`` and ``user`` replace those of the address; all else goes to the engine: ``control``,
            ``metrics``, ``timeout_seconds``.

    Raises:
        ConfigurationError: There is no such engine, or a value cannot be used.
        MissingExtraError: A driver is not installed.
        DatabaseConnectionError: The server cannot be reached or refuses.
    """
    found, kind = _found(config, vault, settings)
    engine: DatabaseEngine = kind.from_config(found, **settings)
    if connect:
        engine.connect()
    return engine


async def open_engine_async(
    config: str | Mapping[str, Any] | EngineConfig, *, vault: Any = None, **settings: Any
) -> AsyncDatabaseEngine:
    """As `open_engine`, for asyncio: native where the engine is, else in threads.

    Args:
        config: As there.
        vault: As there.
        settings: As there; ``threads`` is how many calls of an engine without a native client run at a time.
    """
    import asyncio

    from gds_database.aio import AsyncDatabaseEngine

    threads = settings.pop("threads", None)
    found, kind = await asyncio.to_thread(_found, config, vault, settings)
    native = getattr(kind, "open_async", None)
    if native is not None:
        engine: AsyncDatabaseEngine = await native(found, **settings)
        return engine
    limit = {} if threads is None else {"threads": threads}
    return await AsyncDatabaseEngine.opened(kind.from_config(found, **settings), **limit)


def _found(
    given: str | Mapping[str, Any] | EngineConfig, vault: Any, settings: dict[str, Any]
) -> tuple[EngineConfig, Any]:
    """What is asked for, with its credentials, and its class."""
    config = given if isinstance(given, EngineConfig) else EngineConfig.parse(given)
    given_apart = {name: settings.pop(name) for name in ("user", "password") if name in settings}
    config = replace(config, **given_apart)
    kind = _class(config.engine)
    values = {"user": config.user, "password": config.password, **config.options}
    resolved = {
        name: from_vault(value, vault)
        for name, value in values.items()
        if isinstance(value, str) and value.startswith(VAULT)
    }
    if resolved:
        user, password = resolved.pop("user", config.user), resolved.pop("password", config.password)
        options = {**config.options, **resolved}
        secret = config.from_vault | resolved.keys()
        config = replace(config, user=user, password=password, options=options, from_vault=secret)
    return config, kind


def _class(name: str) -> Any:
    entries = {entry.name: entry for entry in entry_points(group=GROUP)}
    entry = entries.get(name)
    if entry is None:
        near = difflib.get_close_matches(name, [*entries, *ALIASES], 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(entries)) or 'none'}"
        raise ConfigurationError(f"engine={name!r}: expected one that is installed; {hint}")
    kind = entry.load()
    if not callable(getattr(kind, "from_config", None)):
        raise ConfigurationError(
            f"engine={name!r}: expected {entry.value} to have from_config(config, **settings), as EngineBase has"
        )
    return kind


def from_vault(value: str, vault: Any = None) -> str:
    """The field of a secret.

    Args:
        value: ``vault://path#field``.
        vault: A client; by default one is made from the environment.

    Raises:
        ConfigurationError: There is no such field.
        MissingExtraError: gds-vault is not installed.
    """
    path, mark, name = value[len(VAULT) :].partition("#")
    if not path or not mark or not name:
        raise ConfigurationError(f"{value}: expected vault://path#field, such as vault://db/dba#password")
    if vault is not None:
        return _field(vault, path, name)
    try:
        from gds_vault import VaultClient
    except ImportError:
        raise MissingExtraError(
            "vault://: gds-vault is not installed; run: pip install 'gds-database[vault]'"
        ) from None
    with VaultClient() as client:
        return _field(client, path, name)


def _field(vault: Any, path: str, name: str) -> str:
    secret = vault.get_secret(path)
    if name not in secret:
        raise ConfigurationError(f"vault://{path}#{name}: the secret has no such field")
    return str(secret[name])
