"""docs/vault.md has every setting, method, metric and exception there is; the README's lines run."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gds_vault
from gds_vault import RetryPolicy, SecretCache, VaultClient, _settings
from gds_vault._face import Face
from gds_vault.testing import VaultServer

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "packages" / "gds-vault"
TEXT = (ROOT / "docs" / "vault.md").read_text("utf-8")


def missing(names: set[str]) -> list[str]:
    return sorted(name for name in names if not re.search(rf"`{re.escape(name)}\b", TEXT))


def test_every_public_name_is_explained() -> None:
    assert missing(set(gds_vault.__all__)) == []


def test_every_setting_and_variable_is_in_the_table() -> None:
    settings = set(inspect.signature(VaultClient).parameters) - {"config"}
    assert missing(settings | _settings._KNOWN | set(_settings.VARIABLES)) == []


def test_both_clients_take_the_same_settings() -> None:
    signatures = [inspect.signature(client).parameters for client in (VaultClient, gds_vault.AsyncVaultClient)]
    settings = [{each.name: each.default for each in signature.values()} for signature in signatures]
    assert settings[0] == settings[1]
    # By place they differ in the last two, as they always have.
    assert list(settings[0])[:-2] == list(settings[1])[:-2]


@pytest.mark.parametrize("kind", [RetryPolicy, SecretCache])
def test_the_defaults_are_those_of_the_code(kind: type) -> None:
    parameters = inspect.signature(kind).parameters.values()
    shown = ", ".join(f"{each.name}={each.default}" for each in parameters if each.name != "clock")
    assert f"`{kind.__name__}({shown})`" in TEXT


def test_every_method_and_metric_is_explained() -> None:
    public = {name for kind in (VaultClient, Face) for name in vars(kind) if not name.startswith("_")}
    assert missing(public) == []
    source = (PACKAGE / "src" / "gds_vault" / "_report.py").read_text("utf-8")
    metrics = set(re.findall(r'"(vault\.[a-z_.]+)"', source))
    assert len(metrics) == 8
    assert missing(metrics) == []


def test_the_lines_of_the_readme_run(server: VaultServer) -> None:
    [program] = re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text("utf-8"), re.DOTALL)
    environment = {"VAULT_ADDR": server.url, "VAULT_ROLE_ID": "role", "VAULT_SECRET_ID": "secret-id"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={"PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("shop\n", "")
