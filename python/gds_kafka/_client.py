"""What the clients have in common: how they are told where to go, what is a Python object in their settings, their log.

Settings are checked in Rust, by one table for all clients; an unknown one is a `KafkaConfigurationError` that names the
nearest known one. Here only those are taken out that are functions, which Rust calls back.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from gds_kafka.errors import KafkaConfigurationError
from gds_metrics._collector import Managed, Pinned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    Token: TypeAlias = tuple[str, float, str, dict[str, str]]

__all__ = ["Client", "Opening", "log", "opening", "shown_servers"]

TOKEN_SECONDS = 300.0
"""How long a token is used whose provider does not say how long it is good for."""

# Levels of syslog, which librdkafka has, as those of `logging`.
_LEVELS = (50, 50, 50, 40, 30, 20, 20, 10)


class Client(Managed, Pinned):
    """What connects to a hub."""

    __slots__ = ()

    def _close_at_exit(self, timeout_seconds: float) -> None:
        """At the end of the program: within the client's own bound, whatever others need."""
        del timeout_seconds
        self.close()


class Opening(NamedTuple):
    """What a client opens with."""

    servers: list[str]
    config: dict[str, object]
    librdkafka: dict[str, object]
    token: Callable[[], Token] | None


def opening(bootstrap_servers: str | Sequence[str], config: Mapping[str, object]) -> Opening:
    """Where to go, the settings that Rust checks, librdkafka's own, and who has tokens."""
    settings = dict(config)
    token = settings.pop("sasl_oauth_token_provider", None)
    given = settings.pop("librdkafka", None)
    librdkafka: dict[str, object] = {}
    if given is not None:
        if not hasattr(given, "items"):
            raise KafkaConfigurationError(
                f"librdkafka is of type {type(given).__name__}: expected a dict of its dotted settings, "
                "such as {'socket.nagle.disable': True}"
            )
        librdkafka = {str(name): value for name, value in given.items()}
    return Opening(_servers(bootstrap_servers), settings, librdkafka, None if token is None else _provider(token))


def _servers(given: str | Sequence[str]) -> list[str]:
    # What stands in them is checked in Rust.
    if isinstance(given, str):
        return [given]
    servers: list[Any] = list(given) if isinstance(given, (list, tuple)) else []
    if servers and all(isinstance(server, str) for server in servers):
        return servers
    raise KafkaConfigurationError(
        f"bootstrap_servers is of type {type(given).__name__}: expected 'host:port', several with commas or as a list, "
        "or 'embedded:PATH'"
    )


def shown_servers(servers: Sequence[str]) -> str:
    """Servers for people."""
    return ",".join(servers)


def _provider(given: object) -> Callable[[], Token]:
    ask = getattr(given, "token", given)  # kafka-python's providers are objects with a method
    if not callable(ask):
        raise KafkaConfigurationError(
            f"sasl_oauth_token_provider is of type {type(given).__name__}: expected a function, or an object with a "
            "method token(), that returns the token, or a tuple of token and expiry in seconds since the epoch"
        )

    def token() -> Token:
        answer: Any = ask()
        if isinstance(answer, str):
            return answer, time() + TOKEN_SECONDS, "", {}
        value, expires, *rest = answer
        return str(value), float(expires), str(rest[0]) if rest else "", dict(rest[1]) if len(rest) > 1 else {}

    return token


def log(level: int, facility: str, message: str) -> None:
    """A line of librdkafka or of the hub, to the log ``gds_kafka``; what a handler raises goes no further."""
    import logging
    from contextlib import suppress

    with suppress(Exception):
        logging.getLogger("gds_kafka").log(
            _LEVELS[level] if 0 <= level < len(_LEVELS) else 20, "%s: %s", facility, message
        )
