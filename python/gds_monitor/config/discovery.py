"""Finds targets in a file, in DNS, in Vault, or by a command."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gds_database.errors import ConfigurationError
from gds_monitor.config.load import target_of
from gds_monitor.errors import MonitorConfigError
from gds_monitor.packs.document import Document

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gds_monitor.config.load import MonitorConfig, TargetConfig
    from gds_monitor.secrets import SharedVault

__all__ = ["discovered"]

TIMEOUT_SECONDS = 10.0
MOST_BYTES = 16 * 1024 * 1024


async def discovered(source: Mapping[str, Any], config: MonitorConfig, vault: SharedVault) -> list[TargetConfig]:
    """The targets that are there now.

    Args:
        source: An entry of ``discovery`` in ``monitor.yaml``.
        config: That.
        vault: The client of Vault.

    Raises:
        ValueError: What was found is no list of targets.
        OSError: It cannot be asked; so nothing is known of what is there.
    """
    seconds = source.get("timeout", TIMEOUT_SECONDS)
    try:
        found = await asyncio.wait_for(_found(source, config.folder, vault), seconds)
    except asyncio.TimeoutError:
        raise OSError(f"{_name(source)}: no answer in {seconds:g} s") from None
    template = source.get("template", {})
    try:
        return [target_of(_filled(template, each), config.interval, config.environment) for each in found]
    except (ConfigurationError, MonitorConfigError) as error:
        raise MonitorConfigError(f"{_name(source)}: {error}") from None


async def _found(source: Mapping[str, Any], folder: Path, vault: SharedVault) -> list[dict[str, Any]]:
    if "file" in source:
        path = folder / source["file"]
        return _listed(await asyncio.to_thread(path.read_text, "utf-8"), str(path))
    if "command" in source:
        return _listed(await _printed(source["command"], folder), source["command"][0])
    if "vault" in source:
        try:
            secret = await asyncio.to_thread(vault.client().get_secret, source["vault"], use_cache=False)
        except Exception as error:  # noqa: BLE001 - whatever Vault's client raises; its messages hold no secrets
            raise OSError(f"vault {source['vault']}: {error}") from None
        return [{"name": name, "url": str(url)} for name, url in sorted(secret.items())]
    return await asyncio.to_thread(_resolved, source["dns"])


def _listed(text: str, name: str) -> list[dict[str, Any]]:
    document = Document.parse(text, name)
    data = document.data
    if isinstance(data, dict) and set(data) == {"targets"}:
        data = data["targets"]
    if not isinstance(data, list) or not all(isinstance(each, dict) for each in data):
        document.fail((), "expected a list of targets")
    return data


async def _printed(command: list[str], folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, limit=MOST_BYTES
    )
    assert process.stdout is not None  # noqa: S101 - it was asked for
    try:
        text = await process.stdout.read(MOST_BYTES)
        code = await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if code != 0:
        raise OSError(f"{command[0]}: exited with {code}")
    return text.decode()


def _resolved(name: str) -> list[dict[str, Any]]:
    if name.startswith("_"):
        try:
            import dns.resolver
        except ImportError:
            raise MonitorConfigError(f"dns {name}: SRV records need dnspython; run: pip install dnspython") from None
        try:
            records = dns.resolver.resolve(name, "SRV")
        except dns.exception.DNSException as error:
            raise OSError(f"dns {name}: {error}") from None
        return sorted(
            ({"host": str(each.target).rstrip("."), "port": str(each.port)} for each in records),
            key=lambda each: (each["host"], each["port"]),
        )
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OSError(f"dns {name}: {error.strerror or error}") from None
    return [{"host": host} for host in sorted({str(each[4][0]) for each in found})]


def _filled(template: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What was found, over what all have in common."""
    if "host" not in found:
        return {**template, **found}
    url = template.get("url")
    if not isinstance(url, str) or "{host}" not in url:
        raise MonitorConfigError("expected template: with a url: that has {host} in it")
    host = f"[{found['host']}]" if ":" in found["host"] else found["host"]
    return {**template, "url": url.replace("{host}", host).replace("{port}", found.get("port", ""))}


def _name(source: Mapping[str, Any]) -> str:
    kind = next(name for name in ("file", "command", "vault", "dns") if name in source)
    what = source[kind]
    return f"{kind} {what[0] if isinstance(what, list) else what}"
