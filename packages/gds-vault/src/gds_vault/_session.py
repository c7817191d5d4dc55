"""The ``requests`` session of `VaultClient`: TLS as `gds_vault._tls` says, Unix sockets, and no ``.netrc``."""

from __future__ import annotations

import socket
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

if TYPE_CHECKING:
    import ssl

    from gds_vault._settings import Settings

__all__ = ["new_session", "unchanged"]

_POOL = 64  # connections kept for threads that ask at once


def new_session(settings: Settings, context: ssl.SSLContext | None) -> requests.Session:
    """A session for the requests of one client; without a context it does not speak TLS."""
    session = requests.Session()
    session.auth = unchanged
    if settings.socket_path is not None:
        session.trust_env = False  # there is no proxy to a socket
        session.mount("http://", _SocketAdapter(settings.socket_path, pool_maxsize=_POOL))
    else:
        session.mount("http://", HTTPAdapter(pool_maxsize=_POOL))
        if context is not None:
            session.mount("https://", _TlsAdapter(context, pool_maxsize=_POOL))
    return session


def unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Add nothing to a request. Without any ``auth``, requests would look into ``~/.netrc`` for a password."""
    return request


class _TlsAdapter(HTTPAdapter):
    """Speaks TLS with one context, whatever the session or the environment says beside it."""

    def __init__(self, context: ssl.SSLContext, **settings: Any) -> None:
        if version("urllib3").startswith("1."):
            # It compares names by itself, and does not tell OpenSSL the one to compare with where it is an address.
            context.check_hostname = False
        self._context = context
        super().__init__(**settings)

    def init_poolmanager(self, *arguments: Any, **settings: Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=self._context, **settings)

    def proxy_manager_for(self, proxy: Any, **settings: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **settings)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {}

    def cert_verify(self, conn: Any, *_: Any, **__: Any) -> None:
        # The context knows; urllib3 1.26 asks its pool all the same.
        conn.cert_reqs = self._context.verify_mode


class _SocketConnection(HTTPConnection):
    def __init__(self, path: str, timeout: Any) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def _new_conn(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self.timeout)
            connection.connect(self._path)
        except TimeoutError as error:
            connection.close()
            raise ConnectTimeoutError(self, "no connection") from error
        except OSError as error:
            connection.close()
            raise NewConnectionError(self, "no connection") from error
        return connection


class _SocketPool(HTTPConnectionPool):
    def __init__(self, path: str, size: int) -> None:
        super().__init__("localhost", maxsize=size)
        self._path = path

    def _new_conn(self) -> Any:
        return _SocketConnection(self._path, self.timeout.connect_timeout)


class _SocketAdapter(HTTPAdapter):
    """Every request of it goes to one Unix socket."""

    def __init__(self, path: str, **settings: Any) -> None:
        super().__init__(**settings)
        self._sockets = _SocketPool(path, settings["pool_maxsize"])

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        return self._sockets

    def get_connection(self, *_: Any, **__: Any) -> Any:
        return self._sockets

    def request_url(self, request: Any, proxies: Any) -> Any:  # noqa: ARG002 - what requests calls it with
        return request.path_url

    def close(self) -> None:
        self._sockets.close()
        super().close()
