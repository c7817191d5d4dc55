"""Certificates for tests, each with an authority of its own making."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme

__all__ = ["Pki", "make_pki"]


@dataclass(frozen=True)
class Pki:
    """PEM files: an authority, what it issued to a server and to a client, and a client of another authority."""

    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path
    stranger_cert: Path
    stranger_key: Path

    def client(self) -> ssl.SSLContext:
        """A client that trusts the authority and shows no certificate."""
        return ssl.create_default_context(cafile=str(self.ca))

    def known_client(self) -> ssl.SSLContext:
        """A client with the certificate of the authority."""
        context = self.client()
        context.load_cert_chain(self.client_cert, self.client_key)
        return context

    def stranger(self) -> ssl.SSLContext:
        """A client with a certificate of another authority."""
        context = self.client()
        context.load_cert_chain(self.stranger_cert, self.stranger_key)
        return context


def make_pki(folder: Path) -> Pki:
    """Write a new authority and its certificates into ``folder``."""
    authority, other = trustme.CA(), trustme.CA()
    ca = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    files = [ca]
    for name, issued in {
        "server": authority.issue_cert("127.0.0.1", "::1", "localhost"),
        "client": authority.issue_cert("client@example.org"),
        "stranger": other.issue_cert("stranger@example.org"),
    }.items():
        cert, key = folder / f"{name}.pem", folder / f"{name}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        files += [cert, key]
    return Pki(*files)
