"""The first client of all, for programs that were written for it; new ones use `gds_vault.VaultClient`."""

from __future__ import annotations

from gds_vault.legacy.vault import VaultClient, get_secret_from_vault, retry_with_backoff

__all__ = ["VaultClient", "get_secret_from_vault", "retry_with_backoff"]
