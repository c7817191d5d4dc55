"""Ids of Avro schemas in a registry that speaks as Confluent's does: asked for at the start, and kept on disk."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from gds_monitor.errors import MonitorConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SchemaRegistry", "SchemaUnknownError"]

logger = logging.getLogger("gds_monitor")

TIMEOUT_SECONDS = 5.0
AGAIN_SECONDS = 30.0
"""After so long a registry that did not answer is asked again."""
_CONTENT = "application/vnd.schemaregistry.v1+json"


class SchemaUnknownError(MonitorConfigError):
    """The registry does not tell the id of a schema, and it is not known from before."""


class SchemaRegistry:
    """The ids of schemas. While the registry is away, those that are known go on; that it is away is said once.

    Args:
        url: ``http://host:8081``, or with the path of the API: ``http://apicurio:8080/apis/ccompat/v7``.
        username: For basic authentication.
        password: For basic authentication.
        cafile: PEM certificates to trust instead of the system's.
        register: Whether a schema that is not there is registered; otherwise somebody else has to.
        cache: The file that ids are kept in; ``schema-ids.json`` in ``gds-telemetry`` in ``$XDG_CACHE_HOME`` or
            ``~/.cache`` by default.
        timeout_seconds: For one request.

    Raises:
        MonitorConfigError: A setting makes no sense.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        cafile: str | None = None,
        register: bool = True,
        cache: str | os.PathLike[str] | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        address = urlsplit(url)
        if address.scheme not in {"http", "https"} or not address.hostname:
            raise MonitorConfigError("schema_registry: expected http://host:port or https://host:port")
        if address.username is not None or address.password is not None:
            raise MonitorConfigError("schema_registry: expected username and password beside url, not in it")
        self.url = url.rstrip("/")
        self._headers = {"Accept": _CONTENT, "Content-Type": _CONTENT}
        if username is not None:
            pair = base64.b64encode(f"{username}:{password or ''}".encode()).decode()
            self._headers["Authorization"] = f"Basic {pair}"
        self._cafile = cafile
        self._register = register
        self._cache = _cache_file() if cache is None else Path(cache)
        self._timeout = timeout_seconds
        self._ids = self._kept()
        self._confirmed: set[str] = set()
        self._not_before = 0.0
        self._said = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def id_of(self, subject: str, schema: str) -> tuple[int, bool]:
        """The id of a schema, and whether the registry has said so since the start. Waits for the registry.

        Args:
            subject: What it is registered under.
            schema: As JSON.

        Raises:
            SchemaUnknownError: Neither the registry nor the file knows it; the message says why.
        """
        name = self._name(subject, schema)
        if name in self._confirmed:
            return self._ids[name], True
        why = "it did not answer a moment ago"
        if time.monotonic() >= self._not_before:
            try:
                self._ids[name] = self._ask(subject, schema)
            except OSError as error:
                self._not_before = time.monotonic() + AGAIN_SECONDS
                why = str(error)
            else:
                self._confirmed.add(name)
                # The same text has the same id under each subject.
                self._ids[self._name("", schema)] = self._ids[name]
                self._keep()
                if self._said:
                    logger.info("schema registry %s: it answers again", self.url)
                    self._said = False
                return self._ids[name], True
        known = self._ids.get(name) or self._ids.get(self._name("", schema))
        if known is None:
            raise SchemaUnknownError(f"schema registry {self.url}: no id is known for {subject}: {why}")
        if not self._said:
            logger.warning("schema registry %s: going on with the ids that are known: %s", self.url, why)
            self._said = True
        return known, False

    # ------------------------------------------------------------------ the registry
    def _ask(self, subject: str, schema: str) -> int:
        """The id by the registry.

        Raises:
            OSError: It does not tell.
        """
        place = f"/subjects/{quote(subject, safe='')}"
        found = self._post(place, schema, missing=(404,))
        if found is None:
            if not self._register:
                raise OSError(f"{subject} is not registered, and register is false")
            # Some answer with the id of the version, all with that of the schema.
            found = self._post(f"{place}/versions", schema)
        if not isinstance(found, dict) or not isinstance(found.get("id"), int):
            raise OSError("its answer has no id")
        return int(found["id"])

    def _post(self, place: str, schema: str, *, missing: tuple[int, ...] = ()) -> Any:
        body = json.dumps({"schema": schema}).encode()
        request = Request(f"{self.url}{place}", data=body, headers=self._headers)  # noqa: S310 - http or https
        context = None
        if self._cafile is not None:
            import ssl

            context = ssl.create_default_context(cafile=self._cafile)
        try:
            with urlopen(request, timeout=self._timeout, context=context) as answer:  # noqa: S310 - as above
                return json.loads(answer.read())
        except HTTPError as error:
            with error:
                if error.code in missing:
                    return None
                said = error.read(2000)
            raise OSError(f"it answered {error.code}{_message(said)}") from None
        except URLError as error:
            raise OSError(str(error.reason)) from None
        except ValueError:
            raise OSError("its answer is no JSON") from None

    # ------------------------------------------------------------------ the file
    def _name(self, subject: str, schema: str) -> str:
        digest = hashlib.sha256(schema.encode()).hexdigest()[:16]
        return f"{self.url} {subject} {digest}"

    def _kept(self) -> dict[str, int]:
        with suppress(OSError, ValueError):
            kept: Mapping[str, Any] = json.loads(self._cache.read_text("utf-8"))
            return {name: number for name, number in kept.items() if isinstance(number, int)}
        return {}

    def _keep(self) -> None:
        """Write the file in one step, with what others have put there meanwhile."""
        beside = self._cache.with_name(f".{self._cache.name}.{os.getpid()}")
        try:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps({**self._kept(), **self._ids}, indent=1, sort_keys=True), "utf-8")
            beside.replace(self._cache)
        except OSError as error:
            logger.warning("schema ids are not kept for the next start: %s: %s", self._cache, error.strerror)


def _cache_file() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME")
    if not folder:
        try:
            folder = str(Path.home() / ".cache")
        except RuntimeError:  # a user without a home
            folder = "."
    return Path(folder) / "gds-telemetry" / "schema-ids.json"


def _message(said: bytes) -> str:
    """What a registry says of an error."""
    with suppress(ValueError, AttributeError):
        message = json.loads(said).get("message")
        if isinstance(message, str):
            return f": {' '.join(message.split())[:300]}"
    return ""
