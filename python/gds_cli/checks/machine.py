"""Whether this machine has what is wanted of it: a free port, a folder to write into."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import socket
import tempfile
from typing import TYPE_CHECKING

from gds_cli.checks import FAILED, OK, WARNING, Finding

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["can_be_made", "port_free", "spool_usable"]

SPOOL_BYTES = 1 << 30
"""The most that the spool of a process takes by default."""


def port_free(port: int) -> Finding:
    """Whether PrometheusMetrics could listen there."""
    with socket.socket() as listener:
        # As the server does: what a dead one left does not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("0.0.0.0", port))  # noqa: S104 - what PrometheusMetrics listens on
            listener.listen(1)
        except PermissionError:
            return Finding(FAILED, "this user may not listen there", "take one from 1024 on")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            who = f"see who has it with: ss -ltnp 'sport = :{port}'"
            return Finding(FAILED, "taken", f"{who}; or give PrometheusMetrics another one (0 picks it)")
    return Finding(OK, "free")


def spool_usable(folder: Path) -> Finding:
    """Whether a producer could keep messages there, and what others left."""
    try:
        if not folder.exists():
            return can_be_made(folder) or Finding(OK, "the folder is not there yet; the first message makes it")
        if not folder.is_dir():
            return Finding(FAILED, "it is no folder", "give the spool_dir another name")
        without_locks = _written_to(folder)
        if without_locks:
            return Finding(FAILED, f"the disk has no locks: {without_locks}", "take a folder on a disk of this machine")
        free = shutil.disk_usage(folder).free
        dead, left = _left_over(folder)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            return Finding(FAILED, f"full: {error.strerror}", "make room on the disk, or take another one")
        return Finding(FAILED, f"not writable: {error.strerror}", f"give this user the right to write into {folder}")
    found = f"writable, {_size(free)} free"
    if dead:
        return Finding(
            WARNING,
            f"{found}; spools of dead processes: {dead}, with {_size(left)}",
            "the next producer with this spool_dir sends what is in them: start the program",
        )
    if free < SPOOL_BYTES:
        wanted = f"a spool may take {_size(SPOOL_BYTES)}"
        return Finding(WARNING, f"{found}, and {wanted}", "make room, or lower spool_max_bytes")
    return Finding(OK, found)


def _written_to(folder: Path) -> str:
    """What keeps a file there from being locked; nothing if it can be written to and locked.

    Raises:
        OSError: It cannot be written to.
    """
    with tempfile.TemporaryFile(dir=folder, prefix=".gds-doctor-") as trial:
        trial.write(b"\0" * 65_536)
        trial.flush()
        os.fsync(trial.fileno())
        try:
            fcntl.flock(trial, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.strerror or type(error).__name__
    return ""


def can_be_made(folder: Path) -> Finding | None:
    """What keeps a folder from being made, if anything does."""
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not above.is_dir():
        return Finding(FAILED, f"it cannot be made: {above} is no folder", "take another folder")
    if not os.access(above, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return Finding(
            FAILED, f"it cannot be made: {above} is not writable", f"make it, and give it to this user: {folder}"
        )
    return None


def _left_over(folder: Path) -> tuple[int, int]:
    """How many processes that ended left a spool here, and how many bytes are in them."""
    spools = [entry for entry in folder.iterdir() if re.fullmatch(r"\d+-[0-9a-f]{16}", entry.name)]
    dead = [spool for spool in spools if not _is_held(spool / "lock")]
    return len(dead), sum(path.stat().st_size for spool in dead for path in (spool / "log").glob("*"))


def _is_held(lock: Path) -> bool:
    try:
        with lock.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
