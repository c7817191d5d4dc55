"""Commands that other packages bring: real distributions beside this one, of which only the folder is made here."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path
from textwrap import dedent

import pytest

from gds_cli._commands import BUILT_IN, GROUP
from tests.cli.commands import gds
from tests.metrics.test_import import wheel
from tests.project.test_map import ROOT, toml

SHOP = """
    import typer

    app = typer.Typer(no_args_is_help=True, help="Look after a shop.")

    @app.command()
    def order(kind: str, count: int = 1) -> int:
        "Take an order."
        print(f"{count} of {kind}")
        return 3

    @app.command()
    def close() -> None:
        raise ConnectionError("the shop is not reached\\nat all")
"""


def install(folder: Path, name: str, source: str, **commands: str) -> None:
    """A distribution as pip leaves it: metadata, and a module."""
    made = folder / f"{name}-1.5.dist-info"
    made.mkdir()
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.5\n")
    declared = [f"{command} = {value}" for command, value in commands.items()]
    (made / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *declared, ""]))
    (folder / f"{name}.py").write_text(dedent(source))


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return gds(*arguments, PYTHONPATH=path, COLUMNS="200")


def help_of(folder: Path) -> str:
    done = run(folder, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    return " ".join(done.stdout.replace("\u2502", " ").split())


def test_a_package_brings_a_command_with_commands_of_its_own(tmp_path: Path) -> None:
    install(tmp_path, "shop_tools", SHOP, shop="shop_tools:app")
    assert "shop Look after a shop." in help_of(tmp_path)
    done = run(tmp_path, "shop", "order", "books", "--count", "2")
    assert (done.returncode, done.stdout, done.stderr) == (3, "2 of books\n", "")
    assert "Take an order." in run(tmp_path, "shop", "--help").stdout


def test_a_function_is_a_command(tmp_path: Path) -> None:
    source = 'def greet(name: str) -> None:\n    "Be polite."\n    print("hello", name)\n'
    install(tmp_path, "polite", source, greet="polite:greet")
    assert "greet Be polite." in help_of(tmp_path)
    assert run(tmp_path, "greet", "Ada").stdout == "hello Ada\n"


def test_what_goes_wrong_in_it_is_one_line_and_a_code_as_in_any_command(tmp_path: Path) -> None:
    install(tmp_path, "shop_tools", SHOP, shop="shop_tools:app")
    done = run(tmp_path, "shop", "close")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "gds: the shop is not reached at all\n")
    done = run(tmp_path, "shop", "order", "books", "--count", "many")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--count" in done.stderr
    done = run(tmp_path, "shpo")
    assert done.returncode == 2
    assert "No such command 'shpo'. Did you mean 'shop'" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import not_here", "ModuleNotFoundError: No module named 'not_here'"),
        ("raise ValueError('expected [bold]more[/bold]')", "ValueError: expected [bold]more[/bold]"),
        ("import sys; sys.exit('no')", "SystemExit: no"),
        ("app = 7", "TypeError: broken:app: expected a typer.Typer or a function, got int"),
        ("def app(a: 1 / 0) -> None: ...", "ZeroDivisionError: division by zero"),
        ("", "AttributeError: module 'broken' has no attribute 'app'"),
    ],
)
def test_one_that_cannot_be_imported_says_why_and_the_others_run(source: str, error: str, tmp_path: Path) -> None:
    install(tmp_path, "broken", source, broken="broken:app")
    install(tmp_path, "shop_tools", SHOP, shop="shop_tools:app")
    said = f"cannot be imported: {error} (broken:app, of broken 1.5)"
    shown = help_of(tmp_path)
    assert f"broken {said}" in shown
    assert "shop Look after a shop." in shown
    assert all(name in shown for name in BUILT_IN)
    assert run(tmp_path, "shop", "order", "books").stdout == "1 of books\n"
    done = run(tmp_path, "broken", "--anything", "at", "all")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"gds: broken {said}\n")


def test_of_two_of_one_name_the_built_in_one_wins_and_the_help_says_so(tmp_path: Path) -> None:
    install(tmp_path, "other_top", "raise AssertionError('imported')", top="other_top:app")
    install(tmp_path, "a_shop", SHOP, shop="a_shop:app")
    install(tmp_path, "b_shop", "raise AssertionError('imported')", shop="b_shop:app")
    shown = help_of(tmp_path)
    assert "top Watch any pages" in shown
    assert "shop Look after a shop." in shown
    assert "imported" not in shown
    assert "top of other-top 1.5 is left out: gds-telemetry" in shown
    assert "shop of b-shop 1.5 is left out: a-shop 1.5 has a command of that name" in shown
    assert "--once" in run(tmp_path, "top", "--help").stdout


def test_damaged_metadata_of_others_keeps_nothing_of_ours_from_running(tmp_path: Path) -> None:
    install(tmp_path, "damaged", "")
    (tmp_path / "damaged-1.5.dist-info" / "entry_points.txt").write_text(f"[{GROUP}]\nno sign of equality\n")
    shown = help_of(tmp_path)
    assert all(name in shown for name in BUILT_IN)
    assert "commands of other packages were not found: " in shown
    assert run(tmp_path, "kafka", "--help").returncode == 0


def test_a_built_in_command_imports_nothing_of_other_packages(tmp_path: Path) -> None:
    install(tmp_path, "loud", "print('imported')", loud="loud:app")
    assert "imported" not in run(tmp_path, "doctor", "--help").stdout


def test_a_copy_without_metadata_has_the_commands_that_the_wheel_declares() -> None:
    assert toml(ROOT / "pyproject.toml")["project"]["entry-points"][GROUP] == BUILT_IN
    source = """
        import sys
        from importlib import metadata

        def without_the_wheel(name):
            raise metadata.PackageNotFoundError(name)

        metadata.distribution = without_the_wheel
        metadata.entry_points = lambda group: metadata.EntryPoints()
        from gds_cli._app import run

        sys.exit(run(["--help"]))
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(source)], capture_output=True, text=True, check=True, timeout=90
    )
    assert all(name in done.stdout for name in BUILT_IN)
    assert "left out" not in done.stdout


def test_the_wheel_declares_its_commands() -> None:
    with zipfile.ZipFile(wheel()) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
        declared = ConfigParser(delimiters=("=",))
        declared.read_string(archive.read(name).decode())
    assert dict(declared[GROUP]) == BUILT_IN
