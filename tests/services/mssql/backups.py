"""BACKUP and RESTORE: files of DuckDB with a header that tells what they are, in the order that SQL Server asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from .errors import SqlError, said
from .instance import Database
from .wire import Result

if TYPE_CHECKING:
    from .reading import Reading

_FLAGS = {
    "INIT",
    "NOINIT",
    "FORMAT",
    "NOFORMAT",
    "COMPRESSION",
    "NO_COMPRESSION",
    "CHECKSUM",
    "NO_CHECKSUM",
    "COPY_ONLY",
}
_FLAGS |= {"DIFFERENTIAL", "NORECOVERY", "RECOVERY", "REPLACE", "RESTART", "SKIP", "NOSKIP", "STOP_ON_ERROR"}
_VALUES = {
    "STATS",
    "NAME",
    "DESCRIPTION",
    "FILE",
    "STOPAT",
    "MAXTRANSFERSIZE",
    "BUFFERCOUNT",
    "BLOCKSIZE",
    "EXPIREDATE",
}
_TYPES = {"DATABASE": "D", "DIFFERENTIAL": "I", "LOG": "L"}


def backup(batch: Reading) -> Result:
    """BACKUP { DATABASE | LOG } name TO DISK = path [WITH ...]."""
    tokens = batch.tokens
    tokens.expect_words("BACKUP")
    kind = tokens.expect(lambda token: token.is_word("DATABASE", "LOG")).value.upper()
    name = batch.database_name()
    tokens.expect_words("TO", "DISK")
    tokens.expect_mark("=")
    path = Path(str(batch.value()))
    options = _options(batch)
    if batch.session.transactions:
        raise SqlError(3021, "Cannot perform a backup or restore operation within a transaction.", 16, 0)
    found = batch.instance.database(name)
    if not batch.instance.may(batch.session.login, "BACKUP DATABASE"):
        raise SqlError(262, f"BACKUP {kind} permission denied in database '{found.name}'.", 14)
    if found.state != "ONLINE":
        raise SqlError(942, f"Database '{found.name}' cannot be opened because it is offline.", 14, 4)
    kind = "DIFFERENTIAL" if "DIFFERENTIAL" in options else kind
    _may_be_taken(found, kind, options)
    batch.session.wait(0, "BACKUPIO")
    set_id = len(batch.instance.backups) + 1
    row = _backup_row(batch, found, kind, options, path, set_id)
    _write(batch, found, path, row, append="INIT" not in options and "FORMAT" not in options)
    with batch.instance.lock:
        batch.instance.backups.append(row)
        if kind == "DATABASE" and "COPY_ONLY" not in options:
            found.full_backup = set_id
    batch.instance.write_log(
        "Backup", f"{kind.capitalize()} backed up. Database: {found.name}, creation date(time): {found.created}"
    )
    shown = (
        [f"{percent} percent processed." for percent in range(10, 101, int(options.get("STATS") or 10))]
        if "STATS" in options
        else []
    )
    return Result(
        messages=[*shown, f"BACKUP {kind} successfully processed 100 pages in 0.010 seconds (78.125 MB/sec)."]
    )


def _may_be_taken(found: Database, kind: str, options: dict[str, Any]) -> None:
    if kind == "LOG" and found.model == "SIMPLE":
        raise said(4208)
    if kind == "LOG" and not found.full_backup and "COPY_ONLY" not in options:
        raise SqlError(4214, "BACKUP LOG cannot be performed because there is no current database backup.")
    if kind == "DIFFERENTIAL" and not found.full_backup:
        raise said(3035, found.name)


def _backup_row(
    batch: Reading, found: Database, kind: str, options: dict[str, Any], path: Path, set_id: int
) -> dict[str, Any]:
    lsn, now, size = batch.instance.lsn(), batch.instance.now(), 8192 * found.size_pages
    return {
        "backup_set_id": set_id, "media_set_id": set_id, "position": 1, "name": options.get("NAME"), "path": str(path),
        "user_name": batch.session.login.name, "first_lsn": lsn, "last_lsn": lsn + 1, "checkpoint_lsn": lsn,
        "database_backup_lsn": lsn, "backup_start_date": now, "backup_finish_date": now, "recovery_model": found.model,
        "type": _TYPES[kind], "database_name": found.name, "server_name": batch.instance.name,
        "has_backup_checksums": "CHECKSUM" in options, "is_copy_only": "COPY_ONLY" in options, "is_damaged": False,
        "backup_size": size, "compressed_backup_size": size // (4 if "COMPRESSION" in options else 1),
        "base": found.full_backup if kind != "DATABASE" else set_id,
    }  # fmt: skip


def _write(batch: Reading, found: Database, path: Path, row: dict[str, Any], *, append: bool) -> None:
    if path.exists() and not append:
        path.unlink()
    if path.exists():
        raise SqlError(3132, f"This server keeps one backup in a file: {path} has one. Say INIT, or name another file.")
    duck = batch.instance.duck.cursor()
    try:
        duck.execute(f"ATTACH '{_quoted(path)}' AS backup")
        duck.execute(f"COPY FROM DATABASE {found.store} TO backup")
        duck.execute(
            "CREATE TABLE backup.header"
            " (kind VARCHAR, name VARCHAR, set_id INTEGER, base INTEGER, model VARCHAR, finished TIMESTAMP)"
        )
        values = [row["type"], found.name, row["backup_set_id"], row["base"], found.model, row["backup_finish_date"]]
        duck.execute("INSERT INTO backup.header VALUES (?, ?, ?, ?, ?, ?)", values)
        duck.execute("DETACH backup")
    except duckdb.IOException as error:
        raise SqlError(
            3201, f"Cannot open backup device '{path}'. Operating system error 2({str(error).splitlines()[0]})."
        ) from None


def _header(batch: Reading, path: Path) -> dict[str, Any]:
    duck = batch.instance.duck.cursor()
    if not path.is_file():
        raise said(3201, path)
    try:
        duck.execute(f"ATTACH '{_quoted(path)}' AS backup (READ_ONLY)")
        found = duck.execute("SELECT kind, name, set_id, base, model, finished FROM backup.header").fetchone()
        duck.execute("DETACH backup")
    except duckdb.Error:
        raise SqlError(
            3241,
            f"The media family on device '{path}' is incorrectly formed. SQL Server cannot process this media family.",
            16,
            0,
        ) from None
    assert found is not None
    return dict(zip(("kind", "name", "set_id", "base", "model", "finished"), found, strict=True))


def restore(batch: Reading) -> Result:
    """RESTORE { DATABASE | LOG } name FROM DISK = path [WITH ...], and what only looks at a file."""
    tokens = batch.tokens
    tokens.expect_words("RESTORE")
    word = tokens.next().value.upper()
    if word in ("HEADERONLY", "FILELISTONLY", "VERIFYONLY"):
        return _look(batch, word)
    if word not in ("DATABASE", "LOG"):
        raise SqlError(102, f"Incorrect syntax near '{word}'.", 15)
    name = batch.database_name()
    if batch.session.transactions:
        raise SqlError(3021, "Cannot perform a backup or restore operation within a transaction.", 16, 0)
    if tokens.take_words("WITH", "RECOVERY"):
        batch.instance.database(name).state = "ONLINE"
        return Result()
    path = _device(batch)
    options = _options(batch)
    if not batch.instance.may(batch.session.login, "CREATE ANY DATABASE"):
        raise SqlError(3110, f"User does not have permission to RESTORE database '{name}'.", 14)
    header = _header(batch, path)
    with batch.instance.lock:
        found = _target(batch, name, header, options, word)
        _read(batch, found, path)
        found.state = "RESTORING" if "NORECOVERY" in options else "ONLINE"
        found.restored = header["base"]
        found.model = header["model"]
        found.access = "MULTI_USER"
        history = {
            "restore_history_id": len(batch.instance.restores) + 1,
            "restore_date": batch.instance.now(),
            "destination_database_name": found.name,
        }
        batch.instance.restores.append(
            {
                **history,
                "user_name": batch.session.login.name,
                "restore_type": header["kind"],
                "backup_set_id": header["set_id"],
            }
        )
    batch.instance.write_log("Backup", f"Database was restored: Database: {found.name}")
    return Result(messages=[f"RESTORE {word} successfully processed 100 pages in 0.010 seconds (78.125 MB/sec)."])


def _device(batch: Reading) -> Path:
    batch.tokens.expect_words("FROM", "DISK")
    batch.tokens.expect_mark("=")
    return Path(str(batch.value()))


def _look(batch: Reading, word: str) -> Result:
    path = _device(batch)
    _options(batch)
    header = _header(batch, path)
    if word == "VERIFYONLY":
        return Result(messages=["The backup set on file 1 is valid."])
    if word == "HEADERONLY":
        # A part of its columns, in its order. BackupType: 1 database, 2 log, 5 differential.
        number = {"D": 1, "L": 2, "I": 5}[header["kind"]]
        columns = [
            ("BackupName", "nvarchar"),
            ("BackupType", "smallint"),
            ("Position", "smallint"),
            ("DatabaseName", "nvarchar"),
            ("BackupFinishDate", "datetime"),
        ]
        return Result(columns, [(None, number, 1, header["name"], header["finished"])])
    columns = [("LogicalName", "nvarchar"), ("PhysicalName", "nvarchar"), ("Type", "nvarchar"), ("Size", "bigint")]
    data = "/var/opt/mssql/data/"
    name = header["name"]
    return Result(
        columns, [(name, f"{data}{name}.mdf", "D", 8 << 20), (f"{name}_log", f"{data}{name}_log.ldf", "L", 8 << 20)]
    )


def _target(batch: Reading, name: str, header: dict[str, Any], options: dict[str, Any], word: str) -> Database:
    """The database that is restored into, after all that keeps it from that."""
    found = batch.instance.databases.get(name.lower())
    if header["kind"] in ("I", "L"):
        if found is None or found.state != "RESTORING" or found.restored != header["base"]:
            raise SqlError(
                3117,
                "The log or differential backup cannot be restored because no files are ready to rollforward.",
                16,
                4,
            )
        return found
    if word == "LOG":
        raise SqlError(3118, "The database was not backed up as a log.")
    if found is None:
        return batch.instance.create_database(name)
    if batch.session.database is found or batch.instance.users_of(found, batch.session):
        raise SqlError(3101, "Exclusive access could not be obtained because the database is in use.")
    if "REPLACE" not in options and header["name"].lower() != found.name.lower():
        raise SqlError(
            3154, f"The backup set holds a backup of a database other than the existing '{found.name}' database.", 16, 4
        )
    if "REPLACE" not in options and found.model != "SIMPLE" and found.state == "ONLINE":
        raise said(3159, found.name)
    return found


def _read(batch: Reading, found: Database, path: Path) -> None:
    duck = batch.instance.duck.cursor()
    duck.execute(f"DETACH {found.store}")
    duck.execute(f"ATTACH ':memory:' AS {found.store}")
    duck.execute(f"ATTACH '{_quoted(path)}' AS backup (READ_ONLY)")
    duck.execute(f"COPY FROM DATABASE backup TO {found.store}")
    duck.execute("DETACH backup")
    duck.execute(f"DROP TABLE {found.store}.main.header")


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _options(batch: Reading) -> dict[str, Any]:
    found: dict[str, Any] = {}
    tokens = batch.tokens
    if not tokens.take_words("WITH"):
        batch.expect_end()
        return found
    while True:
        word = tokens.next().value.upper()
        if word == "MOVE":
            source = batch.value()
            tokens.expect_words("TO")
            found.setdefault("MOVE", {})[source] = batch.value()
        elif word in _VALUES:
            value: Any = None
            if tokens.take_mark("="):
                value = batch.value()
            found[word] = value
        elif word in _FLAGS:
            found[word] = True
        else:
            raise SqlError(155, f"'{word}' is not a recognized BACKUP option.", 15)
        if not tokens.take_mark(","):
            batch.expect_end()
            return found
