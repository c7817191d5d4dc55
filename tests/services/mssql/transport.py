"""The bytes of a connection: messages, with TLS where the client wants it."""

from __future__ import annotations

import select
import socket
import ssl
import struct

from . import wire


class Closed(Exception):
    """The client or the server has ended the connection."""


class Transport:
    """A socket, with TLS inside the packets of the prelogin, around everything, or none."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()

    @property
    def is_encrypted(self) -> bool:
        return self._tls is not None

    def read(self, count: int) -> bytes:
        taken = b""
        while len(taken) < count:
            taken += self._some(count - len(taken))
        return taken

    def _some(self, most: int) -> bytes:
        while True:
            try:
                data = self.socket.recv(most) if self._tls is None else self._tls.read(most)
            except ssl.SSLWantReadError:
                raw = self.socket.recv(16384)
                if not raw:
                    raise Closed from None
                self._incoming.write(raw)
                continue
            except (OSError, ssl.SSLError):
                raise Closed from None
            if not data:
                raise Closed
            return data

    def write(self, data: bytes) -> None:
        try:
            if self._tls is not None:
                self._tls.write(data)
                data = self._outgoing.read()
            self.socket.sendall(data)
        except (OSError, ssl.SSLError):
            raise Closed from None

    def message(self) -> tuple[int, bytes]:
        """The next message, all its packets in one."""
        body, last = b"", 0
        kind = 0
        while not last & 1:
            kind, last, size = struct.unpack(">BBH", self.read(8)[:4])
            body += self.read(size - 8)
        return kind, body

    def start_tls(self, context: ssl.SSLContext, *, in_packets: bool) -> None:
        """Shake hands. Before TDS 8 what is said then travels in packets of the prelogin."""
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                done = False
            except ssl.SSLError:
                raise Closed from None
            if said := self._outgoing.read():
                self.socket.sendall(wire.packets(wire.PRELOGIN, said) if in_packets else said)
            if done:
                break
            heard = self.message()[1] if in_packets else self.socket.recv(16384)
            if not heard:
                raise Closed
            self._incoming.write(heard)
        self._tls = tls

    def stop_tls(self) -> None:
        """Go on without, as when only the login is encrypted."""
        self._tls = None

    def can_read(self, seconds: float) -> bool:
        """Whether the client says something within this time."""
        if self._tls is not None and (self._tls.pending() or self._incoming.pending):
            return True
        return bool(select.select([self.socket], [], [], seconds)[0])
