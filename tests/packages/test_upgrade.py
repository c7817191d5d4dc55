"""Who has distributions that once held gds_metrics and gds_kafka themselves, and moves to gds-telemetry."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from gds_cli.checks import FAILED, OK, WARNING, Finding
from gds_cli.checks.installed import REINSTALL
from tests.packages.installing import Installation, make_wheel, wheel

PACKAGES = ("gds_metrics", "gds_kafka")

OLD = {
    f"{package}/{name}": f"raise ImportError('{package}/{name} of the old distribution')\n"
    for package, names in (
        ("gds_metrics", ("__init__.py", "base.py", "prometheus.py", "noop.py", "registry.py")),
        ("gds_kafka", ("__init__.py", "errors.py", "producer.py", "client.py")),
    )
    for name in names
} | {"gds_metrics/py.typed": "", "gds_kafka/py.typed": ""}

# Uses files whose names the old distributions had too, and others.
PROGRAM = """
import gds_kafka, gds_kafka.errors, gds_kafka.testing, gds_metrics
from gds_kafka import KafkaConfigurationError, KafkaProducerClient
from gds_metrics import NoOpMetrics, PrometheusMetrics, timed
from gds_metrics.base import MetricsCollector
import gds_metrics.prometheus

metrics = PrometheusMetrics(prefix="", start_server=False)
with timed(metrics, "took"):
    metrics.increment("done")
assert metrics.sample("done") == 1
assert isinstance(metrics, MetricsCollector) and PrometheusMetrics is gds_metrics.prometheus.PrometheusMetrics
try:
    KafkaProducerClient("localhost:1", acks="no")
except gds_kafka.errors.KafkaConfigurationError as error:
    assert type(error) is KafkaConfigurationError
else:
    raise AssertionError
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Old distributions, the new ones, and one of somebody else whose extras name ours."""
    folder = tmp_path_factory.mktemp("wheels")
    for package in PACKAGES:
        files = {path: text for path, text in OLD.items() if path.startswith(f"{package}/")}
        make_wheel(folder, package.replace("_", "-"), "0.3.0", files)
        found = wheel(f"packages/{package}-*.whl")
        (folder / found.name).symlink_to(found)
    found = wheel("gds_telemetry-*.whl")
    (folder / found.name).symlink_to(found)
    extras = [
        "Provides-Extra: metrics",
        "Provides-Extra: kafka",
        "Requires-Dist: gds-metrics>=1; extra == 'metrics'",
        "Requires-Dist: gds-kafka>=1; extra == 'kafka'",
    ]
    make_wheel(folder, "somebodys-tool", "2.0", {"somebodys_tool.py": ""}, extras)
    return folder


@pytest.fixture
def installed(tmp_path: Path, wheels: Path) -> Installation:
    """An environment with the old distributions."""
    made = Installation(tmp_path, wheels)
    made.pip("install gds-metrics<1 gds-kafka<1")
    return made


def ours() -> set[str]:
    """What the wheel puts beside other packages."""
    with zipfile.ZipFile(wheel("gds_telemetry-*.whl")) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def lost(installation: Installation) -> set[str]:
    """Which of the wheel's files are not there."""
    return {name for name in ours() if not (installation.packages / name).exists()}


def works(installation: Installation) -> None:
    installation.run(PROGRAM)


def distributions(installation: Installation) -> Finding:
    """What `gds doctor` says of them."""
    source = """
import json
from gds_cli.checks.installed import steps
print(json.dumps(dict(steps())["distributions"]()))
"""
    return Finding(*json.loads(installation.run(source)))


def mended_and_removed(installation: Installation) -> None:
    """What `gds doctor` says mends it does, and nothing of ours is left when all is removed."""
    for command in distributions(installation).remedy.split(" && "):
        assert command.startswith("pip ")
        installation.pip(command.removeprefix("pip "))
    assert lost(installation) == set()
    assert distributions(installation).level == OK
    works(installation)
    installation.pip("uninstall -y gds-telemetry gds-metrics gds-kafka somebodys-tool")
    assert [name for name in {*ours(), *OLD} if (installation.packages / name).exists()] == []


