"""What the tools that read contrib/ say about it, and that its parts fit together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.contrib.files import CONTRIB, PROMETHEUS, ROOT, alerts, dashboard, panels, promtool, read_yaml
from tests.project.test_docs import anchors
from tests.services.catalog import SERVICES
from tests.services.fixtures import require_service


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
    ids=" ".join,
)
def test_promtool_takes_it(arguments: tuple[str, ...]) -> None:
    require_service("prometheus")
    code, printed = promtool(*arguments)
    assert code == 0, printed
    assert "SUCCESS" in printed


def test_each_alert_is_tested_for_firing_and_for_not_firing() -> None:
    fires: set[str] = set()
    quiet: set[str] = set()
    for test in read_yaml(PROMETHEUS / "alerts_test.yml")["tests"]:
        for expected in test["alert_rule_test"]:
            (fires if expected["exp_alerts"] else quiet).add(expected["alertname"])
    names = {rule["alert"] for rule in alerts()}
    assert names == fires
    assert names == quiet


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_each_alert_says_what_to_read(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    path, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor in anchors(ROOT / path)


# ------------------------------------------------------------------ the dashboard
def test_every_query_goes_to_the_chosen_datasource() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels():
        assert panel["datasource"] == chosen
        assert panel["targets"], panel["title"]
        assert [target["datasource"] for target in panel["targets"]] == [chosen] * len(panel["targets"])


def test_every_variable_of_the_dashboard_is_made_and_used() -> None:
    made = {variable["name"] for variable in dashboard()["templating"]["list"]}
    text = (CONTRIB / "grafana" / "dashboard.json").read_text("utf-8")
    used = {name for name in re.findall(r"\$\{?(\w+)", text) if not name.startswith("__")}
    assert used == made


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))


# ------------------------------------------------------------------ compose.yaml
def compose() -> dict[str, Any]:
    services: dict[str, Any] = read_yaml(CONTRIB / "compose.yaml")["services"]
    return services


def mounts(service: dict[str, Any]) -> dict[str, Path]:
    """Each path in the container with the file or folder it shows."""
    pairs = [volume.split(":") for volume in service.get("volumes", ())]
    assert all(options == "ro" for _, _, options in pairs)
    return {inside: CONTRIB / outside for outside, inside, _ in pairs}


def test_compose_mounts_what_is_there() -> None:
    mounted = [path for service in compose().values() for path in mounts(service).values()]
    assert mounted
    assert [path for path in mounted if not path.exists()] == []


def test_compose_pins_each_image_to_what_the_tests_run() -> None:
    images = dict(service["image"].rsplit(":", 1) for service in compose().values())
    assert all(re.fullmatch(r"v?\d+\.\d+\.\d+", tag) for tag in images.values()), images
    run = {"apache/kafka": "kafka", "prom/prometheus": "prometheus", "hashicorp/vault": "vault"}
    for image, name in run.items():
        if name in SERVICES:
            assert images[image].removeprefix("v") == SERVICES[name].version, image


def test_compose_listens_on_this_machine_only() -> None:
    ports = [port for service in compose().values() for port in service["ports"]]
    assert len(ports) >= 4
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_prometheus_in_a_container_finds_its_rules_and_the_machine() -> None:
    service = compose()["prometheus"]
    at = mounts(service)
    assert at["/etc/prometheus/prometheus.yml"] == CONTRIB / "./prometheus/prometheus.yml"
    configuration = read_yaml(at["/etc/prometheus/prometheus.yml"])
    assert configuration["rule_files"] == ["alerts.yml"]
    assert at["/etc/prometheus/alerts.yml"].resolve() == PROMETHEUS / "alerts.yml"
    [job] = configuration["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["host.docker.internal:8080"]}]
    assert service["extra_hosts"] == ["host.docker.internal:host-gateway"]


def test_grafana_is_provisioned_with_the_dashboard_and_its_datasource() -> None:
    services = compose()
    at = mounts(services["grafana"])
    provisioning = at["/etc/grafana/provisioning"]
    [provider] = read_yaml(provisioning / "dashboards" / "gds.yml")["providers"]
    [shown] = [path for inside, path in at.items() if inside.startswith(provider["options"]["path"] + "/")]
    assert shown.resolve() == (CONTRIB / "grafana" / "dashboard.json").resolve()
    [source] = read_yaml(provisioning / "datasources" / "prometheus.yml")["datasources"]
    assert source["type"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services
    scraped = read_yaml(PROMETHEUS / "prometheus.yml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped
