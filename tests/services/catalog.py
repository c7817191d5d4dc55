"""What each service is: its binaries, the least version the tests rely on, where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar


class ServiceUnavailable(Exception):
    """This machine cannot have the service; ``reason`` says what is missing and what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Binary:
    """One executable. ``also_called`` are the names under which distributions ship it.

    ``version_flag`` makes it print ``version <number>`` or ``v<number>`` and end; ``None`` where nothing does, and
    another binary that comes with it says which version it is.
    """

    name: str
    also_called: tuple[str, ...] = ()
    version_flag: str | None = "--version"

    @property
    def names(self) -> tuple[str, ...]:
        """Every file name the executable may have, ours first."""
        return (self.name, *self.also_called)


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """Unpacked, not installed, from the package sources configured on the machine.

    The release of the machine decides which version that is, so ``Service.version`` is the least
    one accepted: Debian 12 has exactly it, later releases have later ones.

    ``libraries`` are the other packages it needs that a machine may well not have, of shared
    libraries mostly; the binaries find those without any being installed.
    """

    package: str
    libraries: tuple[str, ...] = ()
    # Variables with a folder that the binaries look into for their other parts, below where all is laid out.
    folders: tuple[tuple[str, str], ...] = ()
    # Where the binaries are, of a package that finds its other files from there: all of it is kept, laid out as it was.
    home: str = ""
    origin: ClassVar[str] = "a Debian package"


@dataclass(frozen=True, slots=True)
class GoModule:
    """Built by ``go install module/package@v<version>``; the checksum database vouches for it."""

    module: str
    version_variable: str
    package: str = ""
    origin: ClassVar[str] = "its source, built with go"


@dataclass(frozen=True, slots=True)
class GoSource:
    """Built from a main package in this repository, pinned by the go.sum beside it."""

    folder: Path
    version_variable: str
    origin: ClassVar[str] = "its source, built with go"


@dataclass(frozen=True, slots=True)
class MavenJars:
    """The jars a ``pom.xml`` in this repository depends on, and a script beside it to run them.

    Maven has to be there to install them, a Java runtime whenever they are used. ``unpacked``: they come in an archive.
    """

    folder: Path
    script: str
    unpacked: bool = False
    origin: ClassVar[str] = "jars, fetched with maven"


@dataclass(frozen=True, slots=True)
class PythonProgram:
    """``server.py`` in this folder, and the packages it imports, pinned by the ``requirements.txt`` beside it.

    They are put into a folder of their own: only that program sees them, in a process of its own, and it sees none of
    the packages of this environment. Their licences are theirs; nothing of the project imports or ships them.
    """

    folder: Path
    origin: ClassVar[str] = "Python packages"


