"""`gds demo`, really run: what it counts agrees, what it must not say is not said, and nothing is left."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from gds_cli.live.show import Ending
from gds_metrics import PrometheusMetrics
from gds_vault import TokenAuth, VaultClient, VaultSecretNotFoundError
from gds_vault.testing import VaultServer
from tests.cli.commands import COMMAND, TIMEOUT_SECONDS, clean_environment, gds, objects, started
from tests.kafka.test_cli_hub import kafka as told_by_kafka
from tests.services.kafka import KafkaBroker

COUNTED = {
    "vault.auth.success",
    "vault.secret.error",
    "vault.secret.fetch",
    "vault.secret.hit",
    "vault.secret.miss",
    "vault.token.ttl_seconds",
}
TOKEN = re.compile(r"hvs\.[A-Za-z0-9_-]{20,}")


def summary(shown: list[dict[str, Any]]) -> dict[str, Any]:
    """The last object, which must be one of a demo that went well."""
    assert ["summary" in each for each in shown] == [False] * (len(shown) - 1) + [True]
    found: dict[str, Any] = shown[-1]["summary"]
    assert found["agree"] is True, found
    assert (found["defects"], found["lost"], found["left_behind"]) == ([], {}, [])
    assert set(found["counts"]) >= COUNTED
    for counts in found["counts"].values():
        assert counts["program"] == counts["topic"] > 0
        assert counts["type"] == "gauge" or counts["page"] == counts["program"]
    assert found["log_records"]["program"] == found["log_records"]["topic"] > 0
    secrets = found["secrets"]
    assert secrets["logged"] == secrets["redacted"] > 0
    assert secrets["leaked"] == 0
    assert sum(found["outcomes"].values()) > 100
    return found


# Nothing but what is installed: no program is started, and nobody is spoken to but this machine.
ALONE = """
import sys

