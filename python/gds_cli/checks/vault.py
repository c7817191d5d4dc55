"""Whether Vault is reached, open and believes the token, and what it says of the clock: asked as clients ask it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import typer

from gds_cli.checks import FAILED, OK, WARNING, Finding, Steps

if TYPE_CHECKING:
    from gds_vault._probe import Probe

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
        from gds_vault import VaultConfigurationError
        from gds_vault._probe import Probe
    except ImportError:
        missing = Finding(WARNING, "not asked: gds-vault 1.0 or newer is not installed", "pip install 'gds-vault>=1.0'")
        return [("vault", lambda: missing), ("clock", lambda: _clock(None))]
    # It is told as a finding.
    warnings.filterwarnings("ignore", message="Unverified HTTPS request")
    try:
        vault = _Vault(Probe(url, seconds))
    except VaultConfigurationError as error:
        # Its text holds no secret.
        wrong = str(error)
        if wrong.startswith("vault_addr"):
            raise typer.BadParameter(
                "--vault, or VAULT_ADDR: expected a URL such as https://vault.example:8200, without a user"
            ) from None
        refused = Finding(FAILED, f"no client can be made: {wrong}", "correct that setting, or remove it")
        return [("vault", lambda: refused), ("clock", lambda: _clock(None))]
    return [("vault", vault.reached), ("vault token", vault.known), ("clock", vault.clock)]


class _Vault:
    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._down = ""

    def reached(self) -> Finding:
        from gds_vault import VaultError

        shown = self._probe.shown
        try:
            reply = self._probe.seal_status()
        except VaultError as error:
            remedy = "start it, or name the right one with --vault URL"
            if "TLS" in str(error):
                remedy = "name the authority's certificate in VAULT_CACERT"
            return self._unreached(str(error), remedy)
        answer = reply.body or {}
        if "sealed" not in answer:
            return self._unreached(
                f"it answers {reply.status}, not as a Vault does", "name the right one with --vault URL"
            )
        version = f"Vault {answer.get('version', 'of unknown version')} at {shown}"
        if not answer.get("initialized", True):
            self._down = "Vault is not initialized"
            return Finding(FAILED, f"{version} is not initialized", "vault operator init")
        if answer["sealed"]:
            self._down = "Vault is sealed"
            return Finding(FAILED, f"{version} is sealed", "vault operator unseal")
        if not self._probe.verified:
            return Finding(
                WARNING,
                f"{version} is unsealed, and may be anybody: its certificate is not checked",
                "unset VAULT_SKIP_VERIFY, and name the authority's certificate in VAULT_CACERT",
            )
        return Finding(OK, f"{version} is unsealed")

    def _unreached(self, why: str, remedy: str) -> Finding:
        self._down = "Vault is not reached"
        return Finding(FAILED, f"{self._probe.shown} is not reached: {why}", remedy)

    def known(self) -> Finding:
        from gds_vault import VaultError

        if self._down:
            return Finding(WARNING, f"not tried: {self._down}")
        wrong = self._probe.credentials
        if wrong is not None:
            if str(wrong).startswith("auth"):
                return Finding(WARNING, "VAULT_TOKEN is not set", "set it, or VAULT_ROLE_ID and VAULT_SECRET_ID")
            return Finding(FAILED, f"no client can log in: {wrong}", "correct it; VAULT_TOKEN is the token alone")
        if not self._probe.has_token:
            return Finding(OK, "VAULT_ROLE_ID and VAULT_SECRET_ID are set, and not tried: that may use them up")
        try:
            reply = self._probe.look_up()
        except VaultError as error:
            return Finding(FAILED, f"no answer: {error}", "try again")
        if reply.status == 403:
            return Finding(FAILED, "VAULT_TOKEN is not valid, or has expired", "log in again, and set VAULT_TOKEN anew")
        data = (reply.body or {}).get("data")
        if reply.status != 200 or not isinstance(data, dict):
            return Finding(FAILED, f"it answers {reply.status} when asked about VAULT_TOKEN", "see the log of Vault")
        ttl = data.get("ttl")
        if not ttl:
            return Finding(OK, "VAULT_TOKEN is valid and does not expire")
        return Finding(OK, f"VAULT_TOKEN is valid for {ttl} s" + (", renewable" if data.get("renewable") else ""))

    def clock(self) -> Finding:
        self._probe.close()
        return _clock(self._probe.behind_seconds)


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
