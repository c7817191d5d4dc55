"""Settings that cannot work are refused at construction, with the value, what was expected and what to do."""

from __future__ import annotations

import errno
import math
from pathlib import Path
from typing import Any

import pytest

from gds_metrics import PrometheusMetrics
from tests.helpers.certificates import Pki, make_pki


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


def refused(error: type[Exception], **settings: Any) -> str:
    with pytest.raises(error) as raised:
        PrometheusMetrics(start_server=False, **settings)
    return str(raised.value)


@pytest.mark.parametrize(
    ("setting", "value", "error", "expected"),
    [
        ("port", 70_000, ValueError, "a whole number from 0 to 65535; 0 picks a free port"),
        ("port", -1, ValueError, "a whole number from 0 to 65535"),
        ("port", "x", TypeError, "a whole number from 0 to 65535"),
        ("port", True, TypeError, "a whole number from 0 to 65535"),
        ("port", 8080.0, TypeError, "a whole number"),
        ("port", None, TypeError, "a whole number"),
        ("prefix", None, TypeError, "a str, got NoneType"),
        ("prefix", "a\ud800", ValueError, "text that UTF-8 can hold, without lone surrogates"),
        ("addr", 3, TypeError, "a str, got int"),
        ("buckets", [], ValueError, "ascending finite bounds, at least one, such as"),
        ("buckets", [2, 1], ValueError, "ascending finite bounds"),
        ("buckets", [1, 1], ValueError, "ascending finite bounds"),
        ("buckets", [math.nan], ValueError, "ascending finite bounds"),
        ("buckets", [math.inf], ValueError, "ascending finite bounds"),
        ("buckets", [1, math.inf, 2], ValueError, "ascending finite bounds"),
        ("buckets", [10**400], ValueError, "ascending finite bounds"),
        ("buckets", ["x"], TypeError, "a sequence of numbers"),
        ("buckets", 5, TypeError, "a sequence of numbers"),
        ("max_series", 0, ValueError, "a whole number from 1"),
        ("max_series", "1", TypeError, "a whole number from 1"),
        ("max_series", True, TypeError, "a whole number from 1"),
        ("expire_after_seconds", 0, ValueError, "a number of seconds from 0.001 to 1e9"),
        ("expire_after_seconds", -1, ValueError, "a number of seconds from 0.001 to 1e9"),
        ("expire_after_seconds", math.nan, ValueError, "a number of seconds from 0.001 to 1e9"),
        ("expire_after_seconds", math.inf, ValueError, "a number of seconds from 0.001 to 1e9"),
        ("expire_after_seconds", "1", TypeError, "a number of seconds"),
        ("multiprocess_dir", 3, TypeError, "a path"),
        *(
            (setting, 3, TypeError, "a path, as a str or os.PathLike, got int")
            for setting in ("certfile", "keyfile", "client_cafile", "bearer_token_file", "basic_auth_file")
        ),
    ],
)
def test_a_value_that_makes_no_sense_is_told(
    setting: str, value: object, error: type[Exception], expected: str
) -> None:
    message = refused(error, **{setting: value})
    assert message.startswith(f"{setting}={value!r}: expected ")
    assert expected in message


def test_an_unknown_setting_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="prot"):
        PrometheusMetrics(prot=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("setting", ["keyfile", "client_cafile"])
def test_files_of_tls_need_the_certificate(pki: Pki, setting: str) -> None:
    path = str(pki.server_key)
    assert refused(ValueError, **{setting: path}).startswith(f"{setting}={path!r}: expected certfile= beside it; ")


def test_only_one_kind_of_credentials_can_be_asked_for() -> None:
    message = refused(ValueError, bearer_token_file="a", basic_auth_file="b")
    assert message == "bearer_token_file and basic_auth_file: expected one of them; give one or neither"


@pytest.mark.parametrize("setting", ["certfile", "bearer_token_file", "basic_auth_file"])
def test_a_file_that_is_not_there_is_told(tmp_path: Path, setting: str) -> None:
    path = tmp_path / "missing"
    with pytest.raises(FileNotFoundError, match=r"give a .*file that this process can read") as raised:
        PrometheusMetrics(start_server=False, **{setting: path})  # type: ignore[arg-type]
    assert f"{setting}={path}: " in str(raised.value)
    assert raised.value.errno == errno.ENOENT


@pytest.mark.parametrize("setting", ["certfile", "bearer_token_file", "basic_auth_file"])
def test_a_folder_is_no_file(tmp_path: Path, setting: str) -> None:
    with pytest.raises(OSError, match=f"{setting}=.*give a .*file"):
        PrometheusMetrics(start_server=False, **{setting: tmp_path})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("setting", "content", "expected"),
    [
        ("certfile", "", "at least one certificate in PEM"),
        ("certfile", "hunter2", "at least one certificate in PEM"),
        ("bearer_token_file", "", "a file with one line of 1 to 512 printable ASCII characters"),
        ("bearer_token_file", " \n", "a file with one line"),
        ("bearer_token_file", "hunter2\nhunter3", "a file with one line"),
        ("bearer_token_file", "hunter2" * 100, "a file with one line"),
        ("basic_auth_file", "", "a file with at least one line user:password; add one"),
        ("basic_auth_file", "# nobody\n\n", "a file with at least one line user:password; add one"),
        ("basic_auth_file", "user:x\nhunter2", "user:password in at most 512 bytes on each line; correct line 2"),
        ("basic_auth_file", ":hunter2", "correct line 1"),
    ],
)
def test_a_file_with_something_else_in_it_is_told_and_not_quoted(
    tmp_path: Path, setting: str, content: str, expected: str
) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    message = refused(ValueError, **{setting: path})
    assert message.startswith(f"{setting}={path}: expected ")
    assert expected in message
    assert "hunter" not in message


