"""The documents are complete and point at what is there."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import prometheus_client
import pytest

from tests.project.documents import DOCUMENTS, ROOT, tracked_files

DOCS = ROOT / "docs"
MARKDOWN = [path for path in tracked_files() if path.suffix == ".md"]
CRATE = ROOT / "crates" / "gds-metrics" / "src"


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors(document: Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", without_code(document.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(document: Path) -> Iterator[str]:
    yield from re.findall(r"\]\(([^)\s]+)\)", without_code(document.read_text("utf-8")))


@pytest.mark.parametrize("document", MARKDOWN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_and_anchors_lead_somewhere(document: Path) -> None:
    for link in links(document):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_the_readme_leads_to_every_document() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(ROOT / "README.md")}
    assert set(DOCUMENTS) - {ROOT / "README.md"} <= linked


def test_every_path_that_a_contributor_is_sent_to_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    words = {word for quoted in re.findall(r"`([^`\n]+)`", without_code(text)) for word in quoted.split()}
    named = {word for word in words if re.search(r"[\w.]/|\.(?:in|lock|md|py|rs|toml|yml)$", word)}
    named -= {word for word in named if word.startswith(".venv/")}
    assert len(named) > 40
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_each_stop_of_the_architecture_is_in_the_code() -> None:
    text = (DOCS / "architecture.md").read_text("utf-8")
    stops = re.findall(r"`([\w./-]+/[\w.-]+\.(?:rs|py))`\s+`(\w+)`", text)
    assert len(stops) > 35
    missing = [
        (path, name)
        for path, name in stops
        if not re.search(rf"\b(?:fn|def|class) {name}\b", (ROOT / path).read_text("utf-8"))
    ]
    assert missing == []


# ------------------------------------------------------------------ every setting
def public() -> dict[str, object]:
    package = importlib.import_module("gds_metrics")
    return {name: getattr(package, name) for name in package.__all__}


def section(name: str) -> str:
    """What is said about a collector, from its heading to the next of the same level."""
    text = (DOCS / "collectors.md").read_text("utf-8")
    found = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"docs/collectors.md has no section {name}"
    return found[1]


@pytest.mark.parametrize("name", sorted(public()))
def test_every_public_name_is_explained(name: str) -> None:
    assert f"`{name}" in (DOCS / "collectors.md").read_text("utf-8") or f"## {name}\n" in (
        DOCS / "collectors.md"
    ).read_text("utf-8")


CLASSES = [name for name, value in public().items() if inspect.isclass(value) and name != "MetricsCollector"]


@pytest.mark.parametrize("name", CLASSES)
def test_every_setting_is_in_the_table_of_its_class(name: str) -> None:
    kind = public()[name]
    assert inspect.isclass(kind)
    table = section(name)
    ignored = {"self", "args", "kwargs", "_args", "_kwargs"}
    missing = [
        setting
        for setting in inspect.signature(kind.__init__).parameters
        if setting not in ignored and f"| `{setting}` |" not in table
    ]
    assert missing == []


@pytest.mark.parametrize("name", CLASSES)
def test_every_method_is_explained(name: str) -> None:
    kind = public()[name]
    text = section(name) + section("The four methods")
    methods = [method for method in vars(kind) if not method.startswith("_")]
    assert [method for method in methods if not re.search(rf"\b{method}\b", text)] == []


def test_every_setting_of_push_and_describe_is_explained() -> None:
    prometheus = public()["PrometheusMetrics"]
    text = section("PrometheusMetrics")
    for method in ("push", "describe", "render", "sample"):
        for setting in inspect.signature(getattr(prometheus, method)).parameters:
            assert setting in {"self", "_settings"} or re.search(rf"\b{setting}\b", text), f"{method}({setting}=)"


def test_every_environment_variable_is_explained() -> None:
    sources = [*CRATE.rglob("*.rs"), *(ROOT / "python" / "gds_metrics").rglob("*.py")]
    variables = {
        name for path in sources for name in re.findall(r'"((?:OTEL|PROMETHEUS)_[A-Z_]+)"', path.read_text("utf-8"))
    }
    text = section("Environment variables")
    assert len(variables) > 10
    assert sorted(name for name in variables if f"`{name}`" not in text) == []


# ------------------------------------------------------------------ every move
def test_whatever_prometheus_client_does_to_a_metric_has_its_row() -> None:
    text = (DOCS / "migrating.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| (.*?) \| (.*) \|$", text.partition("## From prometheus_client")[2], re.MULTILINE))
    kinds = (prometheus_client.Counter, prometheus_client.Gauge, prometheus_client.Histogram)
    methods = {name for kind in kinds for name, value in vars(kind).items() if inspect.isfunction(value)}
    assert methods > {"inc", "set", "observe"}
    assert [name for name in sorted(methods) if name[0] != "_" and f".{name}(" not in " ".join(rows)] == []
    named = set(re.findall(r"metrics\.(\w+)\(", " ".join(rows.values())))
    assert [name for name in sorted(named) if not hasattr(public()["PrometheusMetrics"], name)] == []
    assert "gauge_add" in rows["`Gauge(...).inc()`, `.dec()`"]


# ------------------------------------------------------------------ every failure
def test_every_reason_for_a_drop_is_explained() -> None:
    failures = (DOCS / "failures.md").read_text("utf-8")
    reasons: set[str] = set()
    for source in (CRATE / "registry.rs", CRATE / "statsd" / "mod.rs"):
        reasons |= set(re.findall(r'Self::\w+ => "([a-z_]+)"', source.read_text("utf-8")))
    for source in (ROOT / "python" / "gds_metrics").rglob("*.py"):
        text = source.read_text("utf-8")
        reasons |= set(re.findall(r'_drops\.add\([^,"]+(?:"\w+")?[^,"]*, "([a-z_]+)"', text))
    assert reasons >= {"invalid_name", "storage_full", "buffer_full", "output_failed", "meter_failed"}
    assert sorted(reason for reason in reasons if f"`{reason}`" not in failures) == []


def test_every_metric_about_the_collector_itself_is_explained() -> None:
    failures = (DOCS / "failures.md").read_text("utf-8")
    constants = re.findall(r'const \w+: &str = "(gds_metrics_\w*\w)";', (CRATE / "registry.rs").read_text("utf-8"))
    assert len(constants) >= 5
    assert [family for family in constants if f"`{family}" not in failures] == []


def test_every_name_of_stats_is_explained() -> None:
    text = (DOCS / "collectors.md").read_text("utf-8")
    for source in ("otlp.rs", "statsd.rs"):
        code = (ROOT / "src" / "metrics" / source).read_text("utf-8")
        names = re.findall(r'\("([a-z_]+)", (?:stats|self)|set_item\("([a-z_]+)"', code)
        keys = {name for pair in names for name in pair if name}
        assert keys
        assert sorted(key for key in keys if f"`{key}`" not in text) == []


# ------------------------------------------------------------------ nothing of the machine it was made on
# Written in parts, so that this file is no finding itself.
OF_A_MACHINE = re.compile(
    "|".join(
        [
            r"(?<![\w.$}/-])/(?:" + "|".join(["home", "Users", "root", "work", "mnt", "private"]) + r")/\w",
            r"\b[A-Z]:\\\\?Users",
            r"\b(?:index-url|extra-index-url|find-links)\b\s*[=:]?\s*http",
            r"\b(?:registry|artifactory|nexus|mirror|proxy)[\w-]*(?:\.[\w-]+)*\.(?:internal|local|lan|corp)\b",
        ]
    )
)


def test_tracked_text_names_no_path_of_a_machine_and_no_registry_host() -> None:
    found = []
    for path in tracked_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        # The corpora of redaction are other people's text, with paths and hosts as they stand in logs.
        if path == Path(__file__).resolve() or (ROOT / "tests" / "kafka" / "corpus") in path.parents:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in OF_A_MACHINE.finditer(text)]
    assert found == []


def test_lock_files_name_the_public_registry_only() -> None:
    sources = set(re.findall(r'^source = "(.*)"$', (ROOT / "Cargo.lock").read_text("utf-8"), re.MULTILINE))
    assert sources == {"registry+https://github.com/rust-lang/crates.io-index"}
    assert not re.search(r"https?://", (ROOT / "requirements" / "dev.lock").read_text("utf-8"))
