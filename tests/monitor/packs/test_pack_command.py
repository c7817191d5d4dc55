"""``gds monitor pack``: what it prints, and what it returns."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from gds_cli.monitor.pack import app
from gds_monitor.packs import load_pack
from tests.services.postgresql import PASSWORD, PostgreSQL

FILES = Path(__file__).parent / "dialects"


def pack(*arguments: str | Path) -> tuple[int, str, str]:
    """The exit code, what was printed, and what was printed as an error."""
    done = CliRunner().invoke(app, [str(each) for each in arguments], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.return_value or 0, done.stdout, done.stderr


def test_lint_counts_what_is_fine_and_notes_what_is_not_run() -> None:
    code, out, _ = pack("lint", FILES / "pgwatch.yaml", FILES / "pg_exporter.yml")
    assert code == 0
    assert "pgwatch.yaml: fine, 3 collectors and 0 metrics for postgresql" in out
    assert "shop_stats: its init_sql is not run" in out
    assert "shop_skipped: is left out" in out


def test_lint_tells_of_all_that_is_wrong_and_fails(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("pack: mine\nengin: postgresql\ncollectors: []\n")
    code, out, err = pack("lint", wrong, FILES / "pg_exporter.yml", tmp_path / "absent.yaml")
    assert code == 2
    assert f"{wrong}:2:1: engin: unknown key; did you mean 'engine'?" in err
    assert "absent.yaml" in err
    assert "pg_exporter.yml: fine" in out


def test_lint_speaks_json(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("pack: [\n")
    _, out, _ = pack("lint", wrong, "postgresql", "--json")
    bad, good = map(json.loads, out.splitlines())
    assert (bad["ok"], bad["line"], good["ok"], good["engine"]) == (False, 2, True, "postgresql")


@pytest.mark.parametrize("path", sorted(FILES.iterdir()), ids=lambda path: path.stem)
def test_convert_writes_the_same_pack(path: Path, tmp_path: Path) -> None:
    assert pack("convert", path, "-o", tmp_path / "ours.yaml")[0] == 0
    assert load_pack(tmp_path / "ours.yaml") == load_pack(path)
    assert yaml.safe_load(pack("convert", path)[1]) == yaml.safe_load((tmp_path / "ours.yaml").read_text())


def test_run_shows_metrics_and_reasons_and_never_the_password(postgresql: PostgreSQL, tmp_path: Path) -> None:
    url = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{postgresql.port}/postgres"
    code, out, err = pack("run", "postgresql", url, "-c", "server", "-c", "wal")
    assert code == 0
    assert "postgresql.connection.max" in out
    assert "wal/replayed: skipped (role: expected a standby, got a primary)" in out
    broken = shutil.copy(FILES / "pg_exporter.yml", tmp_path)
    text = Path(broken).read_text().replace(", chosen]", "]")
    Path(broken).write_text(text.replace("SELECT 1 AS one", "SELECT absent FROM nowhere", 1))
    code, out, more = pack("run", broken, url, "--json")
    rows = [json.loads(each) for each in out.splitlines()]
    assert {row["status"] for row in rows} == {"success", "skipped"}, "what its predicate refuses is not run"
    Path(broken).write_text(text.replace("VALUES ('a'", "VALUES (nothing('a')", 1))
    code, out, more = pack("run", broken, url, "--json")
    failed = [json.loads(each) for each in out.splitlines() if '"failed"' in each]
    assert code == 1
    assert [(row["collector"], row["reason"]) for row in failed] == [("shop_primary", "missing_object")]
    assert PASSWORD not in out + err + more


def test_run_on_a_server_that_refuses_says_why_and_fails(postgresql: PostgreSQL) -> None:
    url = f"postgresql://postgres:wrong-pa55@127.0.0.1:{postgresql.port}/postgres"
    code, _, err = pack("run", "postgresql", url)
    assert code == 1
    assert err.startswith("gds: authentication: ")
    assert "wrong-pa55" not in err


def test_it_is_a_command_of_the_monitor() -> None:
    from gds_cli.monitor import app as monitor

    assert "convert" in CliRunner().invoke(monitor, ["pack", "--help"]).stdout
