"""`VaultTransport`: what sends a client's requests, where a program wants to have a say in that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests

__all__ = ["VaultTransport"]


class VaultTransport:
    """A ``requests`` session with TLS and a namespace; `VaultClient` takes any object with these methods.

    Args:
        verify_ssl: Whether the server's certificate is checked.
        ssl_cert_path: A CA bundle to check it by, instead of the usual one.
        namespace: Sent where a request names none.
        session: The session; None is a new one.
    """

    def __init__(
        self,
        verify_ssl: bool = True,
        ssl_cert_path: str | None = None,
        namespace: str | None = None,
        session: requests.Session | None = None,
    ) -> None:
        if session is None:
            import requests

            from gds_vault._session import unchanged

            session = requests.Session()
            session.auth = unchanged
        self._session = session
        self._verify_ssl = verify_ssl
        # From the root, as it is read anew wherever the program has gone meanwhile.
        self._ssl_cert_path = str(Path(ssl_cert_path).absolute()) if ssl_cert_path else None
        self._namespace = namespace

    @property
    def verify(self) -> bool | str:
        """What ``requests`` is told: the CA bundle, or whether to check at all."""
        return self._ssl_cert_path or self._verify_ssl

    def post(
        self,
        url: str,
        *,
        json: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
    ) -> requests.Response:
        """As `request`."""
        return self.request("POST", url, json=json, headers=headers, timeout=timeout)

    def get(
        self,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        params: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> requests.Response:
        """As `request`."""
        return self.request("GET", url, headers=headers, params=params, timeout=timeout)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        params: dict[str, Any] | None = None,
        json: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> requests.Response:
        """Send one request; redirects are left to the client, which keeps a token within TLS.

        Args:
            method: Such as GET.
            url: The whole address.
            headers: Of the request.
            params: Of its query.
            json: Its body.
            timeout: Seconds.
        """
        own = {"X-Vault-Namespace": self._namespace} if self._namespace else {}
        return self._session.request(
            method,
            url,
            headers={**own, **(headers or {})},
            params=params,
            json=json,
            timeout=timeout,
            verify=self.verify,
            allow_redirects=False,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(verify={self.verify!r}, namespace={self._namespace!r})"
