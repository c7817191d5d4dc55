"""`AlertNotifier`: who is told of alerts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gds_alerting.alert import Alert

__all__ = ["AlertNotifier", "Delivery"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one attempt.

    Attributes:
        delivered: The receiver has it.
        final: It will never take it, so it is not tried again.
        retry_after_seconds: When the receiver wants to be asked again; None leaves it to the system.
        reason: Why it was not delivered, without secrets.
    """

    delivered: bool
    final: bool = False
    retry_after_seconds: float | None = None
    reason: str = ""


class AlertNotifier(ABC):
    """Tells somebody of alerts: of those that fire, and, with ``alert.state`` ``resolved``, of their end.

    A system awaits it in a thread and an event loop of its own, so that one that hangs delays no other: clients that
    belong to an event loop are opened in `notify`.
    """

    timeout: float = 30.0
    """Seconds that one attempt may take."""

    @abstractmethod
    async def notify(self, alert: Alert) -> bool:
        """Tell somebody; whether the receiver has it. A system tries again where it has not, or where this raises."""

    async def deliver(self, alert: Alert) -> Delivery:
        """As `notify`, for what knows more of a failure than that it was one."""
        return Delivery(await self.notify(alert))

    async def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of what is held; a system calls it when it stops."""
