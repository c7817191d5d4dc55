"""docs/tutorial.md: its files are written, its commands are run, and each prints what is shown there."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.project.documents import ROOT, TIMEOUT_SECONDS
from tests.services.fixtures import KafkaFactory, require_service
from tests.services.install import install
from tests.services.process import wait_until
from tests.services.run import Prometheus, scrape_job

TUTORIAL = ROOT / "docs" / "tutorial.md"
NOT_RUN = {
    "python3 -m venv venv": "the tests have an environment with the wheels",
    ". venv/bin/activate": "as above",
    "pip install 'gds-telemetry[cli]' 'gds-vault'": "as above",
    "docker compose -f contrib/compose.yaml up --detach": "the servers of the tests stand in",
}


@dataclass(frozen=True)
class File:
    name: str
    text: str


@dataclass(frozen=True)
class Command:
    line: str
    printed: str


BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$|Save this\s+as\s+`(.+?)`", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


def steps() -> Iterator[File | Command]:
    """What a reader does, in order."""
    name = ""
    for block in re.finditer(
        r"^```(\w+)\n(.*?)^```$|Save this\s+as\s+`(.+?)`", TUTORIAL.read_text("utf-8"), re.S | re.M
    ):
        kind, text, named = block.groups()
        if named:
            name = named
        elif kind == "python":
            assert name, text
            yield File(name, text)
            name = ""
        elif kind == "console":
            for command in COMMAND.finditer(text):
                yield Command(command[1], command[2])


class Reader:
    """Who follows the tutorial in a folder of their own, with servers at other addresses."""

    def __init__(self, folder: Path, opened: ExitStack, addresses: dict[str, str]) -> None:
        self._folder = folder
        self._opened = opened
        self._addresses = addresses
        self._variables: dict[str, str] = {}
        commands = folder / "bin"
        commands.mkdir()
        promtool = install("prometheus")["promtool"]
        for name, runs in {
            "gds": f"{sys.executable} -m gds_cli",
            "python": sys.executable,
            "promtool": str(promtool),
        }.items():
            (commands / name).write_text(f'#!/bin/sh\nexec {runs} "$@"\n')
            (commands / name).chmod(0o755)
        (folder / "contrib").symlink_to(ROOT / "contrib")
        self._path = f"{commands}{os.pathsep}{os.environ['PATH']}"

    def follow(self, step: File | Command) -> None:
        if isinstance(step, File):
            (self._folder / step.name).write_text(self._adapted(step.text), "utf-8")
        elif step.line.startswith("cd "):
            self._folder /= step.line.removeprefix("cd ")
        elif step.line.startswith("export "):
            name, _, value = step.line.removeprefix("export ").partition("=")
            self._variables[name] = self._adapted(value)
        elif step.line.endswith("&"):
            self._start(step.line.removesuffix("&"))
        elif step.line not in NOT_RUN:
            self._run(step)

    def _adapted(self, text: str) -> str:
        for shown, used in self._addresses.items():
            text = text.replace(shown, used)
        return text

    @property
    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GDS_BOOT", "VAULT_"))}
        return kept | self._variables | {"PATH": self._path, "NO_PROXY": "localhost,127.0.0.1", "no_proxy": "localhost"}

    def _start(self, line: str) -> None:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def end() -> None:
            process.kill()
            process.wait()

        self._opened.callback(end)

    def _run(self, command: Command) -> None:
        told = ""

        def as_shown() -> bool:
            nonlocal told
            told = subprocess.run(
                ["bash", "-c", self._adapted(command.line)],
                cwd=self._folder,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            ).stdout
            return doctest.OutputChecker().check_output(command.printed, told.rstrip("\n") + "\n", doctest.ELLIPSIS)

        if command.line.startswith("curl"):
            # A page that comes up and a scrape that comes round: the reader waits, too.
            wait_until(as_shown, what=lambda: f"$ {command.line}\n{command.printed}, got\n{told}")
        else:
            assert as_shown(), f"$ {command.line}\nexpected\n{command.printed}got\n{told}"


def test_whoever_follows_the_tutorial_sees_what_it_shows(
    tmp_path: Path, kafka_factory: KafkaFactory, leased_port: int
) -> None:
    require_service("prometheus")
    kafka = kafka_factory()
    with ExitStack() as opened:
        prometheus = opened.enter_context(Prometheus([scrape_job("gds", [f"127.0.0.1:{leased_port}"])]))
        addresses = {
            "port=8080": f"port={leased_port}",
            "localhost:8080": f"127.0.0.1:{leased_port}",
            "http://localhost:9090": prometheus.url,
            "localhost:9092": kafka.bootstrap_servers,
        }
        reader = Reader(tmp_path, opened, addresses)
        for step in steps():
            reader.follow(step)


def test_what_is_not_run_is_in_the_tutorial() -> None:
    commands = {step.line for step in steps() if isinstance(step, Command)}
    assert set(NOT_RUN) <= commands
    assert len(commands - set(NOT_RUN)) > 8


@pytest.mark.parametrize("name", ["shop.py", "counted.py", "observed.py"])
def test_each_program_of_the_tutorial_is_written_and_run(name: str) -> None:
    assert name in [step.name for step in steps() if isinstance(step, File)]
    assert [step for step in steps() if isinstance(step, Command) and f"python {name}" in step.line]
