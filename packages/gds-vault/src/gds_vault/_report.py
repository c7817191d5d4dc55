"""What a client tells its collector and its log. Whatever they raise goes no further."""

from __future__ import annotations

import logging
import re
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from gds_vault.exceptions import VaultConfigurationError

if TYPE_CHECKING:
    from typing import Protocol

    class Metrics(Protocol):
        """The part of a collector that is needed here; any collector of ``gds_metrics`` has it."""

        def increment(self, name: str, value: float = 1, labels: dict[str, str] | None = None) -> object:
            """Add to a counter."""

        def gauge(self, name: str, value: float, labels: dict[str, str] | None = None) -> object:
            """Set a gauge."""

        def timing(self, name: str, value_ms: float, labels: dict[str, str] | None = None) -> object:
            """Add one duration, in milliseconds."""


__all__ = ["Metrics", "Report", "logger"]

logger = logging.getLogger("gds_vault")

OTHER = "other"
"""The label of all paths beyond the first ones."""

# Who passes a token where a path belongs must not find it on a page.
_LIKE_A_TOKEN = re.compile(r"\b(?:hv[sbr]|[sbr])\.[A-Za-z0-9_-]{20,}")
_MAX_LABEL = 200


class _NoMetrics:
    """Takes everything and keeps nothing: what ``metrics=None`` becomes."""

    __slots__ = ()

    def increment(self, name: str, value: float = 1, labels: dict[str, str] | None = None) -> None:
        pass

    def gauge(self, name: str, value: float, labels: dict[str, str] | None = None) -> None:
        pass

    def timing(self, name: str, value_ms: float, labels: dict[str, str] | None = None) -> None:
        pass


class Report:
    """Tells of one client.

    Args:
        metrics: Any collector; None is none.
        max_paths: How many paths get a label of their own; the others share one.
    """

    def __init__(self, metrics: Metrics | None, max_paths: int) -> None:
        if metrics is None:
            metrics = _NoMetrics()
        for method in ("increment", "gauge", "timing"):
            if not callable(getattr(metrics, method, None)):
                raise VaultConfigurationError(
                    f"metrics: expected a collector with the method {method}, got {type(metrics).__name__}"
                )
        self._metrics = metrics
        self._max_paths = max_paths
        self._paths: set[str] = set()
        self.renew()

    def renew(self) -> None:
        """A thread that held the lock does not exist in a forked child."""
        self._lock = threading.RLock()

    def path_label(self, path: str) -> str:
        """The path, or the name that all further ones share."""
        if path in self._paths:
            return path
        with self._lock:
            if len(self._paths) >= self._max_paths or len(path) > _MAX_LABEL or _LIKE_A_TOKEN.search(path):
                return OTHER
            self._paths.add(path)
        return path

    # ------------------------------------------------------------------ counts
    def _increment(self, name: str, labels: dict[str, str] | None = None) -> None:
        try:
            self._metrics.increment(name, 1, labels)
        except Exception as error:  # noqa: BLE001 - a broken collector must not break what it observes
            self._broken(error)

    def hit(self, path: str) -> None:
        """A secret came from the cache."""
        self._increment("vault.secret.hit", {"path": self.path_label(path)})
        if logger.isEnabledFor(logging.DEBUG):
            self.debug("%r is in the cache", path)

    def miss(self, path: str) -> None:
        """A secret was looked for in the cache and is not there, or not any more."""
        self._increment("vault.secret.miss", {"path": self.path_label(path)})
        if logger.isEnabledFor(logging.DEBUG):
            self.debug("%r is not in the cache", path)

    def fetched(self, path: str, milliseconds: float) -> None:
        """A secret was asked for, with whatever result."""
        try:
            self._metrics.timing("vault.secret.fetch", milliseconds, {"path": self.path_label(path)})
        except Exception as error:  # noqa: BLE001 - as above
            self._broken(error)

    def failed(self, path: str, kind: str) -> None:
        """A call ended with an exception of a kind."""
        self._increment("vault.secret.error", {"type": kind, "path": self.path_label(path)})

    def authenticated(self, method: str, success: bool) -> None:
        """A login ended."""
        self._increment("vault.auth.success" if success else "vault.auth.failure", {"method": method})

    def renewed(self) -> None:
        """The token was renewed."""
        self._increment("vault.token.renewed")

    def token_ttl(self, seconds: float) -> None:
        """What is left of the token."""
        try:
            self._metrics.gauge("vault.token.ttl_seconds", max(0.0, seconds), None)
        except Exception as error:  # noqa: BLE001 - as above
            self._broken(error)

    # ------------------------------------------------------------------ lines
    def debug(self, message: str, *arguments: object) -> None:
        """A line for who looks closely."""
        _log(logging.DEBUG, message, arguments)

    def info(self, message: str, *arguments: object) -> None:
        """A line about the life of a client."""
        _log(logging.INFO, message, arguments)

    def warning(self, message: str, *arguments: object) -> None:
        """A line about something that should be seen to."""
        _log(logging.WARNING, message, arguments)

    def _broken(self, error: Exception) -> None:
        if self._metrics_broke:
            return
        self._metrics_broke = True
        # Its text may be anything, so only its class is named.
        self.warning("the collector raised %s; further failures of it are not mentioned", type(error).__name__)

    _metrics_broke = False


def _log(level: int, message: str, arguments: tuple[object, ...]) -> None:
    with suppress(Exception):  # nor must a broken log
        logger.log(level, message, *arguments, stacklevel=3)
