"""A Kerberos realm on a loopback port: MIT's key distribution centre, and keytabs for whoever is to be in it."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .install import install
from .process import LOOPBACK, WAIT_TIMEOUT_SECONDS, Server, ServerFailed, accepts_tcp

REALM = "GDS.TEST"


class Kerberos(Server):
    """A realm with nobody in it yet; ``keytab`` takes one in."""

    name = "krb5kdc"

    def __init__(self) -> None:
        super().__init__()
        self._binaries = install("kerberos")
        self._numbers = itertools.count(1)

    @property
    def configuration(self) -> Path:
        """The ``krb5.conf`` of clients and servers."""
        return self.folder / "krb5.conf"

    def environment(self, tickets: Path) -> dict[str, str]:
        """What makes a program a client that keeps its tickets in this file; ``kinit`` is on its path."""
        return {
            "KRB5_CONFIG": str(self.configuration),
            "KRB5CCNAME": f"FILE:{tickets}",
            "PATH": f"{self._binaries['kinit'].parent}:{os.environ['PATH']}",
        }

    def keytab(self, principal: str) -> Path:
        """A file with the keys of the principal: new ones, so that a file made before is of no use any more."""
        if not self._run("kadmin.local", "list_principals", principal):
            self._run("kadmin.local", "add_principal", "-randkey", principal)
        file = self.folder / f"{next(self._numbers)}.keytab"
        self._run("kadmin.local", "ktadd", "-k", str(file), principal)
        return file

    def _run(self, name: str, *arguments: str) -> str:
        """Run a tool to its end; returns what it printed."""
        answer = subprocess.run(
            [*self._as_server(), self._binaries[name], *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WAIT_TIMEOUT_SECONDS,
            check=False,
        )
        if answer.returncode != 0:
            raise ServerFailed(f"{name} {' '.join(arguments)} exited with {answer.returncode}: {answer.stderr}")
        return answer.stdout

    def _prepare(self) -> None:
        self._port = self._lease_port()
        # No name is looked up: the host of a service is the address that the client connects to.
        self.configuration.write_text(
            "[libdefaults]\n"
            f"default_realm = {REALM}\n"
            "dns_lookup_kdc = false\n"
            "dns_lookup_realm = false\n"
            "dns_canonicalize_hostname = false\n"
            "rdns = false\n"
            # Over TCP from the first byte on.
            "udp_preference_limit = 1\n"
            "[realms]\n"
            f"{REALM} = {{\nkdc = {LOOPBACK}:{self._port}\n}}\n"
        )
        modules = self._binaries["krb5kdc"].resolve().parent.parent / "lib" / "krb5" / "plugins" / "kdb"
        self._kdc_configuration.write_text(
            "[kdcdefaults]\n"
            'kdc_listen = ""\n'
            f"kdc_tcp_listen = {LOOPBACK}:{self._port}\n"
            "[realms]\n"
            f"{REALM} = {{\n"
            f"database_name = {self.folder / 'principals'}\n"
            f"key_stash_file = {self.folder / 'stash'}\n"
            "}\n"
        )
        if modules.is_dir():
            # One that is installed, and not just unpacked, knows where its own are.
            with self._kdc_configuration.open("a") as file:
                file.write(f"[dbmodules]\ndb_module_dir = {modules}\n")
        self._run("kdb5_util", "create", "-s", "-P", "master", "-r", REALM)

    def _command(self) -> Sequence[str | Path]:
        return [*self._as_server(), self._binaries["krb5kdc"], "-n"]

    def _is_ready(self) -> bool:
        return accepts_tcp(self._port)

    @property
    def _kdc_configuration(self) -> Path:
        return self.folder / "kdc.conf"

    def _as_server(self) -> list[str]:
        return ["env", f"KRB5_CONFIG={self.configuration}", f"KRB5_KDC_PROFILE={self._kdc_configuration}"]
