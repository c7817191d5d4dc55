"""What each service is: its binaries, the least version the tests rely on, where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType


class ServiceUnavailable(Exception):
    """This machine cannot have the service; ``reason`` says what is missing and what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Binary:
    """One executable. ``also_called`` are the names under which distributions ship it."""

    name: str
    also_called: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every file name the executable may have, ours first."""
        return (self.name, *self.also_called)


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """Unpacked, not installed, from the package sources configured on the machine.

    The release of the machine decides which version that is, so ``Service.version`` is the least
    one accepted: Debian 12 has exactly it, later releases have later ones.
    """

    package: str


@dataclass(frozen=True, slots=True)
class GoModule:
    """Built by ``go install module@v<version>``; the checksum database vouches for it."""

    module: str
    version_variable: str


@dataclass(frozen=True, slots=True)
class GoSource:
    """Built from a main package in this repository, pinned by the go.sum beside it."""

    folder: Path
    version_variable: str


Recipe = DebianPackage | GoModule | GoSource


@dataclass(frozen=True, slots=True)
class Service:
    """One row of the catalog.

    ``use_path`` is false where a binary of the same name on the path cannot be relied on to have
    been built with the parts the tests need.
    """

    name: str
    version: str
    binaries: tuple[Binary, ...]
    recipe: Recipe
    use_path: bool = True


_SERVICES = (
    Service(
        name="prometheus",
        version="2.42.0",
        binaries=(Binary("prometheus"), Binary("promtool")),
        recipe=DebianPackage("prometheus"),
    ),
    Service(
        name="pushgateway",
        version="1.5.1",
        binaries=(Binary("pushgateway", also_called=("prometheus-pushgateway",)),),
        recipe=DebianPackage("prometheus-pushgateway"),
    ),
    Service(
        name="otelcol",
        # The version is also in otelcol/go.mod; the newest release whose modules all resolve.
        version="0.120.0",
        binaries=(Binary("otelcol"),),
        recipe=GoSource(
            folder=Path(__file__).parent / "otelcol",
            version_variable="main.version",
        ),
        use_path=False,
    ),
    Service(
        name="statsd_exporter",
        version="0.31.0",
        binaries=(Binary("statsd_exporter", also_called=("prometheus-statsd-exporter",)),),
        recipe=GoModule(
            module="github.com/prometheus/statsd_exporter",
            version_variable="github.com/prometheus/common/version.Version",
        ),
    ),
)

SERVICES: Mapping[str, Service] = MappingProxyType({s.name: s for s in _SERVICES})
