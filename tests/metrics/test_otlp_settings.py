"""Where the settings of `OpenTelemetryMetrics` come from, what is wrong with some, and that none shows a secret."""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Mapping
from subprocess import PIPE, Popen
from sys import executable
from typing import Any

import pytest

from gds_metrics import OpenTelemetryMetrics
from tests.metrics.test_otlp import (
    CUMULATIVE,
    DELTA,
    NEVER_SECONDS,
    attributes,
    endpoint_of,
    http_receiver,
    run_program,
)
from tests.services.run import OtelCollector, wait_until

# Settings come as the text of keyword arguments.
PROGRAM = """
import sys
from gds_metrics import OpenTelemetryMetrics
metrics = OpenTelemetryMetrics({settings})
metrics.increment("jobs", 3)
print(metrics.flush())
"""
UNREACHABLE = "http://localhost:1"
SECRET = "hunter2hunter2"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


def idle_exporter() -> OpenTelemetryMetrics:
    """One that has nothing to export, and therefore asks for no receiver."""
    return OpenTelemetryMetrics(endpoint=UNREACHABLE, interval_seconds=NEVER_SECONDS)


def run(environment: Mapping[str, str], settings: str = "") -> str:
    """Export once with these settings; gives what the program said beside that all went well."""
    program = run_program(PROGRAM.format(settings=settings), environment=environment)
    assert program.returncode == 0, program.stderr
    assert program.stdout == "True\n", program.stderr
    return program.stderr


def resource(collector: OtelCollector) -> dict[str, str]:
    return attributes(collector.wait_for("jobs")[-1].resource)


OVER_HTTP = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}


@pytest.mark.parametrize(
    ("variables", "settings", "path"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}, "", "/v1/metrics"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "{url}/base/"}, "", "/base/v1/metrics"),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "{url}/own"}, "", "/own"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": UNREACHABLE, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "{url}/own"},
            "",
            "/own",
        ),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": UNREACHABLE}, "endpoint='{url}/explicit'", "/explicit"),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "", "OTEL_EXPORTER_OTLP_ENDPOINT": "{url}"}, "", "/v1/metrics"),
    ],
)
def test_the_endpoint_is_the_callers_then_that_of_metrics_then_that_of_all_signals(
    variables: dict[str, str], settings: str, path: str
) -> None:
    with http_receiver() as (url, requests):
        environment = {name: value.format(url=url) for name, value in variables.items()}
        assert run({**OVER_HTTP, **environment}, settings.format(url=url)) == ""
    assert {request.path for request in requests} == {path}


@pytest.mark.parametrize(
    ("variables", "settings", "expected"),
    [
        ({"OTEL_EXPORTER_OTLP_HEADERS": "key=all,other=x%20y"}, "", {"key": "all", "other": "x y"}),
        (
            {"OTEL_EXPORTER_OTLP_HEADERS": "key=all,other=x", "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "key=own"},
            "",
            {"key": "own", "other": None},
        ),
        (
            {"OTEL_EXPORTER_OTLP_METRICS_HEADERS": "key=own"},
            "headers={'other': 'explicit'}",
            {"key": None, "other": "explicit"},
        ),
        ({"OTEL_EXPORTER_OTLP_METRICS_HEADERS": "key=own"}, "headers={}", {"key": None}),
    ],
)
def test_the_headers_are_the_callers_then_those_of_metrics_then_those_of_all_signals(
    variables: dict[str, str], settings: str, expected: dict[str, str | None]
) -> None:
    with http_receiver() as (url, requests):
        environment = {**OVER_HTTP, "OTEL_EXPORTER_OTLP_ENDPOINT": url, **variables}
        assert run(environment, settings) == ""
    for request in requests:
        assert {name: request.headers.get(name) for name in expected} == expected


def test_a_user_in_the_endpoint_becomes_a_header() -> None:
    with http_receiver() as (url, requests):
        endpoint = url.replace("http://", f"http://me:{SECRET}@")
        assert run({**OVER_HTTP, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}) == ""
    expected = base64.b64encode(f"me:{SECRET}".encode()).decode()
    assert requests[0].headers["authorization"] == f"Basic {expected}"
    assert SECRET not in requests[0].path


@pytest.mark.parametrize(
    ("variables", "settings", "protocol"),
    [
        ({}, "", "grpc"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "", "http/protobuf"),
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf"},
            "",
            "http/protobuf",
        ),
        ({"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf"}, "protocol='grpc'", "grpc"),
    ],
)
def test_the_protocol_is_the_callers_then_that_of_metrics_then_that_of_all_signals(
    otel_collector: OtelCollector, variables: dict[str, str], settings: str, protocol: str
) -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": endpoint_of(otel_collector, protocol)}
    assert run({**endpoint, **variables}, settings) == ""
    otel_collector.wait_for("jobs")