Recipe = DebianPackage | GoModule | GoSource | MavenJars | PythonProgram


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
        # Without the server beside it, which wants a file of templates in a folder of the system's.
        name="amtool",
        version="0.25.0",
        binaries=(Binary("amtool"),),
        recipe=DebianPackage("prometheus-alertmanager"),
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
    Service(
        name="kafka",
        # The version is also in kafka/pom.xml.
        version="4.3.1",
        binaries=(Binary("kafka-run-class"),),
        recipe=MavenJars(folder=Path(__file__).parent / "kafka", script="run-class.sh"),
        use_path=False,
    ),
    Service(
        name="apicurio",
        # The version is also in apicurio/pom.xml; from 3 on it needs a database beside it.
        version="2.6.13",
        binaries=(Binary("apicurio"),),
        recipe=MavenJars(folder=Path(__file__).parent / "apicurio", script="run.sh", unpacked=True),
        use_path=False,
    ),
    Service(
        name="kcat",
        version="1.7.1",
        binaries=(Binary("kcat", also_called=("kafkacat",), version_flag="-V"),),
        recipe=DebianPackage("kcat", libraries=("librdkafka1", "libsasl2-2", "libyajl2")),
    ),
    Service(
        name="kerberos",
        version="1.20.1",
        binaries=(
            *(Binary(name, version_flag=None) for name in ("krb5kdc", "kdb5_util", "kadmin.local", "kinit")),
            Binary("klist", version_flag="-V"),
        ),
        recipe=DebianPackage(
            "krb5-kdc",
            libraries=(
                *("krb5-admin-server", "krb5-user"),
                # Those that a machine often has are here too: they must be of the same build.
                *("libcom-err2", "libgssapi-krb5-2", "libgssrpc4", "libk5crypto3", "libkadm5clnt-mit12"),
                *("libkadm5srv-mit12", "libkdb5-10", "libkeyutils1", "libkrb5-3", "libkrb5support0", "libss2"),
                *("libev4", "libverto-libev1", "libverto1"),
            ),
        ),
    ),
    Service(
        name="vault",
        # The version is also in vault/go.mod.
        version="1.13.2",
        binaries=(Binary("vault", also_called=("bao",)),),
        recipe=GoSource(folder=Path(__file__).parent / "vault", version_variable="main.version"),
    ),
    Service(
        name="postgresql",
        version="15.0",
        binaries=tuple(
            Binary(name) for name in ("postgres", "initdb", "pg_ctl", "pg_basebackup", "pg_dump", "pg_restore")
        ),
        recipe=DebianPackage(
            "postgresql-15",
            libraries=(
                *("postgresql-client-15", "libpq5", "libicu72", "libldap-2.5-0", "libsasl2-2", "libssl3", "libxml2"),
                # Of the same build as one of those above.
                *("libgssapi-krb5-2", "libk5crypto3", "libkrb5-3", "libkrb5support0", "libkeyutils1", "libcom-err2"),
            ),
            home="usr/lib/postgresql/15/bin",
        ),
        # What the path has are wrappers that look for clusters of the machine.
        use_path=False,
    ),
    Service(
        name="pgbouncer",
        version="1.18.0",
        binaries=(Binary("pgbouncer"),),
        recipe=DebianPackage("pgbouncer", libraries=("libc-ares2", "libevent-2.1-7")),
    ),
    Service(
        name="odbc",
        # FreeTDS's driver for SQL Server, and the driver manager that pyodbc loads; the binary says what version it is.
        version="2.3.11",
        binaries=(Binary("odbcinst"),),
        recipe=DebianPackage("odbcinst", libraries=("tdsodbc", "libodbc2", "libodbcinst2", "libltdl7")),
        # What the path has may be without the driver.
        use_path=False,
    ),
    Service(
        # No server: what counts instructions, for `make bench-check`.
        name="valgrind",
        version="3.19.0",
        binaries=(Binary("valgrind"),),
        recipe=DebianPackage("valgrind", folders=(("VALGRIND_LIB", "usr/libexec/valgrind"),), home="usr/bin"),
    ),
    Service(
        name="toxiproxy",
        version="2.12.0",
        binaries=(Binary("toxiproxy-server"),),
        recipe=GoModule(
            module="github.com/Shopify/toxiproxy/v2",
            version_variable="github.com/Shopify/toxiproxy/v2.Version",
            package="cmd/server",
        ),
    ),
    Service(
        name="mongodb",
        # SecantusDB, which speaks MongoDB's protocol; the version is also in mongodb/requirements.txt.
        version="0.7.0",
        binaries=(Binary("mongodb-emulator"),),
        recipe=PythonProgram(Path(__file__).parent / "mongodb"),
        use_path=False,
    ),
    Service(
        name="ferretdb",
        # The version is also in ferretdb/go.mod; the last one that keeps things in a PostgreSQL without extensions.
        version="1.24.0",
        binaries=(Binary("ferretdb"),),
        recipe=GoSource(folder=Path(__file__).parent / "ferretdb", version_variable="main.version"),
        # Another one may have been built to keep things elsewhere.
        use_path=False,
    ),
    Service(
        name="snowflake",
        # fakesnow, which speaks Snowflake's protocol; the version is also in snowflake/requirements.txt.
        version="0.12.1",
        binaries=(Binary("snowflake-emulator"),),
        recipe=PythonProgram(Path(__file__).parent / "snowflake"),
        use_path=False,
    ),
)

SERVICES: Mapping[str, Service] = MappingProxyType({s.name: s for s in _SERVICES})
