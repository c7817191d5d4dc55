"""Asks the API of a running ``gds alert run --listen``."""

from __future__ import annotations

import json
import os
import ssl
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import typer

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Client"]

TIMEOUT_SECONDS = 30.0


class Client:
    """Asks the API; what it refuses is an `OSError` with its own words."""

    def __init__(self, api: str, cafile: Path | None, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        if not api.startswith(("http://", "https://")):
            raise typer.BadParameter(f"--api {api}: expected http://HOST:PORT or https://HOST:PORT")
        self._api = api.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._tls = ssl.create_default_context(cafile=cafile) if api.startswith("https") else None
        self._headers = {"Content-Type": "application/json"}
        token, user = os.environ.get("GDS_ALERT_API_TOKEN"), os.environ.get("GDS_ALERT_API_USER")
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        elif user:
            shown = b64encode(f"{user}:{os.environ.get('GDS_ALERT_API_PASSWORD', '')}".encode()).decode()
            self._headers["Authorization"] = f"Basic {shown}"

    def ask(self, method: str, path: str, body: dict[str, object] | None = None) -> Any:
        """What it answers.

        Raises:
            OSError: It does not answer, or refuses, and why.
        """
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._api + path, data=data, headers=self._headers, method=method)  # noqa: S310 - checked above
        try:
            with urlopen(request, timeout=self._timeout_seconds, context=self._tls) as answer:  # noqa: S310
                return json.loads(answer.read())
        except HTTPError as error:
            raise OSError(f"{self._api}: {_reason(error)}") from None
        except URLError as error:
            raise OSError(f"{self._api} does not answer: {error.reason}; does gds alert run --listen?") from None


def _reason(error: HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"])
    except (ValueError, KeyError, TypeError):
        return f"status {error.code}"