def watch(event, arguments):
    if event in {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"}:
        raise RuntimeError(f"{event} {arguments}")
    if event in {"socket.connect", "socket.getaddrinfo"}:
        address = arguments[1] if event == "socket.connect" else arguments
        host = address[0] if isinstance(address, tuple) else address
        if not str(host).startswith(("127.", "localhost", "/")):
            raise RuntimeError(f"{event} {address}")

sys.addaudithook(watch)
sys.argv = ["gds", "demo", "--seconds", "3", "--json"]
from gds_cli import main
main()
"""


def test_it_needs_no_other_program_and_no_network(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE],
        cwd=tmp_path,
        env={"PATH": "", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    summary(objects(done))


def test_program_page_and_topic_agree_without_any_server(tmp_path: Path) -> None:
    done = gds("demo", "--seconds", 3, "--json", TMPDIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    shown = objects(done)
    found = summary(shown)
    assert found["ended_early"] is False
    # Hits, misses, a path that is denied, one that is not there, an outage, and reads after it.
    assert {"read", "denied", "not found", "away"} <= set(found["outcomes"])
    assert {each["happening"] for each in shown[:-1]} >= {"Vault is back"}
    seen = shown[-2]
    assert {source["kind"]: source["reachable"] for source in seen["sources"]} == {"page": True, "hub": True}
    assert seen["counters"]["gds_vault_secret_hit_total"]["per_second"] > 0
    assert seen["distributions"]["gds_vault_secret_fetch"]["unit"] == "seconds"
    assert 0 < seen["distributions"]["gds_vault_secret_fetch"]["p50"] < 10
    assert {"metrics", "logs"} == set(seen["topics"])
    assert {group["group"] for group in seen["groups"]} == {"gds-demo"}
    assert any(error["labels"]["type"] == "VaultPermissionError" for error in seen["errors"])
    messages = [log["message"] for each in shown[:-1] for log in each["logs"]]
    assert any(message.endswith("is [REDACTED]") for message in messages)
    assert not TOKEN.search(done.stdout)
    # What it put somewhere it took away again.
    assert list(tmp_path.iterdir()) == []


def test_in_lines_where_there_is_no_terminal() -> None:
    done = gds("demo", "--seconds", 2)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert not TOKEN.search(done.stdout)
    assert "[REDACTED]" in done.stdout
    for said in (
        "page      http://127.0.0.1:",
        "hub       embedded:",
        "Vault is back",
        "In short",
        "agree, and no secret",
    ):
        assert said in done.stdout, said
    assert len(re.findall(r"\bsame$", done.stdout, re.MULTILINE)) >= len(COUNTED)
    assert re.search(r"increment with a label +[\d,]+ ns", done.stdout)
    # It is read in terminals of 80 columns, and the lines that stay are those of the log.
    after = done.stdout.partition("The page, a piece of it")[2]
    assert max(map(len, after.splitlines())) <= 100


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_ends_it_gets_the_summary(number: signal.Signals, tmp_path: Path) -> None:
    with started("demo", "--seconds", 0, TMPDIR=str(tmp_path)) as process:
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            if "Vault answers" in line:
                process.send_signal(number)
                break
        printed.extend(process.stdout)
        assert process.wait() == 0, "".join(printed)
    text = "".join(printed)
    assert "ended early" in text
    assert "agree, and no secret" in text
    assert list(tmp_path.iterdir()) == []


def test_the_second_ctrl_c_does_not_wait_and_another_one_cuts_nothing_short() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Ending() as ending:
        signal.raise_signal(signal.SIGINT)
        assert (ending.asked.is_set(), ending.hurried) == (True, False)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert ending.hurried
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_put_away_at_last_and_what_is_done_as_a_whole_is_not_cut_short() -> None:
    told: list[str] = []

    def twice(what: str) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        told.append(what)

    with Ending() as ending:
        ending.at_last(lambda: told.append("what was begun first goes last"))
        ending.at_last(lambda: twice("gone"))
    assert (told, ending.hurried) == (["gone", "what was begun first goes last"], True)

    def hurried() -> None:
        with Ending() as ending:
            ending.at_last(lambda: told.append("gone in any case"))
            with ending.as_a_whole():
                twice("whole")
            told.append("not this")

    with pytest.raises(KeyboardInterrupt):
        hurried()
    assert told[2:] == ["whole", "gone in any case"]


def run_in_terminal(*arguments: str, columns: int, rows: int) -> tuple[int, str]:
    """Exit code, and all that was written to a terminal of that size."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    variables = clean_environment({"TERM": "xterm-256color"})
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        variables.pop(name, None)
    process = subprocess.Popen([*COMMAND, *arguments], env=variables, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    written = b""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        while time.monotonic() < deadline:
            if not select.select([controller], [], [], 1.0)[0]:
                continue
            try:
                chunk = os.read(controller, 65_536)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            written += chunk
        return process.wait(10), written.decode()
    finally:
        process.kill()
        process.wait()
        os.close(controller)


def test_a_terminal_gets_a_live_view_and_keeps_the_summary() -> None:
    code, written = run_in_terminal("demo", "--seconds", "2", columns=80, rows=24)
    assert code == 0, written
    before, entered, rest = written.partition("\x1b[?1049h")
    live, left, after = rest.partition("\x1b[?1049l")
    assert entered
    assert left
    frames = live.split("\x1b[H")
    assert len(frames) > 3
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frames[-1])
    lines = last.replace("\r", "").split("\n")
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    for said in (
        "gds demo",
        "RATES",
        "gds_vault_secret_hit",
        "LATENCY",
        "ERRORS",
        "VaultPermissionError",
        "HUB",
        "metrics",
    ):
        assert said in last, said
    assert "[REDACTED]" in live
    assert "http://127.0.0.1:" in before
    assert "In short" in after
    assert "\x1b[?25h" in after + live  # the cursor is there again
    assert not TOKEN.search(written)


def test_a_kafka_of_ones_own(kafka: KafkaBroker) -> None:
    done = gds("demo", "--seconds", 3, "--json", "--kafka", kafka.bootstrap_servers)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    shown = objects(done)
    summary(shown)
    topics = shown[-2]["topics"]
    assert sorted(name.rpartition("-")[2] for name in topics) == ["logs", "metrics"]
    assert all(name.startswith("gds-demo-") for name in topics)
    left = {topic["name"] for topic in told_by_kafka(kafka.bootstrap_servers, "topics")}
    assert not left & set(topics)


def test_a_vault_of_ones_own_is_written_to_below_one_path_and_tidied() -> None:
    with VaultServer() as server:
        server.put("theirs", {"value": "untouched"})
        done = gds("demo", "--seconds", 2, "--vault", server.url, VAULT_TOKEN=server.root_token)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        written = re.search(r"secrets are written below (gds-demo-[0-9a-f]+)/ only", done.stdout)
        assert written
        assert server.root_token not in done.stdout
        changed = {path for method, path in server.calls if method in ("POST", "PUT", "DELETE", "PATCH")}
        assert changed
        assert all(path.split("/")[2].startswith(written[1]) for path in changed if path.startswith("secret/")), changed
        with VaultClient(server.url, TokenAuth(server.root_token)) as client:
            assert client.get_secret("theirs") == {"value": "untouched"}
            with pytest.raises(VaultSecretNotFoundError):
                client.get_secret(f"{written[1]}/app/billing")


def test_the_page_is_where_it_was_asked_for() -> None:
    # A port that is taken is one that is not silently another one.
    with PrometheusMetrics(port=0, addr="127.0.0.1") as taken:
        done = gds("demo", "--seconds", 1, "--json", "--prometheus-port", taken.port)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("gds: ")
    assert str(taken.port) in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "said"),
    [
        (("--kafka", "127.0.0.1:1", "-X", "connect_timeout_seconds=1"), {}, 1, "127.0.0.1:1"),
        (("--vault", "http://127.0.0.1:1"), {"VAULT_TOKEN": "hvs.secret-of-the-test-000000"}, 1, "127.0.0.1:1"),
        (("--vault", "http://127.0.0.1:1"), {}, 2, "VAULT_TOKEN"),
        (("--kafka", "nonsense:port"), {}, 2, "nonsense"),
    ],
)
def test_what_cannot_be_had_is_one_line(
    arguments: tuple[str, ...], variables: dict[str, str], code: int, said: str, tmp_path: Path
) -> None:
    done = gds("demo", "--seconds", 1, *arguments, TMPDIR=str(tmp_path), **variables)
    lines = [line for line in done.stderr.splitlines() if line.startswith("gds: ")]
    assert (done.returncode, len(lines)) == (code, 1), done.stderr
    assert said in lines[0]
    assert "Traceback" not in done.stderr
    assert "secret-of-the-test" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["gds_vault", "aiohttp"])
def test_without_gds_vault_one_line_says_what_to_install(package: str, tmp_path: Path) -> None:
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('not here', name={package!r})\n")
    path = os.environ.get("PYTHONPATH", "")
    done = gds("demo", PYTHONPATH=f"{tmp_path}:{path}" if path else str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gds: expected gds-vault with aiohttp; run: pip install 'gds-telemetry[demo]'\n"


def test_the_tree_of_commands_is_light() -> None:
    source = (
        "import contextlib, io, sys; from gds_cli._app import run\n"
        "with contextlib.redirect_stdout(io.StringIO()) as shown: run(['--help'])\n"
        "assert 'Watch any pages' in shown.getvalue()\n"
        "print(sorted({'gds_native', 'gds_kafka', 'gds_metrics', 'gds_vault', 'hvac', 'aiohttp', 'rich.live', "
        "'urllib.request', 'logging.config'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
