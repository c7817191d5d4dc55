"""A running `gds alert run`: credentials, what it says, signals, changes of the file."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType

    from gds_native._lib import AlertService

__all__ = ["Watching", "state_file"]

PREFIX = "GDS_ALERTING_"
LOOK_SECONDS = 0.2
"""How long a signal may go unheard."""


def state_file(hub: str, group: str) -> Path:
    """Beside a hub of this machine, whose it is; of a cluster in this folder."""
    if hub.startswith("embedded:"):
        folder = Path(hub.removeprefix("embedded:")).expanduser()
        return folder.with_name(f"{folder.name}.alerting-{group}.redb")
    return Path(f"gds-alerting-{group}.redb")


class Watching:
    """What is watched for, until a signal ends it."""

    def __init__(
        self,
        rules: Path,
        hub: str,
        config: Mapping[str, object],
        group: str,
        state: Path | None,
        topics: Sequence[str],
        vault_secret: str | None,
        api: dict[str, object] | None,
    ) -> None:
        self._rules = rules
        self._hub = hub
        self._config = config
        self._group = group
        self._state = state_file(hub, group) if state is None else state
        self._topics = list(topics)
        self._vault_secret = vault_secret
        self._api = api
        self._ends = threading.Event()
        self._reloads = threading.Event()

    def run(self) -> int:
        """Watch to the end; the exit code."""
        text = self._rules.read_text("utf-8")
        with self._signals():
            service = self._started(text)
            self._say("note", f"watching {self._hub} with {self._rules}; state in {self._state}")
            if service.address is not None:
                host, port = service.address
                self._say("note", f"API on {host}:{port}")
            changed = self._stamp()
            while not service.wait(LOOK_SECONDS):
                stamp = self._stamp()
                if self._ends.is_set():
                    service.stop()
                elif stamp not in {None, changed} or self._reloads.is_set():
                    changed = stamp
                    self._reloads.clear()
                    self._reload(service)
        self._say("note", "ended; what was not delivered goes out with the next start")
        return 0

    def _started(self, text: str) -> AlertService:
        from gds_kafka._client import log, opening
        from gds_native._lib import AlertService

        opened = opening(self._hub, self._config)
        return AlertService(
            text,
            opened.servers,
            opened.config,
            opened.librdkafka,
            group=self._group,
            state=self._state,
            topics=self._topics,
            credentials=self._credentials(),
            say=self._say,
            listen=self._api,
            log=log,
            token=opened.token,
        )

    def _credentials(self) -> dict[str, str]:
        found = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
        if self._vault_secret is None:
            return found
        try:
            from gds_vault import VaultClient
        except ImportError:
            raise ValueError("--vault-secret needs: pip install gds-vault") from None
        with VaultClient() as vault:
            secret = vault.get_secret(self._vault_secret)
        # What somebody sets here by hand wins.
        return {name: str(value) for name, value in secret.items()} | found

    def _reload(self, service: AlertService) -> None:
        try:
            service.reload(self._rules.read_text("utf-8"))
        except (OSError, ValueError) as error:
            for line in str(error).splitlines():
                self._say("warning", f"{self._rules}:{line}")
            self._say("warning", f"{self._rules} stays as it was before")
        else:
            self._say("note", f"{self._rules} was read again")

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._rules.stat()
        except OSError:
            # Some editors remove a file before they write it.
            return None
        return found.st_mtime_ns, found.st_size

    @staticmethod
    def _say(kind: str, text: str) -> None:
        if kind == "notification":
            print(text, flush=True)
        else:
            print(f"gds: {text}", file=sys.stderr, flush=True)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def ends(_number: int, _frame: FrameType | None) -> None:
            self._ends.set()

        def reloads(_number: int, _frame: FrameType | None) -> None:
            self._reloads.set()

        with ExitStack() as stack:
            for number, handler in ((signal.SIGINT, ends), (signal.SIGTERM, ends), (signal.SIGHUP, reloads)):
                before: Any = signal.signal(number, handler)
                stack.callback(signal.signal, number, before)
            yield
