"""Whether Vault is reached, open and believes the token, and what it says of the clock. Needs no gds_vault."""

from __future__ import annotations

import json
import os
import re
import ssl
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

import typer

from gds_cli.checks import FAILED, OK, WARNING, Finding, Steps

__all__ = ["vault_steps"]

CLOCK_WARNING_SECONDS, CLOCK_FAILED_SECONDS = 5.0, 300.0
"""Kerberos refuses tickets from 5 minutes on."""


def vault_steps(url: str | None, seconds: float) -> Steps:
    """The checks; without a URL there is nothing to ask for the time either.

    Args:
        url: Where Vault is.
        seconds: How long to wait for an answer.
    """
    if url is None:
        return [("clock", lambda: _clock(None))]
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        # Without the text, which may hold a password.
        raise typer.BadParameter("--vault, or VAULT_ADDR: expected a URL such as https://vault.example:8200")
    vault = _Vault(url, seconds)
    return [("vault", vault.reached), ("vault token", vault.known), ("clock", lambda: _clock(vault.behind_seconds))]


class _NoRedirect(HTTPRedirectHandler):
    """A token is not carried to where somebody points."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


class _Vault:
    def __init__(self, url: str, seconds: float) -> None:
        parts = urlsplit(url)
        self._shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._url = self._shown + parts.path.rstrip("/")
        self._seconds = seconds
        self._down = ""
        self.behind_seconds: float | None = None
        """How far this machine's clock is behind the server's, once it has answered."""

    def reached(self) -> Finding:
        try:
            status, answer = self._ask("sys/seal-status", {})
        except ssl.SSLCertVerificationError as error:
            return self._unreached(error.verify_message, "name the authority's certificate in VAULT_CACERT")
        except OSError as error:
            return self._unreached(error.strerror or str(error), "start it, or name the right one with --vault URL")
        if "sealed" not in answer:
            return self._unreached(f"it answers {status}, not as a Vault does", "name the right one with --vault URL")
        version = f"Vault {answer.get('version', 'of unknown version')} at {self._shown}"
        if not answer.get("initialized", True):
            self._down = "Vault is not initialized"
            return Finding(FAILED, f"{version} is not initialized", "vault operator init")
        if answer["sealed"]:
            self._down = "Vault is sealed"
            return Finding(FAILED, f"{version} is sealed", "vault operator unseal")
        return Finding(OK, f"{version} is unsealed")

    def _unreached(self, why: str, remedy: str) -> Finding:
        self._down = "Vault is not reached"
        return Finding(FAILED, f"{self._shown} is not reached: {why}", remedy)

    def known(self) -> Finding:
        token = os.environ.get("VAULT_TOKEN", "").strip()
        if self._down:
            return Finding(WARNING, f"not tried: {self._down}")
        if not token:
            if os.environ.get("VAULT_ROLE_ID") and os.environ.get("VAULT_SECRET_ID"):
                return Finding(OK, "VAULT_ROLE_ID and VAULT_SECRET_ID are set, and not tried: that may use them up")
            return Finding(WARNING, "VAULT_TOKEN is not set", "set it, or VAULT_ROLE_ID and VAULT_SECRET_ID")
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            return Finding(FAILED, "VAULT_TOKEN has characters that no token has", "set it to the token alone")
        headers = {"X-Vault-Token": token}
        if os.environ.get("VAULT_NAMESPACE"):
            headers["X-Vault-Namespace"] = os.environ["VAULT_NAMESPACE"]
        try:
            status, answer = self._ask("auth/token/lookup-self", headers)
        except OSError as error:
            return Finding(FAILED, f"no answer: {error.strerror or type(error).__name__}", "try again")
        if status == 403:
            return Finding(FAILED, "VAULT_TOKEN is not valid, or has expired", "log in again, and set VAULT_TOKEN anew")
        data = answer.get("data")
        if status != 200 or not isinstance(data, dict):
            return Finding(FAILED, f"it answers {status} when asked about VAULT_TOKEN", "see the log of Vault")
        ttl = data.get("ttl")
        if not ttl:
            return Finding(OK, "VAULT_TOKEN is valid and does not expire")
        return Finding(OK, f"VAULT_TOKEN is valid for {ttl} s" + (", renewable" if data.get("renewable") else ""))

    def _ask(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """The status and the answer.

        Raises:
            OSError: There is none.
        """
        authority = os.environ.get("VAULT_CACERT") or os.environ.get("VAULT_SSL_CERT") or None
        context = ssl.create_default_context(cafile=authority)
        opener = build_opener(_NoRedirect, HTTPSHandler(context=context))
        request = Request(f"{self._url}/v1/{path}", headers=headers)  # noqa: S310 - the scheme is checked before
        asked = time.time()
        try:
            with opener.open(request, timeout=self._seconds) as answer:
                status, told, body = answer.status, answer.headers["Date"], answer.read(1 << 20)
        except HTTPError as error:
            status, told, body = error.code, error.headers["Date"], error.read(1 << 20)
        except URLError as error:
            raise (error.reason if isinstance(error.reason, OSError) else OSError(str(error.reason))) from None
        with suppress(TypeError, ValueError):
            # The header has whole seconds: on average half a second has passed of it.
            self.behind_seconds = parsedate_to_datetime(told).timestamp() + 0.5 - (asked + time.time()) / 2
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = None
        return status, parsed if isinstance(parsed, dict) else {}


def _clock(behind_seconds: float | None) -> Finding:
    if behind_seconds is None:
        return Finding(OK, "unknown: no server was asked that tells the time, as --vault does")
    off = abs(behind_seconds)
    found = f"{off:.0f} s {'behind' if behind_seconds > 0 else 'ahead of'} Vault's"
    remedy = "set the clocks by NTP: timedatectl set-ntp true"
    if off > CLOCK_FAILED_SECONDS:
        return Finding(FAILED, f"{found}; tickets and tokens are refused", remedy)
    if off > CLOCK_WARNING_SECONDS:
        return Finding(WARNING, f"{found}; times of metrics and logs do not fit together", remedy)
    return Finding(OK, "as Vault's")
