"""The Python in README.md and docs/ runs, and what README.md says of it, and of the commands, is so."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from gds_kafka import KafkaConsumerClient
from gds_vault.testing import VaultServer
from tests.metrics.programs import run
from tests.project.documents import DOCUMENTS, ROOT, TIMEOUT_SECONDS, datagrams, make, python_of, receiver
from tests.project.test_map import toml
from tests.services.kafka import KafkaBroker
from tests.services.vault import Vault

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
        done = subprocess.run(
            [sys.executable, "-W", "error", program],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    if document.name == "README.md":
        printed = done.stdout.splitlines()
        for said in ('gds_requests_total{path="/"} 1.0', "[COUNTER] app.orders.taken: +1 {'kind': 'book'}"):
            assert said in (ROOT / "README.md").read_text("utf-8")
            assert said in printed


def test_each_document_that_teaches_has_python() -> None:
    names = {document.relative_to(ROOT).as_posix() for document in WITH_PYTHON}
    assert names >= {
        "README.md",
        "docs/collectors.md",
        "docs/migrating.md",
        "docs/processes.md",
        "docs/security.md",
    }


README = (ROOT / "README.md").read_text("utf-8")


def block(heading: str) -> str:
    """The first program below a heading."""
    return README.partition(f"\n## {heading}\n")[2].partition("```python\n")[2].partition("```")[0]


def test_the_first_metric_is_shown_in_at_most_five_lines() -> None:
    first = block("The first metric")
    assert len(first.splitlines()) <= 5
    assert "increment(" in first


def test_the_start_is_seen_on_the_page_and_on_the_topic(vault: Vault, kafka: KafkaBroker, leased_port: int) -> None:
    vault.put("app/database", {"password": "hunter2-of-the-start"})
    vault.write_policy("start", {"secret/data/app/database": ["read"]})
    role_id, secret_id = vault.add_approle("start", policies=["start"])
    source = block("Start").replace("8080", str(leased_port)).replace("localhost:9092", kafka.bootstrap_servers)
    source += f"""
import json, os
from urllib.request import ProxyHandler, build_opener
page = build_opener(ProxyHandler({{}})).open("http://127.0.0.1:{leased_port}/metrics").read().decode()
print(json.dumps([os.getpid(), page]))
"""
    variables = {"VAULT_ADDR": vault.url, "VAULT_ROLE_ID": role_id, "VAULT_SECRET_ID": secret_id}
    names, told = run(source, extra=variables).splitlines()
    process, page = json.loads(told)
    assert names == "['password']"
    [shown] = re.findall(r"`(gds_vault_secret_miss_total.*?)`", README)
    assert shown in page.splitlines()
    assert re.search(r"^gds_vault_secret_fetch_sum\S* 0\.\d+$", page, re.MULTILINE)

    settings: dict[str, Any] = {"auto_offset_reset": "earliest", "consumer_timeout_ms": 10_000}
    with KafkaConsumerClient("logs", kafka.bootstrap_servers, **settings) as consumer:
        record = next((each["value"] for each in consumer if each["value"]["process"] == process), None)
    assert record, "nothing of this program is on the topic"
    assert (record["logger"], record["service"]) == ("gds_vault", "shop")
    assert "logged in" in record["message"]
    for secret in (secret_id, "hunter2-of-the-start"):
        assert secret not in page + json.dumps(record)


@pytest.mark.parametrize("package", ["gds_metrics", "gds_kafka", "gds_alerting", "gds_store", "gds_vault"])
def test_an_import_starts_no_thread_opens_no_socket_and_configures_no_logger(package: str) -> None:
    source = f"""
import logging, os, sys