@pytest.mark.parametrize(
    ("variables", "settings", "expected"),
    [
        ({}, "", "gds_service"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=listed"}, "", "listed"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=listed", "OTEL_SERVICE_NAME": "named"}, "", "named"),
        ({"OTEL_SERVICE_NAME": "named"}, "resource_attributes={'service.name': 'attribute'}", "attribute"),
        ({"OTEL_SERVICE_NAME": "named"}, "'explicit'", "explicit"),
        ({}, "'explicit', resource_attributes={'service.name': 'attribute'}", "explicit"),
    ],
)
def test_the_service_name_is_the_most_explicit_one(
    otel_collector: OtelCollector, variables: dict[str, str], settings: str, expected: str
) -> None:
    assert run({"OTEL_EXPORTER_OTLP_ENDPOINT": otel_collector.grpc_endpoint, **variables}, settings) == ""
    assert resource(otel_collector)["service.name"] == expected


@pytest.mark.parametrize(
    ("settings", "version", "region"),
    [
        ("", "7.0", "north pole"),
        ("service_version='8.0', resource_attributes={'region': 'south'}", "8.0", "south"),
    ],
)
def test_resource_attributes_of_the_environment_fill_what_the_caller_leaves_open(
    otel_collector: OtelCollector, settings: str, version: str, region: str
) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": otel_collector.grpc_endpoint,
        "OTEL_RESOURCE_ATTRIBUTES": "service.version=7.0,region=north%20pole,zone=1,service.instance.id=one",
    }
    assert run(environment, settings) == ""
    found = resource(otel_collector)
    assert (found["service.version"], found["region"], found["zone"]) == (version, region, "1")
    assert found["service.instance.id"] == "one"


@pytest.mark.parametrize(
    ("variables", "settings", "expected"),
    [
        ({}, "", CUMULATIVE),
        ({"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "Delta"}, "", DELTA),
        ({"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "lowmemory"}, "", DELTA),
        ({"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}, "temporality='cumulative'", CUMULATIVE),
    ],
)
def test_the_temporality_is_the_callers_then_that_of_the_environment(
    otel_collector: OtelCollector, variables: dict[str, str], settings: str, expected: int
) -> None:
    assert run({"OTEL_EXPORTER_OTLP_ENDPOINT": otel_collector.grpc_endpoint, **variables}, settings) == ""
    [received, *_] = otel_collector.wait_for("jobs")
    assert received.metric["sum"]["aggregationTemporality"] == expected


@pytest.mark.parametrize(
    ("variables", "settings", "exports"),
    [
        ({"OTEL_METRIC_EXPORT_INTERVAL": "50"}, "", True),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "3600000"}, "interval_seconds=0.05", True),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "3600000"}, "", False),
    ],
)
def test_the_interval_is_the_callers_then_that_of_the_environment(
    variables: dict[str, str], settings: str, exports: bool
) -> None:
    code = f"""
import sys
from gds_metrics import OpenTelemetryMetrics
metrics = OpenTelemetryMetrics({settings})
metrics.increment("jobs", 3)
sys.stdin.read()
"""
    with http_receiver() as (url, requests):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        environment = {**inherited, **OVER_HTTP, "OTEL_EXPORTER_OTLP_ENDPOINT": url, **variables}
        with Popen([executable, "-W", "error", "-c", code], env=environment, stdin=PIPE) as program:
            assert program.stdin is not None
            try:
                if exports:
                    wait_until(lambda: len(requests) >= 2, what="two exports")
            finally:
                program.stdin.close()
        assert program.returncode == 0
        # The last one is that of the end.
        assert (len(requests) > 2) if exports else (len(requests) == 1)


@pytest.mark.parametrize(
    "variables",
    [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_SDK_DISABLED": "TRUE"}, {"OTEL_METRICS_EXPORTER": "none"}],
)
def test_export_that_the_environment_turned_off_does_nothing_successfully(variables: dict[str, str]) -> None:
    with http_receiver() as (url, requests):
        assert run({**OVER_HTTP, "OTEL_EXPORTER_OTLP_ENDPOINT": url, **variables}) == ""
    assert requests == []


@pytest.mark.parametrize("variables", [{"OTEL_SDK_DISABLED": "false"}, {"OTEL_METRICS_EXPORTER": "otlp"}])
def test_other_values_of_those_variables_turn_nothing_off(variables: dict[str, str]) -> None:
    with http_receiver() as (url, requests):
        assert run({**OVER_HTTP, "OTEL_EXPORTER_OTLP_ENDPOINT": url, **variables}) == ""
    assert requests


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "ftp://host/x", "expected a URL like http://host:4318/v1/metrics"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json", "expected grpc or http/protobuf"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "expected gzip or none"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "often", "expected cumulative or delta or lowmemory"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", "expected a whole number of milliseconds"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon", "expected a whole number of milliseconds"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1", "expected a whole number of milliseconds"),
        ("OTEL_SDK_DISABLED", "maybe", "expected true or false"),
        ("OTEL_RESOURCE_ATTRIBUTES", "region", "expected key=value,key=value"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "content-type", "expected name=value"),
    ],
)
def test_a_variable_that_cannot_be_used_is_mentioned_and_passed_over(name: str, value: str, expected: str) -> None:
    with http_receiver() as (url, requests):
        said = run({**OVER_HTTP, "OTEL_EXPORTER_OTLP_ENDPOINT": url, name: value})
    assert requests
    [line] = said.splitlines()
    assert line.startswith(f"{name}=")
    assert "is ignored" in line
    assert expected in line


