"""Between clients and a broker: what a broker answers that was away for longer than its session with the controller.

For a moment such a broker says that the cluster has topics and no brokers. When it does is up to the broker; here it is
up to the test, and all else is the broker's own.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Any

from typing_extensions import Self

from tests.services.kafka import KafkaCluster
from tests.services.kafka.cluster import PROXIED
from tests.services.process import LOOPBACK

__all__ = ["Forgetful"]

METADATA = 3
FLEXIBLE_SINCE = 9


class Forgetful:
    """Where ``proxied_bootstrap_servers`` of a cluster of one broker are."""

    def __init__(self, kafka: KafkaCluster) -> None:
        [node] = kafka.nodes
        self._upstream = node.port(PROXIED)
        self._server = socket.create_server((LOOPBACK, node.advertised_port(PROXIED)))
        self._sockets: list[socket.socket] = []
        self.forgets = threading.Event()
        self.forgot = 0
        """How many answers said that there were no brokers."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._server, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._server.accept()
                broker = socket.create_connection((LOOPBACK, self._upstream))
                self._sockets += [client, broker]
                asked: dict[int, tuple[int, int]] = {}
                threading.Thread(target=self._requests, args=(client, broker, asked), daemon=True).start()
                threading.Thread(target=self._answers, args=(broker, client, asked), daemon=True).start()

    def _requests(self, client: socket.socket, broker: socket.socket, asked: dict[int, tuple[int, int]]) -> None:
        with contextlib.suppress(OSError):
            while frame := _frame(client):
                key, version, correlation = struct.unpack_from(">hhi", frame)
                asked[correlation] = (key, version)
                broker.sendall(struct.pack(">i", len(frame)) + frame)
        _shut(broker)

    def _answers(self, broker: socket.socket, client: socket.socket, asked: dict[int, tuple[int, int]]) -> None:
        with contextlib.suppress(OSError):
            while frame := _frame(broker):
                key, version = asked.pop(struct.unpack_from(">i", frame)[0])
                if key == METADATA and self.forgets.is_set():
                    assert version >= FLEXIBLE_SINCE, version
                    frame = without_brokers(frame)
                    self.forgot += 1
                client.sendall(struct.pack(">i", len(frame)) + frame)
        _shut(client)


def without_brokers(frame: bytes) -> bytes:
    """A Metadata answer of version 9 or later with an empty list of brokers."""
    start = 4 + 1 + 4  # correlation id, no tagged fields, throttle time
    count, at = _varint(frame, start)
    for _ in range(count - 1):
        at += 4  # node id
        at = _skip_text(frame, at)  # host
        at += 4  # port
        at = _skip_text(frame, at)  # rack
        tags, at = _varint(frame, at)
        assert tags == 0, "no tagged fields are known"
    return frame[:start] + b"\x01" + frame[at:]


def _varint(frame: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (frame[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not frame[at - 1] & 0x80:
            return value, at


def _skip_text(frame: bytes, at: int) -> int:
    length, at = _varint(frame, at)
    return at + max(length - 1, 0)


def _frame(stream: socket.socket) -> bytes:
    """What comes behind its length; nothing at the end."""
    head = _exactly(stream, 4)
    return _exactly(stream, struct.unpack(">i", head)[0]) if head else b""


def _exactly(stream: socket.socket, length: int) -> bytes:
    parts: list[Any] = []
    while length:
        part = stream.recv(length)
        if not part:
            return b""
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _shut(stream: socket.socket) -> None:
    with contextlib.suppress(OSError):
        stream.shutdown(socket.SHUT_RDWR)
