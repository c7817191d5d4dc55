"""A second copy of the packages, for when pip has deleted the files of the first.

Distributions named gds-metrics and gds-kafka once held ``gds_metrics`` and ``gds_kafka`` themselves. Where one of those
is still installed, pip upgrades it after it has installed this wheel, and deletes the files that the old one had: those
of the same names are the new ones. No order of dependencies prevents that (pip installs what a requirement needs before
the requirement), and a wheel cannot refuse.

So the wheel has the packages once more, in the folder ``spare``, which no other distribution ever had, and beside each
package a module of its name. Python prefers a package to a module; once its ``__init__.py`` is gone, it finds the
module, which calls `load`. ``gds doctor`` sees it, and docs/installing.md says how to mend it.
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

__all__ = ["load"]

SPARE = Path(__file__).with_name("spare")


def load(name: str) -> None:
    """Let the package ``name`` of the folder ``spare`` stand for the module of that name, which is being imported.

    Raises:
        ImportError: It is not there either.
    """
    folder = SPARE / name
    spec = spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None or not folder.is_dir():
        raise ImportError(
            f"{name}: its files are gone, those of the folder {folder} too; "
            "run: pip install --force-reinstall --no-deps gds-telemetry"
        )
    sys.modules[name] = package = module_from_spec(spec)
    spec.loader.exec_module(package)
