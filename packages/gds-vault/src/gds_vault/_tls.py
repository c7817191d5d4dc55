"""Whom both clients trust, who they are, and which proxy is between: one answer for all of them."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from gds_vault.exceptions import VaultConfigurationError

if TYPE_CHECKING:
    from gds_vault._settings import Settings

__all__ = ["proxy_of", "tls_context"]


def tls_context(settings: Settings) -> ssl.SSLContext:
    """What TLS is spoken with.

    Raises:
        VaultConfigurationError: A file holds no certificate, or no key that fits.
    """
    if not settings.verify_ssl:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif settings.ssl_cert_path is None:
        context = ssl.create_default_context()
        from requests.utils import DEFAULT_CA_BUNDLE_PATH

        # Beside those of the machine: a small container has none of its own.
        context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    else:
        context = _trusting(settings.ssl_cert_path)
    if settings.client_cert is not None:
        try:
            # An empty password where one is needed: else OpenSSL would ask at the terminal.
            context.load_cert_chain(settings.client_cert, settings.client_key, password=lambda: b"")
        except (OSError, ValueError) as error:
            problem = f"client_cert={settings.client_cert!r}: expected a certificate and its key in PEM, {_why(error)}"
        else:
            return context
        raise VaultConfigurationError(problem)
    return context


def _trusting(path: str) -> ssl.SSLContext:
    try:
        if Path(path).is_dir():
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:
        problem = f"ssl_cert_path={path!r}: expected a CA bundle in PEM, {_why(error)}"
    raise VaultConfigurationError(problem)


def _why(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__).lower()


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for a URL, if any."""
    from requests.utils import get_environ_proxies, select_proxy  # type: ignore[import-untyped, unused-ignore]

    found = select_proxy(url, get_environ_proxies(url, no_proxy=None))
    return None if found is None else str(found)
