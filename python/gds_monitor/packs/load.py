"""Packs from files, in any of the dialects, and the packs that come with this package."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gds_monitor.packs import native
from gds_monitor.packs.dialects import pgwatch, postgres_exporter, sql_exporter
from gds_monitor.packs.document import Document, PackError

if TYPE_CHECKING:
    from gds_monitor.packs.model import Pack

__all__ = ["Dialect", "dialect_of", "load_pack", "parse_pack", "shipped_pack"]

Dialect = Literal["gds", "sql_exporter", "postgres_exporter", "pgwatch"]

_DATA = Path(__file__).parent / "data"


def load_pack(path: str | Path, *, engine: str | None = None) -> Pack:
    """The pack in a file, whichever of the dialects it is in.

    Args:
        path: The file.
        engine: The kind of database, which sql_exporter does not say: ``postgresql`` unless told otherwise.

    Raises:
        PackError: Something of it is wrong; the text has file, line and column.
        OSError: The file cannot be read.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        raise PackError(str(path), line, column, "expected UTF-8") from None
    return parse_pack(text, str(path), engine=engine)


def parse_pack(text: str, source: str, *, engine: str | None = None) -> Pack:
    """The pack in a text; ``source`` is where it is from.

    Raises:
        PackError: Something of it is wrong.
    """
    if engine is not None and engine not in native.ENGINES:
        raise ValueError(f"engine {engine!r}: expected one of {', '.join(native.ENGINES)}")
    document = Document.parse(text, source)
    dialect = dialect_of(document)
    stem = Path(source).name.partition(".")[0] or "pack"
    if dialect == "gds":
        pack = native.read(document)
    elif dialect == "sql_exporter":
        pack = sql_exporter.read(document, engine or "postgresql")
    elif dialect == "pgwatch":
        pack = pgwatch.read(document, stem)
    else:
        pack = postgres_exporter.read(document, stem)
    if engine not in {None, pack.engine}:
        raise PackError(source, 1, 1, f"expected a pack for {engine}, got one for {pack.engine}")
    return pack


def dialect_of(document: Document) -> Dialect:  # noqa: RET503 - the last line raises
    """Which of the dialects a document is in.

    Raises:
        PackError: In none.
    """
    data = document.data
    if not isinstance(data, dict) or not data:
        document.fail((), "expected a mapping: a pack, or a file of sql_exporter, postgres_exporter or pgwatch")
    if "pack" in data or "collectors" in data:
        return "gds"
    if "collector_name" in data:
        return "sql_exporter"
    if any(isinstance(each, dict) and "query" in each for each in data.values()):
        return "postgres_exporter"
    if "metrics" in data:
        metrics = data["metrics"]
        return "sql_exporter" if isinstance(metrics, list) else "pgwatch"
    words = (
        "'pack' (a pack), 'collector_name' (sql_exporter), 'metrics' (pgwatch), or queries by name (postgres_exporter)"
    )
    document.fail((next(iter(data)),), f"unknown form; expected the key {words}", key=True)


@functools.cache
def shipped_pack(engine: str) -> Pack:
    """The pack that comes with this package for a kind of database.

    Raises:
        ValueError: There is none.
    """
    if engine not in native.ENGINES:
        raise ValueError(f"engine {engine!r}: expected one of {', '.join(native.ENGINES)}")
    from dataclasses import replace

    parts = [load_pack(path) for path in sorted((_DATA / engine).glob("*.yaml"))]
    first = parts[0]
    return replace(first, name=engine, collectors=tuple(each for part in parts for each in part.collectors))
