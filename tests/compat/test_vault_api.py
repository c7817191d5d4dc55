"""`gds_vault` has every name, parameter and default that programs of its 0.2 rely on."""

from __future__ import annotations

import importlib.metadata

from packaging.version import Version

import gds_vault
from tests.compat.api_lists import LISTS, differences, read
from tests.vault.test_alone import BLOCKED, run

VAULT = read(LISTS / "gds_vault.txt")


def test_everything_listed_is_there_with_its_parameters_and_defaults() -> None:
    assert differences(VAULT) == []


def test_pip_takes_it_for_the_newer_one() -> None:
    assert importlib.metadata.version("gds-vault") == gds_vault.__version__
    assert Version(gds_vault.__version__) > Version("0.2.0")


def test_what_needs_no_request_is_imported_without_requests() -> None:
    modules = ["gds_vault", *(f"gds_vault.{name}" for name in ("auth", "base", "cache", "exceptions", "retry"))]
    modules += ["gds_vault.rotation", "gds_vault.transport"]
    program = BLOCKED.format(blocked={"requests", "hvac", "aiohttp"}) + "".join(f"import {each}\n" for each in modules)
    done = run(program + "print(gds_vault.retry.RetryPolicy().execute(lambda: 'done'))")
    assert (done.stdout, done.stderr) == ("done\n", "")
