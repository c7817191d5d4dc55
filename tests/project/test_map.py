"""The map stays true: rooms, arrows between them, and what passes through the binding."""

from __future__ import annotations

import ast
import fnmatch
import graphlib
import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
MAP = re.compile(r"<!-- map -->\s*```\w*\n(.*?)```\s*<!-- /map -->", re.DOTALL)


def toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))


WHEEL_PACKAGES = set(toml(ROOT / "pyproject.toml")["tool"]["maturin"]["python-packages"])


# ------------------------------------------------------------------ the tree in the README
def drawn() -> dict[Path, set[str]]:
    """Each open folder of the map with the names drawn in it; folders end with a slash.

    A line is names, then ``#`` and what they are. What is in a folder follows it, two spaces in.
    """
    found = MAP.search((ROOT / "README.md").read_text("utf-8"))
    assert found, "README.md has no tree between <!-- map --> and <!-- /map -->"
    tree: dict[Path, set[str]] = {Path(): set()}
    path: list[str] = []
    for line in found[1].splitlines():
        names = line.partition("#")[0].split()
        if not names:
            continue
        depth, rest = divmod(len(line) - len(line.lstrip(" ")), 2)
        assert rest == 0, f"indentation of {line!r} is no multiple of two spaces"
        assert depth <= len(path), f"{line!r} is in no folder"
        del path[depth:]
        tree.setdefault(Path(*path), set()).update(names)
        path.append(names[-1])
    return tree


def on_disk(folder: Path) -> set[str]:
    """What a reader sees in a folder: no hidden, ignored or generated files."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split() if not line.startswith("#")]
    return {
        f"{entry.name}/" if entry.is_dir() else entry.name
        for entry in (ROOT / folder).iterdir()
        if not entry.name.startswith((".", "__"))
        and entry.name != "py.typed"
        and not any(fnmatch.fnmatch(entry.name, pattern) for pattern in ignored)
    }


def test_the_tree_in_the_readme_is_the_tree_on_disk() -> None:
    tree = drawn()
    visible = {folder: {name for name in names if not name.startswith(".")} for folder, names in tree.items()}
    assert visible == {folder: on_disk(folder) for folder in tree}
    for folder, names in tree.items():
        for name in names:
            path = ROOT / folder / name
            assert path.is_dir() if name.endswith("/") else path.is_file(), f"{path} is drawn"


def test_the_tree_shows_every_room() -> None:
    for rooms in (Path("crates"), Path("python"), Path("src")):
        assert rooms in drawn(), f"the map does not look into {rooms}"


# ------------------------------------------------------------------ arrows between the rooms
def crates() -> list[str]:
    return sorted(toml(manifest)["package"]["name"] for manifest in ROOT.glob("crates/*/Cargo.toml"))


def locked_dependencies() -> dict[str, set[str]]:
    """Each package of the lock file with the names of those it depends on, in any way."""
    dependencies: dict[str, set[str]] = {}
    for package in toml(ROOT / "Cargo.lock")["package"]:
        names = {dependency.split()[0] for dependency in package.get("dependencies", ())}
        dependencies.setdefault(package["name"], set()).update(names)
    return dependencies


def reachable(start: str, arrows: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(arrows.get(name, ()))
    return seen


def test_no_crate_knows_python() -> None:
    arrows = locked_dependencies()
    assert any(name.startswith("pyo3") for name in reachable("gds-native", arrows))
    knowing = {
        crate: sorted(name for name in reachable(crate, arrows) if name.startswith("pyo3")) for crate in crates()
    }
    assert knowing == {crate: [] for crate in crates()}
    assert knowing


def test_no_crate_depends_on_the_binding() -> None:
    arrows = locked_dependencies()
    assert [crate for crate in crates() if "gds-native" in reachable(crate, arrows)] == []


# ------------------------------------------------------------------ arrows between the files of a crate
_TESTED = re.compile(
    r"""^#\[cfg\((?:all\()?(?:test\b|feature = "testing")[^\n]*\]\n"""
    r"""(?:#\[[^\n]*\]\n)*(?:pub(?:\(\w+\))? )?mod \w+ \{.*""",
    re.MULTILINE | re.DOTALL,
)
_USED = re.compile(r"\b(crate|super(?:::super)*)::((?:\w+::)*)(\w+|\{[^;]*?\})")

Module = tuple[str, ...]


def modules(source: Path) -> dict[Module, Path]:
    """The files of a crate by the modules they are, less those that are tests or test others."""
    testing = {"tests", "testing", "model", "ordering"}
    found: dict[Module, Path] = {}
    for path in source.rglob("*.rs"):
        names = path.relative_to(source).with_suffix("").parts
        if testing.isdisjoint(names):
            found[names[:-1] if names[-1] in {"lib", "mod"} else names] = path
    return found


