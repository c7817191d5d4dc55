"""The documents of the project, and stand-ins for the servers that their examples talk to."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.services.fixtures import missing

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TIMEOUT_SECONDS = 120.0


def tracked_files() -> list[Path]:
    """Every file that belongs to the project or is about to."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def make(*arguments: str) -> str:
    """What ``make`` says, whatever the one that may have started the tests was told."""
    if shutil.which("make") is None:
        missing("there is no make here")
    told = {"K", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "NAME", "PYTHON", "VENV"}
    variables = {name: value for name, value in os.environ.items() if name not in told}
    command = ["make", *arguments]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True).stdout


def python_of(document: Path) -> str:
    """The ``python`` blocks as one program, each line at its place in the document."""
    lines = []
    inside = False
    for line in document.read_text("utf-8").splitlines():
        if line.startswith("```"):
            inside = not inside and re.fullmatch(r"```python\b.*", line) is not None
            lines.append("")
        else:
            lines.append(line if inside else "")
    return "\n".join(lines) + "\n"


class Receiver:
    """An HTTP server that takes everything: a Pushgateway, an OTLP receiver."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[tuple[str, str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            taken.requests.append((self.command, self.path, body))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        do_POST = do_PUT = _take  # noqa: N815 - the names that http.server looks for

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    taken = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def datagrams() -> Iterator[socket.socket]:
    """A UDP socket that waits a bounded time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(TIMEOUT_SECONDS)
        yield udp