def audit(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.fork", "os.posix_spawn")):
        raise AssertionError(f"import did {{event}}")

sys.addaudithook(audit)
import {package}
print(len(os.listdir("/proc/self/task")))
every = [logging.getLogger(), *map(logging.getLogger, [*logging.Logger.manager.loggerDict])]
print([each.name for each in every if each.name.startswith(("root", "gds_")) and (each.handlers or not each.propagate)])
print(logging.getLogger().level, logging.getLogger("{package}").level)
"""
    assert run(source).splitlines() == ["1", "[]", f"{30} 0"]


def test_reporting_does_not_wait_for_a_kafka_that_hangs() -> None:
    # It takes connections and answers none: what is reported fills the buffer, and then is dropped and counted.
    [reporters] = re.findall(r"Logs and metrics go the same way:\n\n```python\n(.*?)```", README, re.DOTALL)
    assert reporters.count('service="shop"') == reporters.count("lazy=True") == 1
    for setting in ('service="shop"', "lazy=True"):
        reporters = reporters.replace(setting, f"{setting}, **small")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = f"""
import json, logging
from gds_kafka import KafkaProducerClient

logging.getLogger("gds_kafka").disabled = True  # that nobody answers is told there
small = {{"buffer_memory": 50_000, "close_timeout_seconds": 0}}
{reporters}
log = logging.getLogger("shop")
for number in range(5_000):
    metrics.increment("orders", labels={{"kind": "book"}})
    log.error("order %d", number)
producers = (metrics._producer, log.handlers[0]._producer)
print(json.dumps([metrics.dropped, *(producer.stats() for producer in producers)]))
"""
        source = source.replace("localhost:9092", f"127.0.0.1:{silent.getsockname()[1]}")
        refused, *producers = json.loads(run(source))
    assert refused == {}
    for stats in producers:
        assert stats["dropped_total"]["buffer_full"] > 0
        assert stats["dropped_total"]["buffer_full"] + stats["pending"] == stats["accepted_total"] == 5_000


# ------------------------------------------------------------------ the commands
def test_make_alone_lists_the_commands() -> None:
    listed = re.findall(r"^  make (\S+) ", make(), re.MULTILINE)
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert listed == targets
    assert {"demo", "test", "lint", "wheel"} <= set(listed)
    assert set(re.findall(r"^    make (\w+) ", README, re.MULTILINE)) == {"demo", "test"}


def test_the_two_commands_install_with_no_pip_but_that_of_their_environment() -> None:
    steps = re.findall(r"'([a-z-]+)=", make("--dry-run", "demo", "test"))
    assert {"install", "test-rust", "services", "test-python"} <= set(steps)
    recipes = make("--dry-run", "--always-make", *dict.fromkeys(steps))
    assert ".venv/bin/python -m pip install" in recipes
    installing = re.findall(r"(\S+) (?:-m pip|\$pip) install\b", recipes)
    assert set(installing) == {".venv/bin/python"}
    assert len(installing) == recipes.count("pip install")
    others = r"\bsudo\b|\bapt(-get)? (-\S+ )*install\b|\bcargo install\b|--user\b|--break-system-packages"
    assert not re.search(others, recipes)


def run_steps(folder: Path, makefile: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `.ci/steps` says of a small Makefile."""
    (folder / "Makefile").write_text(makefile, "utf-8")
    (folder / "rust.txt").write_text(RUST_SAYS, "utf-8")
    (folder / "python.txt").write_text(PYTHON_SAYS, "utf-8")
    return subprocess.run([ROOT / ".ci" / "steps", *arguments], cwd=folder, capture_output=True, text=True, check=False)


RUST_SAYS = "---- log::tests::order stdout ----\ntest result: FAILED. 3 passed; 1 failed; 0 ignored\n"
PYTHON_SAYS = "SKIPPED [1] a.py: no java\nFAILED a.py::test_b - boom\n1 failed, 4 passed, 1 skipped in 0.10s\n"
TWO_RUNNERS = """
rust python:
\t@tee target/results/$@.log < $@.txt
\t@false
last:
\t@echo the last one
"""


def test_every_part_runs_when_one_fails_and_the_summary_names_what_failed(tmp_path: Path) -> None:
    done = run_steps(tmp_path, TWO_RUNNERS, "--keep-going", "rust=Rust", "python=Python", "last=Last")
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if re.match(r"\[\d/3\] [A-Z]", line)] == [
        "[1/3] Rust",
        "[2/3] Python",
        "[3/3] Last",
    ]
    _, _, summary = done.stdout.partition("\nsummary\n")
    assert summary.splitlines() == [
        "  failed step: Rust (make rust)",
        "  failed step: Python (make python)",
        "  failed test: a.py::test_b - boom",
        "  failed test: log::tests::order",
        "7 passed, 2 failed, 1 skipped",
    ]


def test_a_demo_ends_at_the_first_step_that_fails(tmp_path: Path) -> None:
    done = run_steps(tmp_path, TWO_RUNNERS, "rust=Rust", "last=Last")
    assert done.returncode == 1
    assert "the last one" not in done.stdout


def test_what_is_needed_is_what_the_manifests_say() -> None:
    workspace = toml(ROOT / "Cargo.toml")["workspace"]["package"]
    assert f"(Rust {workspace['rust-version']} or newer)" in README
    [version] = set(re.findall(r"Python (\d\.\d+) or newer", README)) | set(re.findall(r"`python3` (\S+) or", README))
    manifests = [ROOT / "pyproject.toml", *ROOT.glob("packages/*/pyproject.toml")]
    for project in (toml(manifest)["project"] for manifest in manifests):
        assert project["requires-python"] == f">={version}"
        assert project["license"] == workspace["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")[:100]