def test_they_hold_nothing_and_need_gds_telemetry() -> None:
    for package in PACKAGES:
        with zipfile.ZipFile(wheel(f"packages/{package}-*.whl")) as archive:
            assert [name for name in archive.namelist() if ".dist-info/" not in name] == []
            [metadata] = [archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA")]
        assert "\nRequires-Dist: gds-telemetry\n" in metadata


def test_the_wheel_has_each_package_twice_and_a_module_that_finds_the_second() -> None:
    with zipfile.ZipFile(wheel("gds_telemetry-*.whl")) as archive:
        for package in PACKAGES:
            first = {name.removeprefix(f"{package}/") for name in ours() if name.startswith(f"{package}/")}
            spare = f"gds_native/spare/{package}/"
            assert "__init__.py" in first
            assert first == {name.removeprefix(spare) for name in ours() if name.startswith(spare)}
            assert all(archive.read(f"{package}/{name}") == archive.read(spare + name) for name in first)
            assert f"{package}.py" in ours()


@pytest.mark.parametrize("names", ["gds-metrics gds-kafka", "somebodys-tool[metrics,kafka]"])
def test_pip_deletes_files_when_it_upgrades_and_programs_work_all_the_same(installed: Installation, names: str) -> None:
    installed.pip(f"install --upgrade {names}")
    # Were this not so, gds_native._spare would be of no use any more.
    assert lost(installed) == set(OLD) & ours()
    works(installed)
    installed.pip("check")
    level, found, remedy = distributions(installed)
    assert (level, remedy) == (FAILED, REINSTALL)
    assert "missing: gds_kafka/__init__.py" in found
    mended_and_removed(installed)


def test_old_distributions_that_are_removed_afterwards_break_nothing(installed: Installation) -> None:
    installed.pip("install gds-telemetry")
    works(installed)
    level, found, remedy = distributions(installed)
    assert (level, remedy) == (WARNING, f"pip uninstall -y gds-kafka gds-metrics && {REINSTALL}")
    assert "gds-kafka 0.3.0 and gds-metrics 0.3.0" in found
    installed.pip("uninstall -y gds-metrics gds-kafka")
    assert lost(installed) == set(OLD) & ours()
    works(installed)
    mended_and_removed(installed)


def test_an_old_distribution_installed_over_the_wheel_is_seen(tmp_path: Path, wheels: Path) -> None:
    made = Installation(tmp_path, wheels)
    made.pip("install gds-telemetry")
    assert distributions(made).level == OK
    made.pip("install gds-metrics<1")
    (made.packages / "gds_kafka" / "aio.py").unlink()
    level, found, remedy = distributions(made)
    assert (level, remedy) == (FAILED, f"pip uninstall -y gds-metrics && {REINSTALL}")
    assert "missing: gds_kafka/aio.py and changed: gds_metrics/__init__.py" in found
    assert "gds-metrics 0.3.0 holds files of the same names" in found
    mended_and_removed(made)


def test_an_upgrade_by_uv_keeps_every_file(installed: Installation) -> None:
    installed.uv("install --upgrade gds-metrics gds-kafka")
    assert lost(installed) == set()
    works(installed)


def test_removing_the_old_ones_first_keeps_every_file(installed: Installation) -> None:
    installed.pip("uninstall -y gds-metrics gds-kafka")
    installed.pip("install gds-telemetry gds-metrics")
    assert lost(installed) == set()
    level, found, _ = distributions(installed)
    assert (level, "whole, gds-metrics 1." in found) == (OK, True)
    works(installed)
    installed.pip("uninstall -y gds-metrics")
    assert lost(installed) == set()


def test_where_the_second_copy_is_gone_too_the_import_says_what_mends_it(installed: Installation) -> None:
    installed.pip("install --upgrade gds-metrics")
    shutil.rmtree(installed.packages / "gds_native" / "spare")
    installed.run("""
try:
    import gds_metrics
except ImportError as error:
    assert "pip install --force-reinstall --no-deps gds-telemetry" in str(error), error
else:
    raise AssertionError
""")


def test_a_folder_given_with_target_holds_every_file(tmp_path: Path, wheels: Path) -> None:
    made = Installation(tmp_path, wheels)
    target = tmp_path / "target"
    made.pip(f"install --target {target} gds-metrics gds-kafka")
    assert {name for name in ours() if not (target / name).exists()} == set()
    made.run(f"import sys; sys.path.insert(0, {str(target)!r})\n{PROGRAM}")
