"""The Python in README.md and docs/ runs: block after block of a document, as one program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from gds_vault.testing import VaultServer
from tests.project.documents import DOCUMENTS, ROOT, TIMEOUT_SECONDS, datagrams, python_of, receiver

# The tutorial is several programs: test_tutorial.py follows it.
WITH_PYTHON = [document for document in DOCUMENTS if document.stem != "tutorial" and python_of(document).strip()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that examples name."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    for part in certificate.cert_chain_pems:
        part.write_to_path(str(tmp_path / "server.pem"), append=True)
    (tmp_path / "metrics.token").write_text("a-token\n")
    return tmp_path


@pytest.mark.parametrize("document", WITH_PYTHON, ids=lambda document: document.name)
def test_the_python_in_the_documents_runs(document: Path, folder: Path) -> None:
    with receiver() as http, datagrams() as udp, VaultServer() as vault:
        vault.put("app/database", {"username": "shop", "password": "s3cret"})
        # What is changed: servers that are not there become stand-ins, and fixed ports free ones.
        text = python_of(document)
        for shown, used in (
            ("port=8080", "port=0"),
            ("http://pushgateway:9091", http.url),
            ("http://localhost:4318", http.url),
            ("https://collector:4317", http.url),
            ("8125", str(udp.getsockname()[1])),
            ("localhost:9092", "embedded:hub"),
        ):
            text = text.replace(shown, used)
        program = folder / f"{document.stem}.py"
        program.write_text(text, "utf-8")
        ours = ("OTEL_", "PROM", "VAULT_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environment |= {"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.root_token}
        run = subprocess.run(
            [sys.executable, "-W", "error", program],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""


def test_each_document_that_teaches_has_python() -> None:
    names = {document.relative_to(ROOT).as_posix() for document in WITH_PYTHON}
    assert names >= {
        "README.md",
        "docs/collectors.md",
        "docs/migrating.md",
        "docs/processes.md",
        "docs/security.md",
    }


def test_the_first_metric_is_shown_in_at_most_five_lines() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    first = readme.partition("## The first metric")[2].partition("```python\n")[2].partition("```")[0]
    assert len(first.splitlines()) <= 5
    assert "increment(" in first
