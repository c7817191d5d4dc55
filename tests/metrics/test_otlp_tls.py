"""Export over encrypted connections: whom the exporter trusts, and who it says it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from gds_metrics import OpenTelemetryMetrics
from tests.metrics.test_otlp import NEVER_SECONDS, PROTOCOLS, endpoint_of, exporter, latest_values, run_program
from tests.services.fixtures import OtelCollectorFactory
from tests.services.process import LOOPBACK
from tests.services.run import OtelCollector, ServerTls


@dataclass(frozen=True)
class Files:
    """One authority, and PEM files of a server and a client it vouches for."""

    authority: Path
    other_authority: Path
    server: ServerTls
    mutual_server: ServerTls
    client_certificate: Path
    client_key: Path
    other_key: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("tls")

    def write(name: str, *blobs: trustme.Blob) -> Path:
        path = folder / name
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return path

    authority, other = trustme.CA(), trustme.CA()
    server, client = authority.issue_cert(LOOPBACK), authority.issue_cert("exporter.test")
    stranger = other.issue_cert("stranger.test")
    authority_file = write("ca.pem", authority.cert_pem)
    certificate = write("server.pem", *server.cert_chain_pems)
    key = write("server.key", server.private_key_pem)
    return Files(
        authority=authority_file,
        other_authority=write("other.pem", other.cert_pem),
        server=ServerTls(certificate, key),
        mutual_server=ServerTls(certificate, key, client_ca=authority_file),
        client_certificate=write("client.pem", *client.cert_chain_pems),
        client_key=write("client.key", client.private_key_pem),
        other_key=write("other.key", stranger.private_key_pem),
    )


@pytest.fixture
def encrypted(otel_collector_factory: OtelCollectorFactory, files: Files) -> OtelCollector:
    return otel_collector_factory(tls=files.server)


@pytest.fixture
def mutual(otel_collector_factory: OtelCollectorFactory, files: Files) -> OtelCollector:
    return otel_collector_factory(tls=files.mutual_server)


@pytest.fixture(autouse=True)
def _trust_nobody_else(monkeypatch: pytest.MonkeyPatch, files: Files) -> None:
    # Otherwise the authorities of the machine that runs the tests.
    monkeypatch.setenv("SSL_CERT_FILE", str(files.other_authority))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_authority_given_as_a_file_is_trusted(encrypted: OtelCollector, files: Files, protocol: str) -> None:
    with exporter(encrypted, protocol, cafile=files.authority) as metrics:
        metrics.increment("jobs", 3)
        assert metrics.flush(), metrics.stats()
    encrypted.wait_for("jobs")
    assert latest_values(encrypted, "jobs") == {(): 3}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_authorities_of_the_system_are_trusted_by_default(
    encrypted: OtelCollector, files: Files, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))
    with exporter(encrypted, protocol) as metrics:
        metrics.increment("jobs", 3)
        assert metrics.flush(), metrics.stats()
    encrypted.wait_for("jobs")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("given", [True, False])
def test_a_receiver_of_another_authority_gets_nothing(
    encrypted: OtelCollector, files: Files, protocol: str, given: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with exporter(encrypted, protocol, cafile=files.other_authority if given else None) as metrics:
        metrics.increment("jobs")
        assert metrics.flush() is False
        assert "certificate" in metrics.stats()["last_error"]
    assert encrypted.metrics() == []
    last = [record for record in caplog.records if "the last metrics were not exported" in record.getMessage()]
    assert len(last) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_certificate_is_presented(mutual: OtelCollector, files: Files, protocol: str) -> None:
    with exporter(
        mutual,
        protocol,
        cafile=files.authority,
        certfile=files.client_certificate,
        keyfile=files.client_key,
        compression="gzip",
    ) as metrics:
        metrics.increment("jobs", 3)
        assert metrics.flush(), metrics.stats()
    mutual.wait_for("jobs")
    assert latest_values(mutual, "jobs") == {(): 3}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_receiver_that_demands_a_certificate_takes_nothing_without(
    mutual: OtelCollector, files: Files, protocol: str
) -> None:
    with exporter(mutual, protocol, cafile=files.authority) as metrics:
        metrics.increment("jobs")
        assert metrics.flush() is False
    assert mutual.metrics() == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_certificates_may_come_from_the_environment(mutual: OtelCollector, files: Files, protocol: str) -> None:
    code = """
from gds_metrics import OpenTelemetryMetrics
metrics = OpenTelemetryMetrics()
metrics.increment("jobs", 3)
print(metrics.flush(), metrics.stats()["last_error"])
"""
    environment = {
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": endpoint_of(mutual, protocol),
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(files.authority),
        # That of the signal wins.
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(files.server.cert),
        "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE": str(files.client_certificate),
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(files.client_key),
    }
    program = run_program(code, environment=environment)
    assert (program.stdout, program.stderr) == ("True None\n", "")
    mutual.wait_for("jobs")


def test_a_key_of_another_certificate_is_an_error(files: Files) -> None:
    with pytest.raises(OSError, match=r"keyfile=.*other\.key") as caught:
        OpenTelemetryMetrics(
            endpoint="https://localhost:1",
            interval_seconds=NEVER_SECONDS,
            certfile=files.client_certificate,
            keyfile=files.other_key,
        )
    assert "name a PEM file" in str(caught.value)


def test_half_an_identity_is_an_error(files: Files) -> None:
    with pytest.raises(ValueError, match=r"certfile=.*client\.pem: expected keyfile"):
        OpenTelemetryMetrics(endpoint="https://localhost:1", certfile=files.client_certificate)
    with pytest.raises(ValueError, match=r"keyfile=.*client\.key: expected certfile"):
        OpenTelemetryMetrics(endpoint="https://localhost:1", keyfile=files.client_key)


@pytest.mark.parametrize("setting", ["cafile", "certfile", "keyfile"])
def test_a_file_that_is_missing_or_no_pem_is_an_error(setting: str, files: Files, tmp_path: Path) -> None:
    good: dict[str, Any] = {
        "cafile": files.authority,
        "certfile": files.client_certificate,
        "keyfile": files.client_key,
    }
    missing, garbage = tmp_path / "missing.pem", tmp_path / "garbage.pem"
    garbage.write_text("no PEM: hunter2")
    with pytest.raises(FileNotFoundError, match=rf"{setting}={missing}: .*; name a PEM file"):
        OpenTelemetryMetrics(endpoint="https://localhost:1", **{**good, setting: missing})
    with pytest.raises(OSError, match=rf"{setting}={garbage}: .*; name a PEM file") as caught:
        OpenTelemetryMetrics(endpoint="https://localhost:1", **{**good, setting: garbage})
    assert "hunter2" not in str(caught.value)


def test_certificates_for_an_endpoint_without_encryption_are_mentioned(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    OpenTelemetryMetrics(endpoint="http://localhost:1", cafile=files.authority, interval_seconds=NEVER_SECONDS).close()
    [record] = caplog.records
    assert "cafile=" in record.getMessage()
    assert "https" in record.getMessage()
