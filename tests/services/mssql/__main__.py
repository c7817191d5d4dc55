"""The process: ``python -m tests.services.mssql --port N --control PATH ...``; serves until it is told to end."""

from __future__ import annotations

import argparse
import json
import re
import signal
import socketserver
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

from .instance import Fault, Instance, hashed
from .session import Session


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--control", required=True)
    parser.add_argument("--name", default="SQL1")
    parser.add_argument("--version", type=int, default=16)
    parser.add_argument("--engine-edition", type=int, default=3)
    parser.add_argument("--offset-minutes", type=int, default=0)
    parser.add_argument("--certificate", type=Path)
    given = parser.parse_args()
    instance = Instance(given.name, given.version, given.engine_edition, given.offset_minutes)
    tls = None
    if given.certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Inside TDS 7.4 nothing newer is spoken.
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        tls.load_cert_chain(given.certificate)

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with instance.lock:
                instance.knocks += 1
            Session(instance, self.request, tls).serve()

    class Control(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                try:
                    answer: Any = {"answer": control(instance, json.loads(line))}
                except Exception as error:
                    answer = {"error": f"{type(error).__name__}: {error}"}
                self.wfile.write(json.dumps(answer).encode() + b"\n")

    class Tcp(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True
        request_queue_size = 128

    class Unix(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Path(given.control).unlink(missing_ok=True)
    with Tcp(("127.0.0.1", given.port), Connection) as server, Unix(given.control, Control) as controlled:
        threading.Thread(target=controlled.serve_forever, daemon=True).start()
        server.serve_forever()


def control(instance: Instance, asked: dict[str, Any]) -> Any:
    """What a test asks of the process, beside the protocol."""
    what = asked.pop("do")
    with instance.lock:
        if what == "password":
            instance.logins["sa"].password_hash = hashed(asked["password"], b"salt")
        elif what == "put":
            instance.put(asked["view"], asked["rows"])
        elif what == "fault":
            error = tuple(asked["error"]) if asked.get("error") else None
            instance.faults.append(
                Fault(re.compile(asked["pattern"]), asked["seconds"], error, asked["hang_up"], asked["times"])
            )
        elif what == "no_faults":
            instance.faults.clear()
        elif what in ("statements", "knocks"):
            return getattr(instance, what)
        elif what == "sessions":
            return sorted(instance.sessions)
        elif what == "limit_connections":
            setting = instance.settings["user connections"]
            setting.value = setting.in_use = asked["most"]
        elif what == "log":
            instance.write_log(asked["process"], asked["text"])
        elif what != "ping":
            raise ValueError(f"{what!r} is nothing that can be asked")
    return None


if __name__ == "__main__":
    main()
