"""How a library takes ``metrics=``: it reports, and never asks to whom.

`VaultClient` stands in for a client of a secret store. Without ``metrics=`` it reports to `NoOpMetrics`, so that no
line of it has to ask whether there is a collector.
"""

from __future__ import annotations

from gds_metrics import ConsoleMetrics, MetricsCollector, NoOpMetrics, timed


class UnknownSecretError(KeyError):
    """The store has no such secret."""


class VaultClient:
    """Reads secrets and keeps those it has read.

    Args:
        store: What stands in for the server.
        metrics: Any object with the four methods of a collector; None reports nothing.
    """

    def __init__(self, store: dict[str, str], *, metrics: MetricsCollector | None = None) -> None:
        self._store = store
        self._cache: dict[str, str] = {}
        self._metrics = metrics or NoOpMetrics()

    def secret(self, path: str) -> str:
        """The secret at ``path``, from the cache or the store.

        Raises:
            UnknownSecretError: There is none.
        """
        if path in self._cache:
            self._metrics.increment("vault.cache", labels={"result": "hit"})
            return self._cache[path]
        self._metrics.increment("vault.cache", labels={"result": "miss"})
        # A failure is timed too, with the label error_type.
        with timed(self._metrics, "vault.secret.fetch"):
            if path not in self._store:
                raise UnknownSecretError(path)
            self._cache[path] = self._store[path]
        self._metrics.gauge("vault.cache.size", len(self._cache))
        return self._cache[path]


def main() -> None:
    """Two reads and one of nothing, shown in the terminal."""
    client = VaultClient({"db/password": "stands in for a secret"}, metrics=ConsoleMetrics(prefix="app"))
    client.secret("db/password")
    client.secret("db/password")
    try:
        client.secret("db/nothing")
    except UnknownSecretError as error:
        print(f"not found: {error}")

    quiet = VaultClient({"db/password": "stands in for a secret"})
    quiet.secret("db/password")


if __name__ == "__main__":
    main()
