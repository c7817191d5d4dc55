"""The server, as a program of its own: nothing of the project imports it, nor what it imports.

``server.py PORT FOLDER REPLICA_SET`` reads the password of the user ``root`` from the file ``root-password`` in the
folder, makes that user on the first start, and serves those who log in until it is terminated: by TLS alone where the
folder has the file ``certificate.pem``.
"""

from __future__ import annotations

import importlib
import signal
import sys
from pathlib import Path
from threading import Event

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))


def main(arguments: list[str]) -> int:
    """Serve, or say which version this is."""
    secantus = importlib.import_module("secantus")
    if arguments == ["--version"]:
        print(f"version {secantus.__version__}")
        return 0
    port, folder, replica_set = arguments
    done = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    options = {"storage_path": str(Path(folder) / "data"), "replica_set_name": replica_set, "cache_size": "128M"}
    made = Path(folder) / "root-made"
    if not made.exists():
        with secantus.SecantusDBServer(port=0, **options) as server:
            client = importlib.import_module("pymongo").MongoClient("127.0.0.1", server.port, directConnection=True)
            password = (Path(folder) / "root-password").read_text("utf-8")
            client.admin.command("createUser", "root", pwd=password, roles=[{"role": "root", "db": "admin"}])
            client.close()
        made.touch()
    certificate = Path(folder) / "certificate.pem"
    if certificate.exists():
        options |= {"tls_cert_file": str(certificate), "tls_key_file": str(certificate)}
    with secantus.SecantusDBServer(port=int(port), require_auth=True, **options):
        done.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
