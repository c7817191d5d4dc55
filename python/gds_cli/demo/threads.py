"""Threads that work until they are told to stop."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Threads"]

JOIN_SECONDS = 15.0


class Threads:
    """Daemon threads, one for each function; what ends one of them early is a defect, and the others go on.

    Args:
        plays: What they do until ``_stop`` is set.
        name: Their names begin with it.
    """

    def __init__(self, plays: Sequence[Callable[[], None]], name: str) -> None:
        self._stop = threading.Event()
        self.defects: list[str] = []
        """What ended a thread that should have gone on."""
        self._threads = [
            threading.Thread(target=self._guarded, args=(play,), name=f"{name}-{number}", daemon=True)
            for number, play in enumerate(plays)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, and wait for that; nothing if it has ended."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(JOIN_SECONDS)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self.defects += [f"{thread.name} did not end" for thread in self._threads]

    def _guarded(self, play: Callable[[], None]) -> None:
        try:
            play()
        except Exception as error:  # noqa: BLE001 - the summary says so
            said = " ".join(str(error).split())
            self.defects.append(f"{threading.current_thread().name}: {type(error).__name__}: {said}")
