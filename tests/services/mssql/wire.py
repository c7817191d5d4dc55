"""TDS 7.4 as bytes: packets, the login, parameters of calls, rows, errors. Written from the protocol's published text.

Nothing here knows SQL. What a client may send and this does not read is refused by name, never guessed.
"""

from __future__ import annotations

import datetime as dt
import struct
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from .errors import SqlError

# Kinds of messages.
BATCH, CALL, ANSWER, ATTENTION, TRANSACTION, LOGIN, PRELOGIN = 1, 3, 4, 6, 14, 16, 18
# What the client and the server say about encryption before the login.
ENCRYPT_LOGIN, ENCRYPT_ALL, ENCRYPT_NOTHING, ENCRYPT_REQUIRED = 0, 1, 2, 3

PACKET_BYTES = 4096
_COLLATION = bytes([0x09, 0x04, 0xD0, 0x00, 0x34])
_EPOCH = dt.datetime(1900, 1, 1)  # noqa: DTZ001 - SQL Server's datetime has no zone
_NAMED_CALLS = {10: "sp_executesql", 11: "sp_prepare", 12: "sp_execute", 13: "sp_prepexec", 15: "sp_unprepare"}


@dataclass(slots=True)
class Result:
    """What one statement answers: columns with their TDS types, rows, and messages beside them."""

    columns: Sequence[tuple[str, str]] = ()
    rows: Sequence[Sequence[Any]] = ()
    affected: int | None = None
    messages: Sequence[str] = ()


@dataclass(slots=True)
class Login:
    """What a client says of itself."""

    host: str
    user: str
    password: str
    program: str
    library: str
    database: str
    process_id: int


@dataclass(slots=True)
class Parameter:
    """One parameter of a call. ``name`` has its ``@``, and is empty where the client gave none."""

    name: str
    value: Any
    is_output: bool = False


@dataclass(slots=True)
class Call:
    """A remote procedure call."""

    procedure: str
    parameters: list[Parameter] = field(default_factory=list)


