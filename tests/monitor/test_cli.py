from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gds_cli._app import run as gds
from tests.monitor.postgresql import unique, url
from tests.monitor.small_pack import SMALL
from tests.services.postgresql import PostgreSQL
from tests.services.process import http_get, lease_port, wait_until

START_SECONDS = 120.0


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = gds(["monitor", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_once_shows_what_a_real_server_measures(
    postgresql: PostgreSQL, pack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "once", "--json", "--pack", pack, url(postgresql))
    assert (code, err) == (0, "")
    lines: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    (backends,) = [line for line in lines if line["metric_name"] == "postgresql.backends"]
    assert backends["value"] >= 1
    assert backends["unit"] == "{connection}"
    assert backends["instance_id"] == f"127.0.0.1:{postgresql.port}"
    code, out, _ = run(capsys, "once", "--pack", pack, url(postgresql))
    assert code == 0
    assert "postgresql.backends" in out
    assert "1 do not apply" in out


def test_once_with_a_wrong_password_says_so_and_does_not_show_it(
    postgresql: PostgreSQL, pack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "once", "--json", "--pack", pack, url(postgresql, password="s3cret-canary"))
    assert code == 1
    assert "authentication" in err
    assert "s3cret" not in out + err
    assert [json.loads(line)["value"] for line in out.splitlines() if "monitor.up" in line] == [0]


def test_check_prints_grants_that_then_work(
    postgresql: PostgreSQL, pack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    role = unique("Checked")
    postgresql.ask(f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'w4tcher'")
    address = url(postgresql, user=role, password="w4tcher")
    code, out, _ = run(capsys, "check", "--json", "--pack", pack, address)
    assert code == 1
    report = json.loads(out)
    assert report["grants"] == [f'GRANT pg_read_all_stats TO "{role}";']
    for grant in report["grants"]:
        postgresql.ask(grant)
    code, out, _ = run(capsys, "check", "--pack", pack, address)
    assert code == 0
    assert "primary; 3 of 4 collectors" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["once", "oracle://x"], "expected a platform that is monitored: mongodb, "),
        (["once", "--pack", "gone.yaml", "postgresql://x"], "gone.yaml"),
        (["once"], "expected either addresses or --config FILE"),
        (["run", "-c", "gone.yaml"], "gone.yaml"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *arguments)
    assert code in {1, 2}
    assert said in err
    assert "Traceback" not in out + err


def test_run_watches_until_it_is_told_to_stop(postgresql: PostgreSQL, pack: Path, tmp_path: Path) -> None:
    from contextlib import ExitStack

    with ExitStack() as leases:
        port = lease_port(leases)
        config = tmp_path / "monitor.yaml"
        config.write_text(
            f"interval: 0.5\nlisten: 127.0.0.1:{port}\n"
            f"targets: [{{url: '{url(postgresql)}', packs: [{pack}]}}]\noutputs: [{{stdout: }}]\n"
        )
        program = [sys.executable, "-W", "error", "-m", "gds_cli", "monitor", "run", "-c", str(config)]
        with subprocess.Popen(
            program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
        ) as process:
            try:
                # Two and a half seconds of processor: what it imports, and a whole cycle. A busy machine has them late.
                wait_until(
                    lambda: _answers(port, "/readyz"), what="the monitor to be ready", timeout_seconds=START_SECONDS
                )
                assert _answers(port, "/healthz")
                page = http_get(port, "/metrics")[1].decode()
                assert "gds_monitor_cycles_total" in page
                assert 'gds_monitor_query_seconds_total{collector="backends",pack="small"}' in page
                process.send_signal(signal.SIGTERM)
                out, err = process.communicate(timeout=60)
            finally:
                process.kill()
        assert (process.returncode, err) == (0, "")
        assert "postgresql.backends" in {json.loads(line)["metric_name"] for line in out.splitlines()}


def _answers(port: int, path: str) -> bool:
    try:
        return http_get(port, path)[0] == 200
    except OSError:
        return False


def test_an_address_is_enough_for_everything_that_the_package_knows_of_a_server(
    postgresql: PostgreSQL, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "once", "--json", url(postgresql))
    assert (code, err) == (0, "")
    names = {json.loads(line)["metric_name"] for line in out.splitlines()}
    assert len({name for name in names if name.startswith("postgresql.")}) > 50, sorted(names)
    role = unique("shipped")
    postgresql.ask(f"CREATE ROLE {role} LOGIN PASSWORD 'w4tcher'")
    address = url(postgresql, user=role, password="w4tcher")
    code, out, _ = run(capsys, "check", "--json", address)
    grants = json.loads(out)["grants"]
    assert code == 1
    assert grants
    for grant in grants:
        postgresql.ask(grant)
    code, out, _ = run(capsys, "check", "--json", address)
    assert json.loads(out)["grants"] == []
    assert code == 0
