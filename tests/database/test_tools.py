"""Programs are run within bounds, and controls say which."""

from __future__ import annotations

import os
import stat
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from gds_database import ConfigurationError, StatementTimeoutError, ToolError
from gds_database._redact import Secrets
from gds_database.control import Command, Control, Kubernetes, PgCtl, Systemd
from gds_database.testing import InMemoryEngine
from gds_database.tools import find_tool, private_file, run_tool, tool_step
from tests.services.process import wait_until

PYTHON = [sys.executable, "-u", "-c"]


def test_a_program_runs_with_its_environment_and_tells_its_progress() -> None:
    lines: list[str] = []
    program = "import os, sys; print(os.environ['SECRET'] == 'canary-1'); print('one\\ntwo', file=sys.stderr)"
    done = run_tool([*PYTHON, program], timeout_seconds=60, environment={"SECRET": "canary-1"}, progress=lines.append)
    assert (done.stdout, done.stderr, lines) == ("True", "one\ntwo", ["one", "two"])
    assert done.seconds > 0


def test_its_output_may_go_to_a_file(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        done = run_tool([*PYTHON, "print('data')"], timeout_seconds=60, stdout=file)
    assert (done.stdout, (tmp_path / "out").read_text()) == ("", "data\n")


def test_a_program_that_fails_tells_the_end_of_what_it_wrote_without_secrets() -> None:
    secrets = Secrets()
    secrets.add("canary-2")
    program = "import sys; print('\\n'.join(map(str, range(9))), 'pw canary-2', file=sys.stderr); sys.exit(7)"
    with pytest.raises(ToolError, match=r"failed with 7: 4 \| 5 \| 6 \| 7 \| 8 pw ") as caught:
        run_tool([*PYTHON, program], timeout_seconds=60, secrets=secrets)
    assert "canary" not in str(caught.value)


def test_a_progress_that_raises_breaks_nothing() -> None:
    def broken(line: str) -> None:
        raise ValueError(line)

    assert run_tool([*PYTHON, "print('x')"], timeout_seconds=60, progress=broken).stdout == "x"


def test_one_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    program = (
        f"import os, subprocess, sys, time\n"
        # It does not listen to the request to end.
        f"child = subprocess.Popen(['sh', '-c', 'trap \"\" TERM; sleep 600 & wait; wait'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}'); time.sleep(600)"
    )
    started = threading.Event()
    cancelled = threading.Event()

    def cancel() -> None:
        while not (pids.exists() and len(pids.read_text().split()) == 2):
            if started.wait(0.05):
                return
        cancelled.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        with pytest.raises(ToolError, match="was cancelled"):
            run_tool([*PYTHON, program], timeout_seconds=120, cancelled=cancelled)
    finally:
        started.set()
        thread.join()
    for pid in map(int, pids.read_text().split()):
        wait_until(partial(_ended, pid), what=f"the end of {pid}")
    with pytest.raises(StatementTimeoutError, match=r"was ended after 0.2 s") as caught:
        run_tool([*PYTHON, "import time; time.sleep(600)"], timeout_seconds=0.2)
    assert isinstance(caught.value, TimeoutError)


def _ended(pid: int) -> bool:
    """Whether it does not run any more, even if nobody has waited for its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_one_that_cannot_be_started_or_found_says_so() -> None:
    with pytest.raises(ConfigurationError, match="no-such-program: cannot be started: No such file"):
        run_tool(["/no-such-program"], timeout_seconds=1)
    with pytest.raises(
        ConfigurationError, match="no-such-program: there is no such program on this machine; install x"
    ):
        find_tool("no-such-program", "/nowhere", install="install x")
    assert find_tool("python", str(Path(sys.executable).parent), install="") == str(
        Path(sys.executable).parent / "python"
    )


def test_a_private_file_is_readable_by_nobody_else_and_gone_afterwards() -> None:
    with private_file("host:5432:*:u:p") as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_uid == os.geteuid()
        assert path.read_text() == "host:5432:*:u:p"
    assert not path.exists()


def test_a_step_is_shown_as_a_shell_takes_it() -> None:
    step = tool_step(["pg_dump", "--dbname=a b"], timeout_seconds=1)
    assert step.shown == "pg_dump '--dbname=a b'"


# ------------------------------------------------------------------ controls
def shown(control: Control, action: str, **settings: bool | float) -> list[str]:
    return [step.shown for step in control.steps(action, **settings)]  # type: ignore[arg-type]


def test_pg_ctl() -> None:
    control = PgCtl("/data", log_file="/log", options="-c port=1", build_options="-A scram-sha-256")
    assert shown(control, "start") == [
        "pg_ctl start --pgdata=/data --wait --timeout=60 --log=/log -o '-c port=1'",
    ]
    assert shown(control, "stop", force=True, timeout_seconds=5) == [
        "pg_ctl stop --pgdata=/data --wait --timeout=5 --mode=immediate",
    ]
    assert shown(control, "promote") == ["pg_ctl promote --pgdata=/data --wait --timeout=60"]
    assert shown(control, "reload") == ["pg_ctl reload --pgdata=/data"]
    assert shown(control, "build") == ["pg_ctl initdb --pgdata=/data -o '-A scram-sha-256'"]


def test_systemd() -> None:
    assert shown(Systemd("pg"), "start") == ["systemctl start pg"]
    assert shown(Systemd("pg", user=True, program=["sudo", "systemctl"]), "stop", force=True) == [
        "sudo systemctl --user kill --signal=SIGKILL pg",
        "sudo systemctl --user stop pg",
    ]


def test_kubernetes() -> None:
    control = Kubernetes("statefulset/pg", "db", replicas=3, manifest="pg.yaml", context="prod")
    base = "kubectl --namespace=db --context=prod"
    settled = f"{base} rollout status statefulset/pg --timeout=60s"
    assert shown(control, "start") == [f"{base} scale statefulset/pg --replicas=3", settled]
    assert shown(control, "stop") == [f"{base} scale statefulset/pg --replicas=0", settled]
    assert shown(control, "restart") == [f"{base} rollout restart statefulset/pg", settled]
    assert shown(control, "build") == [f"{base} apply --filename=pg.yaml", settled]
    assert shown(control, "destroy", force=True) == [f"{base} delete --filename=pg.yaml --grace-period=0 --force"]


@pytest.mark.parametrize("action", ["stop", "restart"])
def test_kubernetes_does_not_take_a_forced_stop_for_one_that_waits(action: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"force: .*only {action} .*grace period.*use kubectl delete pods"):
        Kubernetes("statefulset/pg").steps(action, force=True)
    assert shown(Kubernetes("statefulset/pg"), action)


def test_a_shutdown_that_cannot_be_forced_fails_with_what_to_use() -> None:
    engine = InMemoryEngine(control=Kubernetes("statefulset/pg"))
    assert "--grace-period=0" in (engine.shutdown(force=True, dry_run=True).error or "")
    assert engine.shutdown(dry_run=True).is_success()


def test_commands_are_lists_and_may_differ_when_forced() -> None:
    control = Command(stop=["svc", "down"], forced={"stop": ["svc", "kill"]})
    assert isinstance(control, Control)
    assert shown(control, "stop") == ["svc down"]
    assert shown(control, "stop", force=True) == ["svc kill"]
    with pytest.raises(ConfigurationError, match="expected a list of arguments"):
        Command(start="svc up")


@pytest.mark.parametrize(
    ("control", "action"),
    [
        (PgCtl("/d"), "destroy"),
        (Systemd("u"), "promote"),
        (Kubernetes("w"), "build"),
        (Kubernetes("w"), "destroy"),
        (Command(), "start"),
    ],
)
def test_what_a_control_has_not_says_what_has(control: Control, action: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"has no way to {action}; use control=Command\({action}="):
        control.steps(action)
    with pytest.raises(ConfigurationError, match="action='dance': expected one of start, stop"):
        control.steps("dance")
