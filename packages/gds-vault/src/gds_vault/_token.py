"""A token, and when it wants to be renewed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

__all__ = ["Token"]

RENEW_BELOW = 1 / 3
"""A token is renewed when less than this part of what its login gave it is left."""

POSTPONED_SECONDS = 10.0
"""How long a renewal that failed is not tried again, while the token lasts."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token; times are by the clock of the cache.

    Attributes:
        value: The token itself.
        ttl_seconds: What its login gave it; infinite for one that does not expire.
        expires_at: When it ends.
        renewable: Whether Vault renews it.
        not_before: When a renewal is tried next at the earliest.
        verified: Whether Vault has ever told us of it.
    """

    value: str = field(repr=False)
    ttl_seconds: float = math.inf
    expires_at: float = math.inf
    renewable: bool = False
    not_before: float = -math.inf
    verified: bool = True

    @classmethod
    def granted(cls, value: str, ttl_seconds: float, renewable: bool, began_at: float) -> Token:
        """One that a login or a lookup told of; a ttl of 0 is Vault's word for a token that does not expire."""
        ttl_seconds = ttl_seconds or math.inf
        return cls(value, ttl_seconds, began_at + ttl_seconds, renewable)

    def expired(self, now: float) -> bool:
        """Whether Vault has ended it."""
        return now >= self.expires_at

    def due(self, now: float) -> bool:
        """Whether it is time for a renewal."""
        return now >= self.not_before and self.expires_at - now < self.ttl_seconds * RENEW_BELOW

    def renewed(self, ttl_seconds: float, renewable: bool, began_at: float) -> Token:
        """The same token with a new end. What its login gave it stays the measure, so that a maximum is noticed."""
        expires_at = began_at + (ttl_seconds or math.inf)
        return replace(self, expires_at=expires_at, renewable=renewable, not_before=-math.inf)

    def postponed(self, now: float) -> Token:
        """The same token, left alone for a while."""
        return replace(self, not_before=now + min(POSTPONED_SECONDS, max(self.expires_at - now, 0) / 3))
