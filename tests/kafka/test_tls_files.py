"""Files of TLS that are of no use: the error says which setting it is, what is wrong, and what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gds_kafka import KafkaConfigurationError, KafkaConsumerClient, KafkaProducerClient
from tests.helpers.certificates import Pki, make_pki

PASSWORD = "hunter2-of-the-key"
"""What no error may hold."""

_NOBODY = 65534


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


def refusal(**settings: Any) -> str:
    """What a producer says of these settings; a consumer says the same."""
    texts = []
    for make in (KafkaProducerClient, lambda *args, **given: KafkaConsumerClient("t", *args, **given)):
        with pytest.raises(KafkaConfigurationError) as refused:
            make("127.0.0.1:9", security_protocol="SSL", lazy=True, **settings)
        assert PASSWORD not in str(refused.value) + repr(refused.value)
        texts.append(str(refused.value))
    assert texts[0] == texts[1]
    return texts[0]


def of_client(pki: Pki, **more: Any) -> dict[str, Any]:
    return {"ssl_cafile": str(pki.ca), "ssl_certfile": str(pki.client_cert), "ssl_keyfile": str(pki.client_key), **more}


def _absent(path: Path) -> None:
    """Not even there."""


def _folder(path: Path) -> None:
    path.mkdir()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)))


USELESS = [
    (_absent, "cannot be read (No such file"),
    (_folder, "cannot be read (Is a directory"),
    (_empty, "holds no block"),
    (_binary, "holds no block"),
]


@pytest.mark.parametrize(
    ("setting", "make", "wrong"),
    [
        (setting, make, wrong)
        for setting in ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile")
        for make, wrong in USELESS
        if (setting, make) != ("ssl_cafile", _folder)  # a way to give authorities
    ],
)
def test_a_file_that_is_no_pem_is_named_with_its_setting(
    pki: Pki, tmp_path: Path, setting: str, make: Callable[[Path], None], wrong: str
) -> None:
    path = tmp_path / "given.pem"
    make(path)
    text = refusal(**of_client(pki, **{setting: str(path)}))
    assert text.startswith(f'{setting}="{path}": '), text
    assert wrong in text
    assert "expected" in text
    assert "in PEM" in text
    assert f"give {setting}" in text


def test_a_file_that_may_not_be_read_is_named(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "given.pem"
    path.write_bytes(pki.ca.read_bytes())
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:  # who may read everything
            os.seteuid(_NOBODY)
        text = refusal(**of_client(pki, ssl_cafile=str(path)))
    finally:
        os.seteuid(user)
    assert text.startswith(f'ssl_cafile="{path}": the file cannot be read (Permission denied'), text


@pytest.mark.parametrize("setting", ["ssl_cafile", "ssl_certfile", "ssl_keyfile"])
def test_a_block_that_is_damaged_is_named(pki: Pki, tmp_path: Path, setting: str) -> None:
    given = of_client(pki)
    path = tmp_path / "damaged.pem"
    first, second, *rest = Path(given[setting]).read_text().splitlines(keepends=True)
    path.write_text(first + second.swapcase() + "".join(rest[1:]))
    text = refusal(**given | {setting: str(path)})
    assert text.startswith(f'{setting}="{path}": OpenSSL cannot use what it holds'), text


def test_files_that_were_taken_for_each_other_are_named(pki: Pki) -> None:
    given = of_client(pki, ssl_certfile=str(pki.client_key), ssl_keyfile=str(pki.client_cert))
    assert refusal(**given).startswith(f'ssl_certfile="{pki.client_key}": the file holds no block')


def test_the_key_of_another_certificate_is_named(pki: Pki) -> None:
    text = refusal(**of_client(pki, ssl_keyfile=str(pki.stranger_key)))
    assert text.startswith(f'ssl_keyfile="{pki.stranger_key}": the key is not that of the certificate in')
    assert f'ssl_certfile="{pki.client_cert}"' in text


def test_a_key_of_another_kind_is_named(pki: Pki, tmp_path: Path) -> None:
    ours = serialization.load_pem_private_key(pki.client_key.read_bytes(), None)
    other: Any = (
        rsa.generate_private_key(65537, 2048)
        if isinstance(ours, ec.EllipticCurvePrivateKey)
        else ec.generate_private_key(ec.SECP256R1())
    )
    path = tmp_path / "other.key"
    path.write_bytes(_pem(other, serialization.NoEncryption()))
    text = refusal(**of_client(pki, ssl_keyfile=str(path)))
    assert text.startswith(f'ssl_keyfile="{path}": the key is not that of the certificate in'), text


def test_a_key_without_a_certificate_is_named(pki: Pki) -> None:
    text = refusal(ssl_cafile=str(pki.ca), ssl_keyfile=str(pki.client_key))
    assert text.startswith(f'ssl_keyfile="{pki.client_key}": there is no ssl_certfile'), text


def test_a_certificate_whose_file_lacks_the_key_asks_for_ssl_keyfile(pki: Pki) -> None:
    text = refusal(ssl_cafile=str(pki.ca), ssl_certfile=str(pki.client_cert))
    assert text.startswith(f'ssl_certfile="{pki.client_cert}": the file holds no block'), text
    assert "ssl_keyfile" in text


def _pem(
    key: Any,
    encryption: serialization.KeySerializationEncryption,
    form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8,
) -> bytes:
    pem: bytes = key.private_bytes(serialization.Encoding.PEM, form, encryption)
    return pem


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key_needs_its_password(pki: Pki, tmp_path: Path, form: serialization.PrivateFormat) -> None:
    path = tmp_path / "encrypted.key"
    key = serialization.load_pem_private_key(pki.client_key.read_bytes(), None)
    path.write_bytes(_pem(key, serialization.BestAvailableEncryption(PASSWORD.encode()), form))
    given = of_client(pki, ssl_keyfile=str(path))
    for password, wrong in ((None, "there is no ssl_password"), (f"not-{PASSWORD}", "ssl_password does not open it")):
        text = refusal(**given, ssl_password=password)
        assert text.startswith(f'ssl_keyfile="{path}": the key is encrypted, and {wrong}'), text
    KafkaProducerClient("127.0.0.1:9", security_protocol="SSL", lazy=True, ssl_password=PASSWORD, **given).close(0)


def test_without_tls_no_file_is_looked_at() -> None:
    KafkaProducerClient("127.0.0.1:9", lazy=True, ssl_cafile="/no/such/file.pem").close(0)
