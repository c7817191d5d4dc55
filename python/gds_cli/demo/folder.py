"""The folder of a demo, which is gone at its end however hastily that comes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

__all__ = ["make_folder", "remove_folder"]


def make_folder(parent: str | None = None) -> Path:
    """A new folder that only its owner reads."""
    return Path(tempfile.mkdtemp(prefix="gds-demo-", dir=parent))


def remove_folder(folder: Path) -> None:
    """Remove it with all that is in there.

    An ``Ending`` raises one ``KeyboardInterrupt``, which may come right here: it is passed on once the folder is gone.
    """
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except KeyboardInterrupt:
        shutil.rmtree(folder, ignore_errors=True)
        raise