class Reader:
    """Reads a message from its beginning to its end."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    @property
    def is_done(self) -> bool:
        return self._at >= len(self._body)

    def take(self, count: int) -> bytes:
        taken = self._body[self._at : self._at + count]
        if len(taken) < count:
            raise SqlError(4002, "The incoming tabular data stream (TDS) protocol stream is incorrect.")
        self._at += count
        return taken

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self, count: int) -> str:
        return self.take(2 * count).decode("utf-16-le")


# ------------------------------------------------------------------ what clients send
def read_prelogin_encryption(body: bytes) -> int:
    """What the client asks for, one of the ``ENCRYPT_`` numbers."""
    at = 0
    while body[at] != 0xFF:
        token, offset, _ = struct.unpack_from(">BHH", body, at)
        if token == 1:
            return int(body[offset])
        at += 5
    return ENCRYPT_NOTHING


def read_login(body: bytes) -> Login:
    """The login message, its password made readable again."""

    def part(at: int) -> bytes:
        offset, length = struct.unpack_from("<HH", body, at)
        return body[offset : offset + 2 * length]

    secret = bytes((byte ^ 0xA5) >> 4 | ((byte ^ 0xA5) & 15) << 4 for byte in part(44))
    host, user, password, program, library, database = (
        raw.decode("utf-16-le", "replace") for raw in (part(36), part(40), secret, part(48), part(60), part(68))
    )
    return Login(host, user, password, program, library, database, struct.unpack_from("<I", body, 16)[0])


def without_headers(body: bytes) -> bytes:
    """A batch or call without the block of headers before it."""
    return body[struct.unpack_from("<I", body)[0] :]


def read_call(body: bytes) -> Call:
    """A call with its parameters."""
    reader = Reader(body)
    length = reader.number("<H")
    procedure = _NAMED_CALLS.get(reader.number("<H"), "") if length == 0xFFFF else reader.text(length)
    reader.take(2)
    call = Call(procedure)
    while not reader.is_done:
        name = reader.text(reader.number("<B"))
        flags = reader.number("<B")
        call.parameters.append(Parameter(name, _read_value(reader), bool(flags & 1)))
    return call


def _read_value(reader: Reader) -> Any:
    kind = reader.number("<B")
    read = _READERS.get(kind)
    if read is None:
        raise SqlError(8009, f"This server does not read parameters of type 0x{kind:02x}.")
    return read(reader)


def _read_integer(reader: Reader) -> int | None:
    reader.take(1)
    raw = reader.take(reader.number("<B"))
    return int.from_bytes(raw, "little", signed=len(raw) > 1) if raw else None


def _read_bit(reader: Reader) -> bool | None:
    value = _read_integer(reader)
    return None if value is None else bool(value)


def _read_float(reader: Reader) -> float | None:
    reader.take(1)
    raw = reader.take(reader.number("<B"))
    return struct.unpack("<d" if len(raw) == 8 else "<f", raw)[0] if raw else None


def _read_decimal(reader: Reader) -> Decimal | None:
    reader.take(2)
    scale = reader.number("<B")
    raw = reader.take(reader.number("<B"))
    if not raw:
        return None
    return Decimal(int.from_bytes(raw[1:], "little") * (1 if raw[0] else -1)).scaleb(-scale)


def _read_guid(reader: Reader) -> uuid.UUID | None:
    reader.take(1)
    raw = reader.take(reader.number("<B"))
    return uuid.UUID(bytes_le=raw) if raw else None


def _read_bytes(reader: Reader, *, collated: bool) -> bytes | None:
    longest = reader.number("<H")
    if collated:
        reader.take(5)
    if longest != 0xFFFF:
        length = reader.number("<H")
        return None if length == 0xFFFF else reader.take(length)
    if reader.number("<Q") == 0xFFFFFFFFFFFFFFFF:
        return None
    pieces = []
    while length := reader.number("<I"):
        pieces.append(reader.take(length))
    return b"".join(pieces)


def _read_unicode(reader: Reader) -> str | None:
    raw = _read_bytes(reader, collated=True)
    return None if raw is None else raw.decode("utf-16-le")


def _read_ansi(reader: Reader) -> str | None:
    raw = _read_bytes(reader, collated=True)
    return None if raw is None else raw.decode("cp1252")


def _read_ntext(reader: Reader) -> str | None:
    reader.take(9)
    length = reader.number("<i")
    return None if length < 0 else reader.take(length).decode("utf-16-le")


def _read_datetime(reader: Reader) -> dt.datetime | None:
    reader.take(1)
    raw = reader.take(reader.number("<B"))
    if not raw:
        return None
    days, ticks = struct.unpack("<iI", raw) if len(raw) == 8 else (*struct.unpack("<HH", raw),)
    return _EPOCH + dt.timedelta(days=days, seconds=ticks / 300 if len(raw) == 8 else ticks * 60)


def _time_of(raw: bytes, scale: int) -> dt.timedelta:
    return dt.timedelta(microseconds=int.from_bytes(raw, "little") * 10**6 // 10**scale)


def _day_of(raw: bytes) -> dt.datetime:
    return dt.datetime(1, 1, 1) + dt.timedelta(days=int.from_bytes(raw, "little"))  # noqa: DTZ001 - as above


def _read_datetime2(reader: Reader) -> dt.datetime | None:
    scale = reader.number("<B")
    raw = reader.take(reader.number("<B"))
    return _day_of(raw[-3:]) + _time_of(raw[:-3], scale) if raw else None


def _read_datetimeoffset(reader: Reader) -> dt.datetime | None:
    scale = reader.number("<B")
    raw = reader.take(reader.number("<B"))
    if not raw:
        return None
    utc = (_day_of(raw[-5:-2]) + _time_of(raw[:-5], scale)).replace(tzinfo=dt.timezone.utc)
    return utc.astimezone(dt.timezone(dt.timedelta(minutes=struct.unpack("<h", raw[-2:])[0])))


def _read_date(reader: Reader) -> dt.date | None:
    raw = reader.take(reader.number("<B"))
    return _day_of(raw).date() if raw else None


_READERS = {
    0x24: _read_guid,
    0x26: _read_integer,
    0x28: _read_date,
    0x2A: _read_datetime2,
    0x2B: _read_datetimeoffset,
    0x63: _read_ntext,
    0x68: _read_bit,
    0x6A: _read_decimal,
    0x6C: _read_decimal,
    0x6D: _read_float,
    0x6F: _read_datetime,
    0xA5: lambda reader: _read_bytes(reader, collated=False),
    0xA7: _read_ansi,
    0xAD: lambda reader: _read_bytes(reader, collated=False),
    0xAF: _read_ansi,
    0xE7: _read_unicode,
    0xEF: _read_unicode,
}


# ------------------------------------------------------------------ what the server answers
def packets(kind: int, data: bytes) -> bytes:
    """A message in as many packets as it takes."""
    room = PACKET_BYTES - 8
    parts = [data[at : at + room] for at in range(0, len(data), room)] or [b""]
    return b"".join(
        struct.pack(">BBHHBB", kind, int(at == len(parts)), len(part) + 8, 0, at % 256, 0) + part
        for at, part in enumerate(parts, 1)
    )


def prelogin(version: tuple[int, int], encryption: int) -> bytes:
    """The answer to a prelogin. An option that the client did not ask for makes some of them hang up."""
    options = [(0, struct.pack(">BBHH", version[0], 0, version[1], 0)), (1, bytes([encryption])), (2, b"\0"), (3, b"")]
    options.append((4, b"\0"))
    head, data = b"", b""
    for token, value in options:
        head += struct.pack(">BHH", token, 5 * len(options) + 1 + len(data), len(value))
        data += value
    return head + b"\xff" + data


def counted(text: str, form: str = "<B") -> bytes:
    """Text with the count of its UTF-16 units before it."""
    raw = text.encode("utf-16-le", "surrogatepass")
    return struct.pack(form, len(raw) // 2) + raw


def environment(kind: int, new: bytes, old: bytes = b"\0") -> bytes:
    """What changed: 1 the database, 4 the packet size, 7 the collation, 8 to 10 the transaction."""
    return b"\xe3" + struct.pack("<HB", 1 + len(new) + len(old), kind) + new + old


def login_accepted(version: tuple[int, int], database: str) -> bytes:
    """The tokens after a login that succeeded."""
    ack = (
        b"\1"
        + bytes([0x74, 0, 0, 4])
        + counted("Microsoft SQL Server")
        + struct.pack(">BBH", version[0], 0, version[1])
    )
    size = counted(str(PACKET_BYTES))
    return (
        environment(1, counted(database), counted("master"))
        + environment(7, b"\5" + _COLLATION)
        + environment(4, size, size)
        + b"\xad"
        + struct.pack("<H", len(ack))
        + ack
    )


def done(
    *, token: int = 0xFD, more: bool = False, rows: int | None = None, failed: bool = False, attention: bool = False
) -> bytes:
    """The end of a statement, or of all of them."""
    status = int(more) | 2 * failed | 0x10 * (rows is not None) | 0x20 * attention
    return struct.pack("<BHHQ", token, status, 0xC1, rows or 0)


def error(found: SqlError, server: str) -> bytes:
    """An error token."""
    return _message(0xAA, found.number, found.state, found.severity, found.text, server)


def information(text: str, server: str, number: int = 0) -> bytes:
    """A message that is no error."""
    return _message(0xAB, number, 1, 0, text, server)


def _message(token: int, number: int, state: int, severity: int, text: str, server: str) -> bytes:
    body = struct.pack("<IBB", number, state, severity) + counted(text, "<H") + counted(server) + b"\0"
    body += struct.pack("<I", 1)
    return bytes([token]) + struct.pack("<H", len(body)) + body


def returned(name: str, value: int) -> bytes:
    """The status of a call that ended, and its one integer output parameter where ``name`` is not empty."""
    status = b"\x79" + struct.pack("<i", 0)
    if not name:
        return status
    return (
        status
        + b"\xac"
        + struct.pack("<H", 0)
        + counted(name)
        + b"\1"
        + struct.pack("<IH", 0, 0)
        + b"\x26\4\4"
        + struct.pack("<i", value)
    )


def result_set(result: Result) -> Iterator[bytes]:
    """Columns and rows."""
    kinds = [_widened(kind, [row[at] for row in result.rows]) for at, (_, kind) in enumerate(result.columns)]
    yield (
        b"\x81"
        + struct.pack("<H", len(kinds))
        + b"".join(
            struct.pack("<IH", 0, 1) + _type_info(kind) + counted(name)
            for (name, _), kind in zip(result.columns, kinds, strict=True)
        )
    )
    for row in result.rows:
        yield b"\xd1" + b"".join(_value(kind, value) for kind, value in zip(kinds, row, strict=True))


def _widened(kind: str, values: Sequence[Any]) -> str:
    """The type that holds all of the values: long text is sent in pieces."""
    if kind in ("nvarchar", "varbinary") and any(value is not None and len(value) > 3500 for value in values):
        return f"{kind}(max)"
    return kind


_FIXED = {
    "tinyint": (0x26, 1, "<B"),
    "smallint": (0x26, 2, "<h"),
    "int": (0x26, 4, "<i"),
    "bigint": (0x26, 8, "<q"),
    "bit": (0x68, 1, "<B"),
    "real": (0x6D, 4, "<f"),
    "float": (0x6D, 8, "<d"),
}


def _type_info(kind: str) -> bytes:
    if kind in _FIXED:
        return bytes(_FIXED[kind][:2])
    if kind.startswith("decimal"):
        return bytes([0x6C, 17, 38, int(kind.partition(",")[2])])
    infos = {
        "nvarchar": b"\xe7" + struct.pack("<H", 8000) + _COLLATION,
        "nvarchar(max)": b"\xe7\xff\xff" + _COLLATION,
        "varbinary": b"\xa5" + struct.pack("<H", 8000),
        "varbinary(max)": b"\xa5\xff\xff",
        "datetime": b"\x6f\x08",
        "datetime2": b"\x2a\x07",
        "date": b"\x28",
        "uniqueidentifier": b"\x24\x10",
    }
    return infos[kind]


def _value(kind: str, value: Any) -> bytes:
    if kind.endswith("(max)"):
        return b"\xff" * 8 if value is None else _pieces(_raw(kind, value))
    if kind in ("nvarchar", "varbinary"):
        raw = _raw(kind, value) if value is not None else b""
        return b"\xff\xff" if value is None else struct.pack("<H", len(raw)) + raw
    if value is None:
        return b"\0"
    if kind in _FIXED:
        return bytes([_FIXED[kind][1]]) + struct.pack(_FIXED[kind][2], value)
    raw = _raw(kind, value)
    return bytes([len(raw)]) + raw


def _raw(kind: str, value: Any) -> bytes:
    if kind.startswith("nvarchar"):
        return str(value).encode("utf-16-le", "surrogatepass")
    if kind.startswith("varbinary"):
        return bytes(value)
    if kind.startswith("decimal"):
        digits = Decimal(value).scaleb(int(kind.partition(",")[2]))
        return bytes([int(digits >= 0)]) + abs(int(digits)).to_bytes(16, "little")
    if kind == "uniqueidentifier":
        return bytes(uuid.UUID(str(value)).bytes_le)
    if kind == "date":
        return _day(value)
    if kind == "datetime":
        since = value - _EPOCH
        return struct.pack("<iI", since.days, round((since.seconds + since.microseconds / 10**6) * 300))
    ticks = ((value.hour * 60 + value.minute) * 60 + value.second) * 10**7 + value.microsecond * 10
    return int(ticks).to_bytes(5, "little") + _day(value)


def _day(value: dt.date) -> bytes:
    return (value.toordinal() - 1).to_bytes(3, "little")


def _pieces(raw: bytes) -> bytes:
    piece = struct.pack("<I", len(raw)) + raw if raw else b""
    return struct.pack("<Q", len(raw)) + piece + struct.pack("<I", 0)