def used(module: Module, path: Path, others: Mapping[Module, Path]) -> Iterator[Module]:
    """The modules of the same crate that a file names."""
    code = re.sub(r"//[^\n]*", "", _TESTED.sub("", path.read_text("utf-8")))
    for head, middle, last in _USED.findall(code):
        base = () if head == "crate" else module[: len(module) - head.count("super")]
        names = [name.strip() for name in last.strip("{}").split(",")] if last.startswith("{") else [last]
        for name in names:
            full = (*base, *middle.split("::")[:-1], *name.split("::"))
            yield next(full[:end] for end in range(len(full), -1, -1) if full[:end] in others)


@pytest.mark.parametrize("source", ["src", *(f"crates/{crate}/src" for crate in crates())])
def test_files_of_a_crate_use_each_other_in_one_direction(source: str) -> None:
    files = modules(ROOT / source)
    arrows = {module: set(used(module, path, files)) - {module, ()} for module, path in files.items()}
    assert len(arrows) < 3 or any(arrows.values()), "nothing uses anything"
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        circle = " -> ".join("::".join(module) or "lib" for module in reversed(error.args[1]))
        pytest.fail(f"{source}: {circle}")


# ------------------------------------------------------------------ arrows between the packages
def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for pattern in ("*.py", "*.pyi"):
            yield from (ROOT / folder).rglob(pattern)


def imported(path: Path) -> set[str]:
    """The modules that a file imports, by their full names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return names


def top_level(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_only_packages_of_the_wheel_import_the_native_module() -> None:
    others = [
        path.relative_to(ROOT)
        for path in python_files("python", "packages", "tests", "bench", "examples", "docs")
        if "gds_native" in top_level(imported(path))
        and not (
            path.is_relative_to(ROOT / "python")
            and path.relative_to(ROOT / "python").parts[0].removesuffix(".py") in WHEEL_PACKAGES
        )
    ]
    assert others == []


def test_the_native_module_knows_none_of_the_packages_above_it() -> None:
    for path in python_files("python/gds_native"):
        assert not top_level(imported(path)) & (WHEEL_PACKAGES - {"gds_native"}), path


def test_every_python_room_is_in_the_wheel() -> None:
    assert {path.parent.name for path in ROOT.glob("python/*/__init__.py")} == WHEEL_PACKAGES


@pytest.mark.parametrize("package", sorted(WHEEL_PACKAGES))
def test_tests_run_on_the_installed_wheel(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__file__ is not None
    assert not Path(module.__file__).resolve().is_relative_to(ROOT / "python")
    assert Path(module.__file__).with_name("py.typed").is_file()


# ------------------------------------------------------------------ through the binding
_FUNCTION = re.compile(
    r"^( *)(?:pub(?:\([^)]*\))? )?(?:const |async |unsafe )*fn (\w+)([^\n]*\}$|.*?^\1\})", re.MULTILINE | re.DOTALL
)
MOST_LINES = 90


def test_functions_of_the_binding_are_short() -> None:
    """What converts, calls and converts needs no more; what does is logic, and belongs to a crate."""
    lengths = [
        (text.count("\n") + 1, f"{path.relative_to(ROOT)}: {name}")
        for path in (ROOT / "src").rglob("*.rs")
        for _, name, text in _FUNCTION.findall(path.read_text("utf-8"))
    ]
    assert len(lengths) > 300, "the functions are not found"
    assert [(lines, where) for lines, where in lengths if lines > MOST_LINES] == []


def native_exports() -> set[str]:
    native = importlib.import_module("gds_native._lib")
    return {name for name in vars(native) if not name.startswith("_")}


def stub_names() -> set[str]:
    names: set[str] = set()
    stub = ROOT / "python" / "gds_native" / "_lib.pyi"
    for node in ast.parse(stub.read_text("utf-8")).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def names_used_of_the_native_module(path: Path) -> set[str]:
    """What a file takes from `gds_native._lib`: imported by name, or as an attribute of it."""
    syntax = ast.parse(path.read_text("utf-8"), str(path))
    used: set[str] = set()
    aliases: set[str] = set()
    for node in ast.walk(syntax):
        if isinstance(node, ast.ImportFrom) and node.module == "gds_native._lib":
            used.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "gds_native":
            aliases.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            aliases.update(alias.asname or alias.name for alias in node.names if alias.name == "gds_native._lib")
    used.update(
        node.attr for node in ast.walk(syntax) if isinstance(node, ast.Attribute) and ast.unparse(node.value) in aliases
    )
    return used


def test_every_native_export_is_wrapped() -> None:
    used: set[str] = set()
    for package in WHEEL_PACKAGES - {"gds_native"}:
        for path in python_files(f"python/{package}"):
            used |= names_used_of_the_native_module(path)
    assert native_exports() - used == set()


def test_the_stub_has_each_native_export() -> None:
    assert stub_names() >= native_exports()
