"""One fetch for all who want the same at the same time."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

    from gds_vault._wire import Once, Steps
    from gds_vault.cache import Ticket
    from gds_vault.exceptions import VaultError

__all__ = ["Flight", "copied"]

F = TypeVar("F")


class Flight(Generic[F]):
    """Steps that are run by one and waited for by others.

    Args:
        once: What is wanted.
        future: What the others wait for.
        owner: The thread that runs it.
    """

    __slots__ = ("future", "key", "owner", "steps", "ticket")

    def __init__(self, once: Once, future: F, owner: int) -> None:
        self.key: Hashable = once.key
        self.ticket: Ticket | None = None if once.ticket is None else once.ticket()
        self.steps: Steps[Any] = once.start(self.ticket)
        self.future = future
        self.owner = owner

    @property
    def stale(self) -> bool:
        """Whether a write has happened since it began: who comes now must not get what was before it."""
        return self.ticket is not None and self.ticket.stale


def copied(error: VaultError) -> VaultError:
    """A copy of the error for somebody else: raising one object in several places would mix their tracebacks."""
    return copy.copy(error)
