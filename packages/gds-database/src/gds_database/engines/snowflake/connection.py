"""A connection to Snowflake: the connector's, and what it was made of."""

from __future__ import annotations

import copy
import logging
import time
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gds_database.base import ConfigurableComponent, DatabaseConnection, ResourceManager
from gds_database.engines._base import driver, only
from gds_database.engines.snowflake._errors import translated
from gds_database.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from gds_database.config import EngineConfig

__all__ = ["SnowflakeConnection"]

logger = logging.getLogger("gds_database")

# The connector waits for ever for a network that is not there.
WAITS = {"login_timeout": 30, "network_timeout": 120}
# Further arguments of the connector's connect() that an address may have.
OPTIONS = (
    *("account", "warehouse", "role", "schema", "host", "port", "protocol", "region", "authenticator", "token"),
    *("passcode", "private_key_file", "private_key_file_pwd", "login_timeout", "network_timeout", "socket_timeout"),
    *("proxy_host", "proxy_port", "proxy_user", "proxy_password", "session_parameters", "application"),
    *("client_session_keep_alive", "ocsp_fail_open", "disable_ocsp_checks", "workload_identity_provider"),
)
NUMBERS = ("port", "login_timeout", "network_timeout", "socket_timeout", "proxy_port")
# What is told of a session, and by which function.
_TOLD = {
    "account_name": "CURRENT_ACCOUNT",
    "current_user": "CURRENT_USER",
    "current_role": "CURRENT_ROLE",
    "current_warehouse": "CURRENT_WAREHOUSE",
    "current_database": "CURRENT_DATABASE",
    "snowflake_version": "CURRENT_VERSION",
    "region": "CURRENT_REGION",
}
SECRETS = ("password", "passcode", "token", "private_key_file_pwd", "proxy_password", "private_key_passphrase")


