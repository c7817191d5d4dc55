"""Whether the wheel is there and whole, and what else was installed that touches it."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import platform
import re
from contextlib import suppress
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

from gds_cli.checks import FAILED, OK, WARNING, Finding, Steps

__all__ = ["REINSTALL", "steps"]

WHEEL = "gds-telemetry"
FORMER = {"gds-metrics", "gds-kafka"}
"""Distributions that held packages of the wheel before 1.0."""

REINSTALL = f"pip install --force-reinstall --no-deps {WHEEL}"


def steps() -> Steps:
    """The checks."""
    return [("wheel", _wheel), ("distributions", _distributions), ("extras", _extras)]


def _wheel() -> Finding:
    try:
        wheel = distribution(WHEEL)
    except PackageNotFoundError:
        where = Path(__file__).parents[1]
        return Finding(WARNING, f"{WHEEL} is not installed; this runs from {where}", f"pip install '{WHEEL}[cli]'")
    try:
        import gds_kafka
        import gds_metrics
        import gds_native._lib as native
    except ImportError as error:
        return Finding(FAILED, f"{WHEEL} {wheel.version} cannot be imported: {error}", REINSTALL)
    python = f"Python {platform.python_version()} on {platform.machine()}"
    found = f"{WHEEL} {wheel.version}, the compiled module loads, {python}"
    folders = {module.__name__: Path(str(module.__file__)).parent for module in (gds_kafka, gds_metrics, native)}
    home = Path(str(wheel.locate_file(""))).resolve()
    hidden = [f"{name} is that of {path}" for name, path in folders.items() if not path.resolve().is_relative_to(home)]
    if hidden:
        return Finding(WARNING, f"{found}; but {', '.join(hidden)}", "take what hides the wheel's off PYTHONPATH")
    return Finding(OK, found)


def _distributions() -> Finding:
    try:
        wheel = distribution(WHEEL)
    except PackageNotFoundError:
        return Finding(WARNING, f"{WHEEL} is not installed, so there is nothing to compare with")
    ours = _record(wheel)
    missing, changed = _damage(ours)
    old, new = _sharing({path for path in ours if ".dist-info" not in path})
    problems = []
    if missing or changed:
        damage = [_few(what, paths) for what, paths in (("missing", missing), ("changed", changed)) if paths]
        problems.append(f"files of {WHEEL} are {' and '.join(damage)}")
    if old:
        names = " and ".join(f"{name} {version}" for name, version in old)
        problems.append(f"{names} holds files of the same names, which are deleted when it is upgraded or removed")
    if not problems:
        besides = "".join(f", {name} {version}" for name, version in new)
        return Finding(OK, f"all {len(ours)} files of {WHEEL} {wheel.version} are whole{besides}")
    first = f"pip uninstall -y {' '.join(name for name, _ in old)} && " if old else ""
    return Finding(FAILED if missing or changed else WARNING, "; ".join(problems), first + REINSTALL)


def _record(found: Distribution) -> dict[str, str]:
    """Its files and their digests, as written at installation. `Distribution.files` leaves out what is missing."""
    home = Path(str(found.locate_file(""))).resolve()
    rows = [row for row in csv.reader((found.read_text("RECORD") or "").splitlines()) if len(row) > 1]
    return {os.path.normpath(home / row[0]): row[1] for row in rows if not row[0].endswith(".pyc")}


def _damage(files: dict[str, str]) -> tuple[list[str], list[str]]:
    missing, changed = [], []
    for path, expected in files.items():
        name, _, digest = expected.partition("=")
        try:
            content = Path(path).read_bytes() if digest else b""
        except OSError:
            missing.append(path)
            continue
        if digest and base64.urlsafe_b64encode(hashlib.new(name, content).digest()).rstrip(b"=").decode() != digest:
            changed.append(path)
    return missing, changed


def _few(what: str, paths: list[str]) -> str:
    shown = ", ".join("/".join(Path(path).parts[-2:]) for path in sorted(paths)[:3])
    return f"{what}: {shown}" + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def _sharing(ours: set[str]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Other distributions that hold files of ours, and those that did before 1.0 and do not any more."""
    old, new = set(), set()
    for other in distributions():
        name = re.sub(r"[-_.]+", "-", other.metadata["Name"] or "").lower()
        if name == WHEEL:
            continue
        # What setuptools installed by itself has no list of files.
        unlisted = name in FORMER and other.read_text("RECORD") is None
        if unlisted or ours & _record(other).keys():
            old.add((name, other.version))
        elif name in FORMER:
            new.add((name, other.version))
    return sorted(old), sorted(new)


def _extras() -> Finding:
    needed: dict[str, list[str]] = {}
    with suppress(PackageNotFoundError):
        for requirement in distribution(WHEEL).requires or ():
            parsed = re.match(r"([\w.-]+).*\bextra\s*==\s*['\"]([\w-]+)", requirement)
            if parsed:
                needed.setdefault(f"{WHEEL}[{parsed[2]}]", []).append(parsed[1])
    needed["gds-vault"] = ["gds-vault", "hvac"]
    present, absent = [], []
    for extra, names in needed.items():
        versions = [_version(name) for name in names]
        if all(versions):
            named = (f"{name} {version}" for name, version in zip(names, versions, strict=True))
            present.append(f"{extra} ({', '.join(named)})")
        else:
            absent.append(extra)
    found = "; ".join(filter(None, (", ".join(present), f"not installed: {', '.join(absent)}" if absent else "")))
    wanted = " ".join(f"'{extra}'" for extra in absent)
    return Finding(OK, found, f"where they are wanted: pip install {wanted}" if absent else "")


def _version(name: str) -> str:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return ""