def test_certificates_of_the_environment_that_are_missing_are_an_error() -> None:
    code = PROGRAM.format(settings="endpoint='https://localhost:1'")
    program = run_program(code, environment={"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nonexistent/ca.pem"})
    assert program.returncode == 1
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE=/nonexistent/ca.pem: No such file" in program.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"protocol": "udp"}, ValueError, r"^protocol=udp: expected grpc or http/protobuf$"),
        ({"protocol": 5}, TypeError, r"^protocol=5: expected a str"),
        ({"temporality": "often"}, ValueError, r"^temporality=often: expected cumulative or delta or lowmemory$"),
        ({"compression": "zip"}, ValueError, r"^compression=zip: expected gzip or none$"),
        ({"interval_seconds": 0}, ValueError, r"^interval_seconds=0: expected a number of seconds from 0.001 to 1e9"),
        ({"interval_seconds": -1.5}, ValueError, r"^interval_seconds=-1.5: expected"),
        ({"interval_seconds": float("nan")}, ValueError, r"^interval_seconds=nan: expected"),
        ({"interval_seconds": "60"}, TypeError, r"^interval_seconds='60': expected a number of seconds"),
        ({"interval_seconds": True}, TypeError, r"^interval_seconds=True: expected a number of seconds"),
        ({"timeout_seconds": 0}, ValueError, r"^timeout_seconds=0: expected"),
        ({"headers": {"a b": "x"}}, ValueError, r"^headers=a: expected a header's name, of letters"),
        ({"headers": {"": "x"}}, ValueError, r"^headers=: expected a header's name"),
        ({"headers": {"host": "x"}}, ValueError, r"^headers=host: expected a header that the protocol does not set"),
        ({"headers": {"grpc-timeout": "x"}}, ValueError, r"^headers=grpc-timeout: .*; leave it out$"),
        ({"headers": {1: "x"}}, TypeError, r"^headers=1: expected a str, got int"),
        ({"headers": "key=x"}, TypeError, r"^headers: expected a dict of str to str, got str$"),
        ({"headers": [("key", "x")]}, TypeError, r"^headers: expected a dict of str to str, got list$"),
        ({"headers": {"key": b"x"}}, TypeError, r"^headers\['key'\]: expected a str, got bytes; decode it first$"),
        ({"endpoint": "ftp://host"}, ValueError, r"^endpoint=ftp://host: expected a URL like http://host:4317"),
        ({"endpoint": ""}, ValueError, r"^endpoint=: expected a URL"),
        ({"endpoint": "::::"}, ValueError, r"^endpoint=::::: expected a URL"),
        ({"endpoint": "http://"}, ValueError, r"^endpoint=http://: expected a URL"),
        ({"endpoint": "host:70000"}, ValueError, r"^endpoint=host:70000: expected a URL"),
        (
            {"endpoint": "host:4318", "protocol": "http/protobuf"},
            ValueError,
            r"^endpoint=host:4318: expected a URL like http://host:4318/v1/metrics$",
        ),
        ({"endpoint": b"http://host"}, TypeError, r"^endpoint: expected a str, got bytes$"),
        ({"cafile": "/nonexistent/ca.pem"}, FileNotFoundError, r"cafile=/nonexistent/ca\.pem: .*; name a PEM file"),
        ({"cafile": 5}, TypeError, r"^cafile=5: expected a path"),
        ({"insecure": "yes"}, TypeError, r"^insecure='yes': expected True or False"),
        ({"resource_attributes": ["region"]}, TypeError, r"^resource_attributes: expected a dict of str to str"),
        ({"resource_attributes": {1: "x"}}, TypeError, r"^resource_attributes=1: expected a str"),
        ({"service_name": None}, TypeError, r"^service_name=None: expected a str"),
        ({"service_version": 2.0}, TypeError, r"^service_version=2\.0: expected a str"),
        ({"buckets": [2, 1]}, ValueError, r"^buckets=\[2, 1\]: expected ascending finite bounds"),
        ({"max_series": 0}, ValueError, r"^max_series=0: expected a whole number from 1"),
        ({"meter_provider": 5}, TypeError, r"has no get_meter; pass opentelemetry\.metrics\.get_meter_provider\(\)"),
    ],
)
def test_a_setting_that_makes_no_sense_raises_at_construction(
    settings: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        OpenTelemetryMetrics(**{"endpoint": UNREACHABLE, "interval_seconds": NEVER_SECONDS, **settings})


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"buckets": [2, 1]}, ValueError, r"^buckets="),
        ({"buckets": "x"}, TypeError, r"^buckets='x'"),
        ({"unit": 5}, TypeError, r"^unit=5: expected a str"),
        ({"help": 5}, TypeError, r"^help=5: expected a str"),
        ({"max_series": 0}, ValueError, r"^max_series=0"),
    ],
)
def test_a_description_that_makes_no_sense_raises(
    settings: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with idle_exporter() as metrics, pytest.raises(kind, match=message):
        metrics.describe("jobs", **settings)


@pytest.mark.parametrize("call", ["flush", "close"])
def test_a_time_out_that_makes_no_sense_raises(call: str) -> None:
    with idle_exporter() as metrics, pytest.raises(ValueError, match=r"^timeout_seconds=0: expected"):
        getattr(metrics, call)(0)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_no_secret_is_shown_while_it_works_or_fails(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # Answers with what it was sent, as some receivers do.
    with http_receiver(status=401, body=f"bad token {SECRET}".encode()) as (url, requests):
        endpoint = url.replace("http://", f"http://me:{SECRET}@") + f"/?key={SECRET}"
        metrics = OpenTelemetryMetrics(
            endpoint=endpoint,
            protocol=protocol,
            headers={"authorization": f"Bearer {SECRET}", "api-key": SECRET},
            interval_seconds=NEVER_SECONDS,
            timeout_seconds=2,
        )
        metrics.increment("jobs")
        assert metrics.flush() is False
        shown = [repr(metrics), str(metrics), f"{metrics.stats()}", str(metrics._endpoint)]
        with pytest.raises(OSError, match=r"127\.0\.0\.1") as caught:
            metrics._flush(2)
        metrics.close(2)
    if protocol == "http/protobuf":
        assert requests[0].headers["authorization"] == f"Bearer {SECRET}"
    assert caplog.records
    shown += [str(caught.value), repr(caught.value), caplog.text]
    assert not [text for text in shown if SECRET in text]


@pytest.mark.parametrize(
    "settings",
    [
        {"headers": {f"authorization: Bearer {SECRET}": ""}},
        {"headers": {f"Bearer {SECRET}": ""}},
        {"headers": {"authorization": f"Bearer {SECRET}\n\n{SECRET}"}},
        {"headers": f"authorization=Bearer {SECRET}"},
        {"headers": {"authorization": SECRET.encode()}},
        {"endpoint": f"ftp://me:{SECRET}@host"},
        {"endpoint": f"http://me:{SECRET}/x@host:70000"},
        {"endpoint": f"http://me:{SECRET}@host".encode()},
        {"endpoint": f"me:{SECRET}@host:70000?key={SECRET}"},
    ],
)
def test_no_secret_is_shown_by_a_setting_that_makes_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        OpenTelemetryMetrics(**{"endpoint": UNREACHABLE, **settings})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_HEADERS", f"authorization: Bearer {SECRET}"),
        ("OTEL_EXPORTER_OTLP_HEADERS", f"authorization: Basic {SECRET}=="),
        ("OTEL_EXPORTER_OTLP_HEADERS", f"Basic {SECRET}=="),
        ("OTEL_EXPORTER_OTLP_HEADERS", f"content-type={SECRET}"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"ftp://me:{SECRET}@host?key={SECRET}"),
    ],
)
def test_no_secret_is_shown_by_a_variable_that_makes_no_sense(name: str, value: str) -> None:
    with http_receiver() as (url, _):
        said = run({**OVER_HTTP, "OTEL_EXPORTER_OTLP_ENDPOINT": url, name: value})
    assert said.startswith(name)
    assert SECRET not in said
