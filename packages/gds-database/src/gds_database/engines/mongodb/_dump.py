"""A database as files: for each collection its documents as BSON and its options as JSON, and one manifest.

Files are named and laid out as by ``mongodump``; the manifest is beside them. Documents are read and written as the
bytes that they are.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from gds_database.base import QueryError
from gds_database.engines._base import driver
from gds_database.engines.mongodb._commands import Command
from gds_database.errors import ConfigurationError, StatementTimeoutError, ToolError
from gds_database.plan import Step

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping

    from gds_database.engines.mongodb.engine import MongoDBEngine

__all__ = ["Dump", "Limits"]

MANIFEST = "manifest.json"
FORMAT = 1
BATCH_DOCUMENTS = 1000
BATCH_BYTES = 8 * 1024 * 1024
# What a server says of an index and no other one needs to be told: the format of its files, as mongorestore leaves out.
_OWN_TO_A_SERVER = {"ns", "background", "v"}
# A length that a document cannot have says that the file is none of BSON.
LARGEST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """When to stop, and whom to tell."""

    timeout_seconds: float
    progress: Callable[[str], object] | None = None
    cancelled: threading.Event | None = None


@dataclass(frozen=True)
class Collection:
    """One line of the manifest."""

    name: str
    kind: str
    file: str | None
    metadata: str
    documents: int
    sha256: str | None
    metadata_sha256: str


class Dump:
    """One database and the folder that it is written to or read from."""

    def __init__(self, engine: MongoDBEngine, database: str, folder: Path, limits: Limits) -> None:
        self._engine = engine
        self._database = database
        self._folder = folder
        self._limits = limits
        self._deadline = time.monotonic() + limits.timeout_seconds

    # ------------------------------------------------------------------ writing
    def prepare(self) -> None:
        """Make the folder; `ConfigurationError` if it cannot be used."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            used = any(self._folder.iterdir())
        except OSError as error:
            raise ConfigurationError(f"path={str(self._folder)!r}: {error.strerror}") from None
        if used:
            raise ConfigurationError(f"path={str(self._folder)!r}: expected a folder that is empty or not there")

    def write(self) -> dict[str, Any]:
        """Write all of it; returns counts. The manifest comes last: without one there is no backup."""
        written = []
        for each in self._collections():
            one = self._write_collection(each)
            written.append(one)
            self._tell(f"{one.name}: {one.documents} documents")
        manifest = {
            "format": FORMAT,
            "database": self._database,
            "server": self._engine.get_version(),
            "collections": [vars(each) for each in written],
        }
        self._private(MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())
        return {"collections": len(written), "documents": sum(each.documents for each in written)}

    def _write_collection(self, found: Mapping[str, Any]) -> Collection:
        name, kind = str(found["name"]), str(found.get("type", "collection"))
        stem = quote(name, safe=" !#&'()+,;=@[]^_`{}~-.")
        # A name of a file has 255 bytes at most.
        stem = stem if len(stem) < 200 else f"{stem[:120]}%24{hashlib.sha256(name.encode()).hexdigest()}"
        json_util = driver("bson.json_util", "mongodb")
        metadata_document = {
            "collectionName": name,
            "type": kind,
            "options": found.get("options") or {},
            "indexes": found["indexes"],
        }
        text = json_util.dumps(metadata_document, json_options=json_util.CANONICAL_JSON_OPTIONS).encode()
        metadata = f"{stem}.metadata.json"
        self._private(metadata, text)
        documents, digest, file = 0, None, None
        if kind != "view":
            file = f"{stem}.bson"
            documents, digest = self._write_documents(name, file)
        return Collection(name, kind, file, metadata, documents, digest, hashlib.sha256(text).hexdigest())

    def _write_documents(self, name: str, file: str) -> tuple[int, str]:
        documents, digest = 0, hashlib.sha256()
        with self._opened(file) as out:

            def write_all() -> None:
                nonlocal documents
                for document in self._raw(name).find({}, batch_size=BATCH_DOCUMENTS):
                    if documents % BATCH_DOCUMENTS == 0:
                        self._go_on()
                    out.write(document.raw)
                    digest.update(document.raw)
                    documents += 1

            self._bounded(write_all)
            out.flush()
            os.fsync(out.fileno())
        return documents, digest.hexdigest()

    def _opened(self, name: str) -> IO[bytes]:
        return os.fdopen(os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def _private(self, name: str, content: bytes) -> None:
        with self._opened(name) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    # ------------------------------------------------------------------ reading
    def reading(self, *, replace: bool) -> list[Step]:
        """What restoring it takes; everything that can be compared beforehand is."""
        found = self._manifest()
        for each in found:
            self._go_on()
            self._compare(each.metadata, each.metadata_sha256)
            if each.file is not None:
                self._compare(each.file, each.sha256)
        names = {str(each["name"]) for each in self._collections()}
        steps = []
        for each in found:
            if each.name in names:
                if not replace:
                    raise QueryError(
                        f"collection {each.name!r} is in {self._database!r} already; restore into another database, or "
                        f"replace it with replace=True"
                    )
                steps.append(self._engine._changes(Command("drop", each.name, database=self._database)))
        # Views last: they need their collections.
        for each in sorted(found, key=lambda each: each.kind == "view"):
            steps += self._reading(each)
        return steps

    def _manifest(self) -> list[Collection]:
        try:
            manifest = json.loads((self._folder / MANIFEST).read_bytes())
            if manifest["format"] != FORMAT:
                raise ConfigurationError(
                    f"path={str(self._folder)!r}: is of the format {manifest['format']!r}, not {FORMAT}"
                )
            found = [Collection(**each) for each in manifest["collections"]]
        except OSError as error:
            raise ConfigurationError(
                f"path={str(self._folder)!r}: expected a backup with {MANIFEST}: {error.strerror}"
            ) from None
        except (ValueError, KeyError, TypeError):
            raise ConfigurationError(f"path={str(self._folder)!r}: {MANIFEST} cannot be read") from None
        for each in found:
            for name in filter(None, (each.file, each.metadata)):
                if Path(name).name != name:
                    raise ConfigurationError(f"path={str(self._folder)!r}: {MANIFEST} names {name!r}, which is outside")
        return found

    def _compare(self, name: str, expected: str | None) -> None:
        digest = hashlib.sha256()
        try:
            with (self._folder / name).open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise ConfigurationError(f"{self._folder / name}: {error.strerror}") from None
        if digest.hexdigest() != expected:
            raise ConfigurationError(f"{self._folder / name}: is not what was written: its checksum is another one")

    def _reading(self, found: Collection) -> list[Step]:
        json_util = driver("bson.json_util", "mongodb")
        metadata_document = json_util.loads(
            (self._folder / found.metadata).read_text("utf-8"), json_options=json_util.CANONICAL_JSON_OPTIONS
        )
        create = Command("create", found.name, metadata_document["options"], self._database)
        steps = [self._engine._changes(create)]
        if found.file is not None:
            steps.append(
                Step(
                    f"insert {found.documents} documents of {found.file} into {found.name}", lambda: self._insert(found)
                )
            )
        indexes = [
            {key: value for key, value in each.items() if key not in _OWN_TO_A_SERVER}
            for each in metadata_document["indexes"]
            if each.get("name") != "_id_"
        ]
        if indexes:
            steps.append(
                self._engine._changes(Command("createIndexes", found.name, {"indexes": indexes}, self._database))
            )
        return steps

    def _insert(self, found: Collection) -> None:
        into = self._raw(found.name)
        inserted = 0
        for batch in self._batches(found):
            self._go_on()
            self._bounded(lambda batch=batch: into.insert_many(batch, ordered=True, bypass_document_validation=True))  # type: ignore[misc]
            inserted += len(batch)
        if inserted != found.documents:
            raise QueryError(f"{found.name}: {inserted} documents were inserted, {found.documents} were written")
        self._tell(f"{found.name}: {inserted} documents")

    def _batches(self, found: Collection) -> Iterator[list[Any]]:
        document = driver("bson.raw_bson", "mongodb").RawBSONDocument
        batch: list[Any] = []
        size = 0
        with (self._folder / str(found.file)).open("rb") as file:
            while head := file.read(4):
                length = int.from_bytes(head, "little")
                rest = file.read(length - 4) if 5 <= length <= LARGEST_BYTES else b""
                if len(head) + len(rest) != length:
                    raise ConfigurationError(f"{self._folder / str(found.file)}: ends within a document")
                batch.append(document(head + rest))
                size += length
                if len(batch) == BATCH_DOCUMENTS or size > BATCH_BYTES:
                    yield batch
                    batch, size = [], 0
        if batch:
            yield batch

    # ------------------------------------------------------------------ both
    def _collections(self) -> list[dict[str, Any]]:
        """The collections and views of the database, each with its indexes; without those of the server."""
        found: list[dict[str, Any]] = []

        def read() -> None:
            # By the driver's cursors: however many there are, these read all of them.
            database = self._engine._client()[self._database]
            for each in database.list_collections():
                if not str(each["name"]).startswith("system."):
                    view = each.get("type") == "view"
                    indexes = [] if view else [dict(index) for index in database[each["name"]].list_indexes()]
                    found.append({**each, "indexes": indexes})

        self._bounded(read)
        return sorted(found, key=lambda each: str(each["name"]))

    def _raw(self, name: str) -> Any:
        """A collection whose documents stay bytes."""
        options = driver("bson.codec_options", "mongodb").CodecOptions(
            document_class=driver("bson.raw_bson", "mongodb").RawBSONDocument
        )
        return self._engine._client()[self._database].get_collection(name, codec_options=options)

    def _bounded(self, call: Callable[[], object]) -> None:
        """Run it within the time that is left."""
        left = self._deadline - time.monotonic()

        failed = None
        with self._engine._lock:
            try:
                with driver("pymongo", "mongodb").timeout(max(left, 0.001)):
                    call()
            except Exception as error:  # noqa: BLE001 - the driver's own, whose text may be anything
                failed = self._engine._translate(error)
        if failed is not None:
            raise failed

    def _go_on(self) -> None:
        if self._limits.cancelled is not None and self._limits.cancelled.is_set():
            raise ToolError(
                "was cancelled; what it has written so far is no backup, and what it has restored is a part"
            )
        if time.monotonic() > self._deadline:
            raise StatementTimeoutError(f"took longer than the {self._limits.timeout_seconds:g} s that it was allowed")

    def _tell(self, line: str) -> None:
        if self._limits.progress is not None:
            self._limits.progress(line)