def test_a_key_of_another_certificate_is_told(pki: Pki) -> None:
    message = refused(ValueError, certfile=pki.server_cert, keyfile=pki.client_key)
    assert message.startswith(f"keyfile={pki.client_key}: expected the private key of certfile={pki.server_cert}")


def test_a_certificate_without_a_key_is_told(pki: Pki) -> None:
    message = refused(ValueError, certfile=pki.server_cert)
    assert "expected an unencrypted private key in PEM beside the certificate; or give keyfile" in message


def test_a_certificate_is_no_key(pki: Pki) -> None:
    message = refused(ValueError, certfile=pki.server_cert, keyfile=pki.ca)
    assert message.startswith(f"keyfile={pki.ca}: expected an unencrypted private key in PEM")


def test_authorities_of_clients_must_be_readable(pki: Pki, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"client_cafile=.*missing"):
        PrometheusMetrics(
            start_server=False,
            certfile=pki.server_cert,
            keyfile=pki.server_key,
            client_cafile=tmp_path / "missing",
        )


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "below"
    with pytest.raises(NotADirectoryError, match="name a folder on a local disk that this program may write to"):
        PrometheusMetrics(start_server=False, multiprocess_dir=path)
    with pytest.raises(OSError, match=f"multiprocess_dir={tmp_path / 'file'}"):
        PrometheusMetrics(start_server=False, multiprocess_dir=tmp_path / "file")


def test_the_folder_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    PrometheusMetrics(start_server=False).increment("n")
    assert list(tmp_path.iterdir())
    other = tmp_path / "other"
    other.mkdir()
    PrometheusMetrics(start_server=False, multiprocess_dir="").increment("n")
    PrometheusMetrics(start_server=False, multiprocess_dir=other).increment("n")
    assert list(other.iterdir())
    (tmp_path / "file").touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "file" / "x"))
    with pytest.raises(OSError, match="multiprocess_dir="):
        PrometheusMetrics(start_server=False)


@pytest.mark.parametrize("addr", ["", "999.1.1.1", "1.2.3.4:80"])
def test_what_is_no_address_is_told(addr: str) -> None:
    with pytest.raises(ValueError, match=f"addr={addr}: expected an IP address or host name of this machine, such as"):
        PrometheusMetrics(port=0, addr=addr)


def test_an_address_of_another_machine_is_told() -> None:
    # 192.0.2.0/24 is for documentation (RFC 5737), so it is nobody's.
    with pytest.raises(
        OSError, match=r"cannot listen on 192.0.2.1 port 0: .*give addr= an address of this machine"
    ) as raised:
        PrometheusMetrics(port=0, addr="192.0.2.1")
    assert raised.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize("make", [str, Path, lambda path: str(path).encode()], ids=["str", "Path", "bytes"])
def test_files_may_be_named_in_any_way(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    metrics = PrometheusMetrics(start_server=False, bearer_token_file=make(path))
    assert "s3cret" not in repr(metrics) + str(metrics)


def test_bad_ports_for_a_later_start_are_told() -> None:
    metrics = PrometheusMetrics(start_server=False)
    with pytest.raises(ValueError, match="port=70000: expected a whole number from 0 to 65535"):
        metrics.start_server(70_000)
    with pytest.raises(TypeError, match="port='x'"):
        metrics.start_server("x")  # type: ignore[arg-type]
