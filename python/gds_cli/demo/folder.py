"""The folder of a demo, which is gone at its end however hastily that comes."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gds_cli.live.show import Ending

__all__ = ["make_folder"]


def make_folder(ending: Ending, parent: str | None = None) -> Path:
    """A new folder that only its owner reads, and that goes at last."""
    folder = Path(tempfile.mkdtemp(prefix="gds-demo-", dir=parent))
    ending.at_last(functools.partial(shutil.rmtree, folder, ignore_errors=True))
    return folder
