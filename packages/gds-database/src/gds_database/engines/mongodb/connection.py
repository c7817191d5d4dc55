"""A connection to MongoDB: a ``MongoClient`` and what it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gds_database.base import ConfigurableComponent, DatabaseConnection, ResourceManager
from gds_database.engines._base import driver
from gds_database.engines.mongodb._documents import Documents
from gds_database.engines.mongodb._errors import translated
from gds_database.errors import ConfigurationError

if TYPE_CHECKING:
    from gds_database.config import EngineConfig

__all__ = ["MongoDBConnection"]

PORT = 27017
# What a config of the earlier package says for people; it is kept, and no option of a client.
DESCRIPTIVE = frozenset({"instance_name", "environment", "description", "tags", "metadata"})
# pymongo waits for 30 s for a server that is not there, and for ever for one that does not answer.
WAITS = {"serverSelectionTimeoutMS": 10_000, "connectTimeoutMS": 10_000}


class MongoDBConnection(Documents, DatabaseConnection, ConfigurableComponent, ResourceManager):  # type: ignore[misc]
    """A client of one server, replica set or mongos.

    Args:
        host: A name or an address, by default ``localhost``; several as ``"a:27017,b:27017"``.
        port: By default 27017.
        database: Of `execute_query`; by default that of the address, else ``test``.
        username: Who.
        password: In no ``repr``, error or log of ours.
        connection_string: A ``mongodb://`` or ``mongodb+srv://`` address instead of host and port.
        auth_source: The database that knows the user; by default ``admin``.
        auth_mechanism: By default the best one that the server has.
        replica_set: Its name.
        tls: Whether to use TLS.
        config: A dict with these, or an object whose ``build_connection_params()`` returns arguments of a client.
        kwargs: Further options of ``pymongo.MongoClient``, such as ``tlsCAFile`` or ``directConnection``.
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        database: str | None = None,
        username: str | None = None,
        password: str | None = None,
        connection_string: str | None = None,
        auth_source: str | None = None,
        auth_mechanism: str | None = None,
        replica_set: str | None = None,
        tls: bool | None = None,
        config: Any = None,
        **kwargs: Any,
    ) -> None:
        given = {
            "host": host,
            "port": port,
            "database": database,
            "username": username,
            "password": password,
            "connection_string": connection_string,
            "auth_source": auth_source,
            "auth_mechanism": auth_mechanism,
            "replica_set": replica_set,
            "tls": tls,
        }
        known = _settings(config)
        extra = {name: value for name, value in known.items() if name not in given and name not in DESCRIPTIVE}
        known = {name: value for name, value in known.items() if name not in extra}
        known |= {name: value for name, value in given.items() if value is not None}
        self.password: str | None = known.pop("password", None)
        self._options = {**WAITS, **extra, **kwargs}
        self._address = known.pop("connection_string", None)
        if self._address is not None:
            self._read_address(known)
        self.client: Any = None
        super().__init__(known)

    def __repr__(self) -> str:
        user = f", user={self.get_config('username')!r}" if self.get_config("username") else ""
        return f"{type(self).__name__}({self._where()!r}{user})"

    @classmethod
    def of(cls, config: EngineConfig) -> MongoDBConnection:
        """As an address says: its options are those of MongoDB's connection strings."""
        hosts = ",".join(f"{host}:{port}" if port else host for host, port in config.hosts or (("localhost", None),))
        scheme = "mongodb+srv" if config.scheme == "mongodb+srv" else "mongodb"
        options: dict[str, Any] = {}
        for name, value in config.options.items():
            options |= _checked(name, value) if isinstance(value, str) else {name: value}
        return cls(
            connection_string=f"{scheme}://{hosts}/",
            database=config.database,
            username=config.user,
            password=config.password,
            **options,
        )

    def _read_address(self, known: dict[str, Any]) -> None:
        """Where an address leads and who asks; its password is kept apart."""
        parser = driver("pymongo.uri_parser", "mongodb")
        if not isinstance(self._address, str) or not self._address.startswith(("mongodb://", "mongodb+srv://")):
            raise ConfigurationError(
                "connection_string: expected an address such as mongodb://user@host:27017/?replicaSet=rs0"
            )
        if self._address.startswith("mongodb+srv://"):
            # Its hosts are in the DNS, which is asked when it connects.
            known.setdefault("host", self._address.partition("://")[2].rpartition("@")[2].partition("/")[0])
            return
        try:
            found = parser.parse_uri(self._address, warn=False)
        except (ValueError, driver("pymongo.errors", "mongodb").PyMongoError) as error:
            # What the driver says may hold a part of the password.
            said = str(error) if "@" not in self._address else "escape a user and a password by urllib.parse.quote_plus"
            raise ConfigurationError(f"connection_string: cannot be read: {said}") from None
        nodes = found["nodelist"]
        if len(nodes) == 1:
            known.setdefault("host", nodes[0][0])
            known.setdefault("port", nodes[0][1])
        else:
            known.setdefault("host", ",".join(f"{host}:{port}" for host, port in nodes))
        for name, value in (("username", found["username"]), ("database", found["database"])):
            if value is not None:
                known.setdefault(name, value)
        self.password = self.password or found["password"]

    def validate_config(self) -> bool:
        """Whether the settings can be used; `ConfigurationError` if not."""
        port = self.get_config("port")
        if port is not None and not (isinstance(port, int) and 0 < port < 65536):
            raise ConfigurationError(f"port={port!r}: expected a number from 1 to 65535")
        if self.password is not None and not self.get_config("username"):
            raise ConfigurationError("password: expected username= with it")
        return True

    def _where(self) -> str:
        host, port = self.get_config("host", "localhost"), self.get_config("port")
        return f"{host}:{port}" if port and "," not in host else str(host)

    def connect(self) -> Any:
        """Connect; the ``MongoClient``, which has answered once.

        Raises:
            DatabaseConnectionError: The server cannot be reached or refuses the login.
        """
        if self.client is None:
            pymongo = driver("pymongo", "mongodb")
            try:
                client = pymongo.MongoClient(**self.arguments())
            except (ValueError, TypeError, pymongo.errors.PyMongoError) as error:
                raise ConfigurationError(f"{self!r}: {self._without_password(str(error))}") from None
            failed = None
            try:
                client.admin.command("ping")
            except Exception as error:  # noqa: BLE001 - whatever it is, the client is closed
                client.close()
                failed = translated(error, self._without_password)
            if failed is not None:
                raise failed
            self.client = client
        return self.client

    def arguments(self) -> dict[str, Any]:
        """What the client is made with, the password too; also one for asyncio."""
        names = {
            "auth_source": "authSource",
            "auth_mechanism": "authMechanism",
            "replica_set": "replicaSet",
            "tls": "tls",
            "username": "username",
        }
        found = {ours: self.get_config(name) for name, ours in names.items()}
        found |= {"password": self.password, "host": self._address or self.get_config("host")}
        if self._address is None:
            found["port"] = self.get_config("port", PORT)
        return {
            **{name: value for name, value in found.items() if value is not None},
            **self._options,
            "tz_aware": True,
        }

    def _without_password(self, text: str) -> str:
        return text.replace(self.password, "********") if self.password else text

    def disconnect(self) -> None:
        """Close; does nothing when it is closed."""
        client, self.client = self.client, None
        if client is not None:
            client.close()

    def is_connected(self) -> bool:
        """Whether `connect` was called; the client finds a server that was away again by itself."""
        return self.client is not None

    def get_connection_info(self) -> dict[str, Any]:
        """Where it leads, and who asks."""
        return {
            "host": self.get_config("host", "localhost"),
            # Several hosts have theirs with them.
            "port": self.get_config("port", None if "," in self.get_config("host", "") else PORT),
            "database": self.get_config("database"),
            "user": self.get_config("username"),
            "replica_set": self.get_config("replica_set"),
            "connected": self.is_connected(),
        }

    def initialize(self) -> None:
        """Connect."""
        self.connect()

    def cleanup(self) -> None:
        """Close."""
        self.disconnect()

    def is_initialized(self) -> bool:
        """Whether it is open."""
        return self.is_connected()


def _settings(config: Any) -> dict[str, Any]:
    """The settings in whatever form they are given."""
    if config is None:
        return {}
    if isinstance(config, Mapping):
        return dict(config)
    inner = getattr(config, "config", None)
    if isinstance(inner, Mapping):
        return dict(inner)
    raise ConfigurationError(f"config: expected a dict or an object with the dict config, got {type(config).__name__}")


def _checked(name: str, value: str) -> Mapping[str, Any]:
    """An option of an address with its type; the error for an unknown one tells the nearest."""
    parser = driver("pymongo.uri_parser", "mongodb")
    try:
        found: Mapping[str, Any] = parser.validate_options(parser.split_options(f"{name}={quote(value)}"), False)
    except (ValueError, TypeError, driver("pymongo.errors", "mongodb").PyMongoError) as error:
        raise ConfigurationError(f"options: {name}: {error}") from None
    return dict(found)