class SnowflakeConnection(DatabaseConnection, ConfigurableComponent, ResourceManager):
    """A session of one account.

    Args:
        account: Its identifier, such as ``myorg-myaccount``.
        user: Who.
        warehouse: What computes; looking at an account needs one for the views of ``ACCOUNT_USAGE``.
        role: By default the user's own.
        database: By default none.
        vault_namespace: Of Vault.
        vault_secret_path: A secret of Vault with ``private_key`` or ``password``, and ``user`` if that is not given;
            needs gds-vault.
        vault_mount_point: Of the secret.
        vault_role_id: An AppRole of Vault; by default the environment's.
        vault_secret_id: Its secret.
        vault_addr: Where Vault is; by default the environment's.
        config: A dict with the arguments below, and further ones of ``snowflake.connector.connect``.
        password: In no ``repr``, error or log of ours.
        private_key: In DER as bytes, or in PEM without a passphrase as text.
        options: Further arguments of ``snowflake.connector.connect``, such as ``private_key_file``.
    """

    def __init__(
        self,
        account: str,
        user: str | None = None,
        warehouse: str | None = None,
        role: str | None = None,
        database: str | None = None,
        vault_namespace: str | None = None,
        vault_secret_path: str | None = None,
        vault_mount_point: str | None = None,
        vault_role_id: str | None = None,
        vault_secret_id: str | None = None,
        vault_addr: str | None = None,
        config: dict[str, Any] | None = None,
        *,
        password: str | None = None,
        private_key: bytes | str | None = None,
        **options: Any,
    ) -> None:
        only(options, type(self).__name__, *OPTIONS)
        given = {"user": user, "warehouse": warehouse, "role": role, "database": database}
        known = {**(config or {}), **options, **{name: value for name, value in given.items() if value is not None}}
        self.account = account
        self.password: str | None = password if password is not None else known.pop("password", None)
        self._private_key: bytes | str | None = (
            private_key if private_key is not None else known.pop("private_key", None)
        )
        self._vault = {
            "namespace": vault_namespace,
            "secret_path": vault_secret_path,
            "mount_point": vault_mount_point,
            "role_id": vault_role_id,
            "secret_id": vault_secret_id,
            "addr": vault_addr,
        }
        self.connection: Any = None
        super().__init__(known)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.account!r}, user={self.get_config('user')!r})"

    @classmethod
    def of(cls, config: EngineConfig) -> SnowflakeConnection:
        """As an address says: ``snowflake://user@account/database?warehouse=W&role=R``.

        With the option ``account`` its host is where that account is reached.
        """
        options = dict(config.options)
        only(options, "options", *OPTIONS)
        account = options.pop("account", None)
        if account is not None and config.host:
            options.setdefault("host", config.host)
        if config.port:
            options.setdefault("port", config.port)
        for name in NUMBERS:
            if isinstance(options.get(name), str):
                if not options[name].isdigit():
                    raise ConfigurationError(f"options: {name}={options[name]!r}: expected a number")
                options[name] = int(options[name])
        account = account or config.host
        if not account:
            raise ConfigurationError("config: expected an account, as in snowflake://user@myorg-myaccount/")
        return cls(account, config.user, database=config.database, password=config.password, **options)

    def validate_config(self) -> bool:
        """Whether the settings can be used; `ConfigurationError` if not."""
        if not self.account or not isinstance(self.account, str):
            raise ConfigurationError(f"account={self.account!r}: expected an identifier such as 'myorg-myaccount'")
        return True

    def connect(self) -> Any:
        """Connect; the connector's connection.

        Raises:
            DatabaseConnectionError: Snowflake cannot be reached or refuses the login.
        """
        if self.connection is not None and not self.connection.is_closed():
            return self.connection
        connector = driver("snowflake.connector", "snowflake")
        arguments = self._arguments()
        secrets = [str(arguments[name]) for name in SECRETS if arguments.get(name)]
        try:
            self.connection = connector.connect(**arguments)
        except Exception as error:  # noqa: BLE001 - the connector's own, whose text may be anything

            def said(error: BaseException) -> str:
                text = " ".join(str(error).split())
                for secret in secrets:
                    text = text.replace(secret, "********")
                return text

            failed = translated(error, said)
        else:
            _own_cancels(self.connection)
            return self.connection
        raise failed

    def get_connection(self) -> Any:
        """The connector's connection, connected."""
        return self.connect()

    def _arguments(self) -> dict[str, Any]:
        found = {**WAITS, **self.config, "account": self.account}
        if self.password is not None:
            found["password"] = self.password
        private_key = self._private_key
        if self._vault["secret_path"]:
            secret = self._secret()
            found.setdefault("user", secret.get("user") or secret.get("username"))
            private_key = private_key or secret.get("private_key")
            if private_key is None and self.password is None:
                found["password"] = secret.get("password")
        if private_key is not None:
            found["private_key"] = _der(private_key)
        return found

    def _secret(self) -> dict[str, Any]:
        """The secret that Vault has."""
        try:
            from gds_vault import AppRoleAuth, VaultClient
        except ImportError:
            raise MissingExtraError("gds-vault is not installed; run: pip install 'gds-database[vault]'") from None
        vault = self._vault
        auth = AppRoleAuth(vault["role_id"], vault["secret_id"]) if vault["role_id"] and vault["secret_id"] else None
        with VaultClient(vault["addr"], auth, mount_point=vault["mount_point"], namespace=vault["namespace"]) as client:
            found: dict[str, Any] = client.get_secret(str(vault["secret_path"]))
            return found

    def disconnect(self) -> None:
        """Close; does nothing when it is closed."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    close = disconnect

    def switch_account(self, new_account: str) -> Any:
        """Close, and connect to another account with the same settings; the connector's connection."""
        self.disconnect()
        self.account = new_account
        self.validate_config()
        return self.connect()

    def test_connectivity(self, timeout_seconds: int = 30) -> dict[str, Any]:
        """Whether the account can be reached and lets the user in, by a session of its own; never raises.

        Args:
            timeout_seconds: For the login, and for the statement.

        Returns:
            ``success``, ``response_time_ms``, ``error`` (None or what was wrong), ``timestamp`` (ISO 8601) and
            ``account_info`` with ``account_name``, ``current_user``, ``current_role``, ``current_warehouse``,
            ``current_database``, ``snowflake_version`` and ``region``.
        """
        now = datetime.now().astimezone()
        told: dict[str, Any] = {"success": False, "account_info": {}, "error": None, "timestamp": now.isoformat()}
        began = time.monotonic()
        probe = copy.copy(self)
        probe.connection = None
        probe.config = {**self.config, "login_timeout": timeout_seconds, "network_timeout": timeout_seconds}
        try:
            row = probe.execute_query(f"SELECT {', '.join(f'{function}()' for function in _TOLD.values())}")[0]
            told |= {"success": True, "account_info": dict(zip(_TOLD, row, strict=True))}
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            told["error"] = str(error) or type(error).__name__
        finally:
            with suppress(Exception):
                probe.disconnect()
        return {**told, "response_time_ms": round((time.monotonic() - began) * 1000, 2)}

    def is_connected(self) -> bool:
        """Whether it is open."""
        return self.connection is not None and not self.connection.is_closed()

    def execute_query(self, query: str, params: tuple[Any, ...] | None = None) -> list[Any]:
        """Run a statement; its rows as tuples."""
        with self.connect().cursor() as cursor:
            return list(cursor.execute(query, params).fetchall())

    def execute_query_dict(self, query: str, params: tuple[Any, ...] | None = None) -> list[dict[str, Any]]:
        """Run a statement; its rows as dicts."""
        rows = driver("snowflake.connector", "snowflake").DictCursor
        with self.connect().cursor(rows) as cursor:
            return list(cursor.execute(query, params).fetchall())

    def get_connection_info(self) -> dict[str, Any]:
        """Where it leads, and who asks."""
        names = ("user", "warehouse", "role", "database", "schema")
        return {
            "account": self.account,
            **{name: self.get_config(name) for name in names},
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


def _own_cancels(connection: Any) -> None:
    """Let a cancel that does not reach Snowflake be no error.

    The connector cancels a statement at its deadline by a request in a thread of its own, for which nobody catches what
    it raises when the server is away. The statement fails by itself then, and tells the same to who waits for it.
    """
    cancel = getattr(connection, "_cancel_query", None)
    if cancel is None:
        return

    def attempt(*args: Any, **kwargs: Any) -> Any:
        try:
            return cancel(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the connector's own, also of a connection that is closed by now
            logger.debug("a statement was not cancelled: %s", type(error).__name__)
            return {"success": False}

    connection._cancel_query = attempt


def _der(private_key: bytes | str) -> bytes:
    """A private key as the connector takes it."""
    if isinstance(private_key, bytes) and not private_key.startswith(b"-----"):
        return private_key
    serialization = driver("cryptography.hazmat.primitives.serialization", "snowflake")
    content = private_key.encode() if isinstance(private_key, str) else private_key
    try:
        loaded = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError):
        raise ConfigurationError(
            "private_key: expected PEM without a passphrase, or DER; for one with a passphrase use private_key_file= "
            "and private_key_file_pwd="
        ) from None
    der: bytes = loaded.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return der
