"""Reads ``monitor.yaml``; what is wrong is told with file, line and column."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gds_database.config import EngineConfig
from gds_database.errors import ConfigurationError
from gds_monitor.errors import MonitorConfigError
from gds_monitor.packs.document import Document

if TYPE_CHECKING:
    from gds_monitor.packs.model import Pack

__all__ = ["MonitorConfig", "TargetConfig", "address_of", "load_config", "parse_config", "target_of"]

INTERVAL_SECONDS = 30.0


@dataclass(frozen=True)
class TargetConfig:
    """One database server, as it is watched.

    Attributes:
        name: Of the instance.
        engine: Where it is, and who asks.
        interval: Seconds.
        tags: Of its metrics.
        packs: Files of packs; None are those of the whole configuration.
        databases: Those that are visited; None are all.
        excluded: Those that are not.
    """

    name: str
    engine: EngineConfig
    interval: float = INTERVAL_SECONDS
    tags: Mapping[str, str] = field(default_factory=dict)
    packs: tuple[str, ...] | None = None
    databases: tuple[str, ...] | None = None
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True)
class MonitorConfig:
    """What ``monitor.yaml`` says.

    Attributes:
        targets: Those that stand in it.
        outputs: Kind and settings of each.
        discovery: Where further targets are found.
        interval: Seconds.
        environment: The tag ``environment``, and a part of topics; empty if it is not said.
        listen: Host and port of the health checks; None are none.
        packs: Packs of files, by the name of the file.
        shared: Those that all targets have that name none of their own.
        disabled: Collectors that are switched off.
        concurrency: Cycles at a time, by platform.
        canary: A pack that is tried first; None is none.
        folder: That of the file, which relative paths begin at.
    """

    targets: tuple[TargetConfig, ...]
    outputs: tuple[tuple[str, Any], ...]
    discovery: tuple[Mapping[str, Any], ...] = ()
    interval: float = INTERVAL_SECONDS
    environment: str = ""
    listen: tuple[str, int] | None = None
    packs: Mapping[str, Pack] = field(default_factory=dict)
    shared: tuple[str, ...] = ()
    disabled: frozenset[str] = frozenset()
    concurrency: Mapping[str, int] = field(default_factory=dict)
    canary: Mapping[str, Any] | None = None
    folder: Path = Path()


def load_config(path: str | Path) -> MonitorConfig:
    """The configuration in a file.

    Raises:
        ValueError: Something of it is wrong: `PackError` or `MonitorConfigError`.
        OSError: It cannot be read.
    """
    path = Path(path)
    return parse_config(path.read_text("utf-8"), str(path), folder=path.parent)


def parse_config(text: str, source: str = "monitor.yaml", *, folder: Path | None = None) -> MonitorConfig:
    """The configuration in a text; relative paths begin at the folder.

    Raises:
        ValueError: As `load_config`.
    """
    document = Document.parse(text, source)
    _validate(document)
    data = document.data
    folder = Path() if folder is None else folder
    packs = {name: _pack(document, folder, name, ("packs", at)) for at, name in enumerate(data.get("packs", ()))}
    targets = []
    interval = float(data.get("interval", INTERVAL_SECONDS))
    environment = data.get("environment", "")
    for at, given in enumerate(data.get("targets", ())):
        for number, name in enumerate(given.get("packs", ())):
            packs.setdefault(name, _pack(document, folder, name, ("targets", at, "packs", number)))
        try:
            targets.append(target_of(given, interval, environment))
        except (ConfigurationError, MonitorConfigError) as error:
            document.fail(("targets", at, "url"), str(error))
        if targets[-1].name in {each.name for each in targets[:-1]}:
            document.fail(("targets", at), f"{targets[-1].name} is the name of another; give it one with name:")
    canary = data.get("canary")
    if canary is not None:
        packs[canary["pack"]] = _pack(document, folder, canary["pack"], ("canary", "pack"))
    return MonitorConfig(
        targets=tuple(targets),
        outputs=tuple(next(iter(each.items())) for each in data["outputs"]),
        discovery=tuple(data.get("discovery", ())),
        interval=interval,
        environment=environment,
        listen=address_of(data["listen"]) if "listen" in data else None,
        packs=packs,
        shared=tuple(data.get("packs", ())),
        disabled=frozenset(name for name, on in data.get("flags", {}).items() if not on),
        concurrency=data.get("concurrency", {}),
        canary=canary,
        folder=folder,
    )


def target_of(given: Any, interval: float = INTERVAL_SECONDS, environment: str = "") -> TargetConfig:
    """A target as ``monitor.yaml`` or a discovery says it.

    Raises:
        ConfigurationError: Its address is none.
    """
    if not isinstance(given, Mapping) or not isinstance(given.get("url"), str):
        raise MonitorConfigError(
            "expected a mapping with url: and an address such as postgresql://watcher@db1/postgres"
        )
    unknown = set(given) - set(_schema()["$defs"]["target"]["properties"])
    if unknown:
        raise MonitorConfigError(f"{sorted(unknown)[0]}: unknown key of a target")
    apart = {name: given[name] for name in ("user", "password") if name in given}
    engine = EngineConfig.parse({"url": given["url"], **apart, "options": dict(given.get("options", {}))})
    where = f"{engine.host or 'localhost'}:{engine.port}" if engine.port else engine.host or "localhost"
    tags = {"environment": environment} if environment else {}
    return TargetConfig(
        name=given.get("name") or where,
        engine=engine,
        interval=float(given.get("interval", interval)),
        tags={**tags, **given.get("tags", {})},
        packs=tuple(given["packs"]) if "packs" in given else None,
        databases=tuple(given["databases"]) if "databases" in given else None,
        excluded=tuple(given.get("exclude", ())),
    )


def address_of(listen: str | int) -> tuple[str, int]:
    """Address and port of ``host:port``, ``[address]:port``, or a port alone, which is that of all IPv4 addresses."""
    host, _, port = str(listen).rpartition(":")
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)  # noqa: S104 - who scrapes is elsewhere


def _pack(document: Document, folder: Path, name: str, path: Sequence[str | int]) -> Pack:
    from gds_monitor.packs.load import load_pack

    try:
        return load_pack(folder / name)
    except OSError as error:
        document.fail(path, f"{name}: {error.strerror}")


def _validate(document: Document) -> None:
    import jsonschema

    errors = list(jsonschema.Draft202012Validator(_schema()).iter_errors(document.data))
    if errors:
        document._refuse(min(errors, key=document._place))


@functools.cache
def _schema() -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads((Path(__file__).parent / "schema.json").read_text("utf-8")))
