"""What ``gds doctor`` asks, by a client of its own: it reaches what clients reach, and is refused where they are."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

from gds_vault._wire import Call, Reply
from gds_vault.auth import TokenAuth, is_token
from gds_vault.client import VaultClient
from gds_vault.exceptions import VaultCredentialsError
from gds_vault.retry import RetryPolicy

__all__ = ["Probe"]


class Probe:
    """Asks one Vault about itself; nothing is tried again.

    Args:
        vault_addr: As for `VaultClient`.
        timeout_seconds: How long one request may take.

    Raises:
        VaultConfigurationError: As `VaultClient`; but not for credentials, which `known` tells.
    """

    def __init__(self, vault_addr: str, timeout_seconds: float) -> None:
        self.credentials: VaultCredentialsError | None = None
        """Why there are none, or none that can be used."""
        self.behind_seconds: float | None = None
        """How far this machine's clock is behind the server's, once it has answered."""
        settings: dict[str, Any] = {
            "timeout": timeout_seconds,
            "retry_policy": RetryPolicy(0, max_total_seconds=2 * timeout_seconds),
        }
        logging.getLogger("gds_vault").addHandler(logging.NullHandler())  # what is wrong is told as a finding
        try:
            self._client = VaultClient(vault_addr, **settings)
        except VaultCredentialsError as error:
            self.credentials = error
            self._client = VaultClient(vault_addr, TokenAuth("none"), **settings)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @property
    def shown(self) -> str:
        """The address."""
        return self._client.vault_addr

    @property
    def verified(self) -> bool:
        """Whether the server's certificate is checked, if it has one."""
        return self._client.verify_ssl or not self._client._core.settings.is_secure

    @property
    def has_token(self) -> bool:
        """Whether a client would use a token of somebody else's, and not log in."""
        return is_token(self._client._core.settings.auth)

    def seal_status(self) -> Reply:
        """What it says of its seal.

        Raises:
            VaultConnectionError: It is not reached.
        """
        # Of the whole server, and so of no namespace.
        return self._ask(Call("GET", "sys/seal-status", namespace=""))

    def look_up(self) -> Reply:
        """What it says of the token.

        Raises:
            VaultConnectionError: It is not reached.
        """
        auth: Any = self._client._core.settings.auth
        return self._ask(Call("GET", "auth/token/lookup-self", token=auth.token))

    def _ask(self, call: Call) -> Reply:
        exchange = self._client._core.exchange
        asked = time.time()
        reply = self._client._run(exchange.ask(call, exchange.deadline()))
        with suppress(TypeError, ValueError, OverflowError, IndexError):
            # The header has whole seconds: on average half a second has passed of it.
            told = parsedate_to_datetime(reply.date or "").timestamp()
            self.behind_seconds = told + 0.5 - (asked + time.time()) / 2
        return reply
