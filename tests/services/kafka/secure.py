"""A broker that asks who is there: passwords, tokens and certificates over TLS, and access control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from tests.services.process import LOOPBACK, WAIT_TIMEOUT_SECONDS, wait_until

from .cluster import DIRECT, KafkaCluster, Listener

# Importing the fixtures must not need it.
if TYPE_CHECKING:
    import trustme

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
Certificate = Literal["valid", "expired", "other_host"]
Operation = Literal["ALL", "READ", "WRITE", "CREATE", "DELETE", "ALTER", "DESCRIBE"]
Resource = Literal["topic", "group", "transactional_id"]

PASSWORDS: Mapping[str, str] = MappingProxyType({"admin": "admin-secret", "alice": "alice-secret"})

_SASL_SSL = "SASL_SSL"
_SSL = "SSL"
_SECURITY = "org.apache.kafka.common.security"


@dataclass(frozen=True, slots=True)
class Pem:
    """PEM files of one side: its certificate, and its key without a password (PKCS#8)."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files. ``ca`` signed all but ``stranger``, a client certificate of an authority unknown to the broker."""

    ca: Path
    server: Pem
    alice: Pem
    stranger: Pem


class SecureKafka(KafkaCluster):
    """One broker with the users admin, who may do anything, and alice, who may do what ``allow`` says.

    ``bootstrap_servers`` takes passwords and unsigned tokens over TLS, ``ssl_bootstrap_servers``
    takes client certificates, whose common name is the user. A third listener, without security, is
    for what is asked of the cluster here: whoever comes through it may do anything.

    ``server_certificate`` chooses what the broker shows: one that clients accept, one that has
    expired, or one for another host than this.
    """

    _listeners = (Listener(DIRECT), Listener(_SASL_SSL, "SASL_SSL"), Listener(_SSL, "SSL"))
    _scram = tuple(
        f"{mechanism}=[name={user},password={password}]"
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        for user, password in PASSWORDS.items()
    )

    def __init__(
        self,
        settings: Mapping[str, str | int | bool] | None = None,
        *,
        auto_create_topics: bool = True,
        server_certificate: Certificate = "valid",
    ) -> None:
        super().__init__(1, settings, auto_create_topics=auto_create_topics)
        self._server_certificate = server_certificate
        self._certificates: Certificates | None = None

    @property
    def certificates(self) -> Certificates:
        """The files for clients, and the server's; removed with the broker."""
        assert self._certificates is not None, "use it in a with statement"
        return self._certificates

    @property
    def bootstrap_servers(self) -> str:
        """``host:port`` for passwords and tokens over TLS (``SASL_SSL``)."""
        return self._bootstrap(_SASL_SSL)

    @property
    def ssl_bootstrap_servers(self) -> str:
        """``host:port`` for client certificates (``SSL``)."""
        return self._bootstrap(_SSL)

    def sasl_client(
        self, mechanism: Mechanism = "SCRAM-SHA-512", user: str = "alice", password: str | None = None
    ) -> dict[str, str]:
        """What a client on librdkafka sets to be this user; without ``password`` it is the right one."""
        settings = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.certificates.ca),
            "sasl.mechanism": mechanism,
        }
        if mechanism == "OAUTHBEARER":
            return {
                **settings,
                "enable.sasl.oauthbearer.unsecure.jwt": "true",
                "sasl.oauthbearer.config": f"principal={user}",
            }
        return {
            **settings,
            "sasl.username": user,
            "sasl.password": PASSWORDS[user] if password is None else password,
        }

    def ssl_client(self, identity: Pem | None = None) -> dict[str, str]:
        """What a client on librdkafka sets to show a certificate, by default alice's."""
        pem = self.certificates.alice if identity is None else identity
        return {
            "bootstrap.servers": self.ssl_bootstrap_servers,
            "security.protocol": "SSL",
            "ssl.ca.location": str(self.certificates.ca),
            "ssl.certificate.location": str(pem.cert),
            "ssl.key.location": str(pem.key),
        }

    def allow(self, user: str, operation: Operation, name: str, resource: Resource = "topic") -> None:
        """Let the user do this to the topic, group or transactional id of that name, ``*`` for every one.

        Returns when the broker knows.
        """
        from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, but not marked so
            AclBinding,
            AclBindingFilter,
            AclOperation,
            AclPermissionType,
            ResourcePatternType,
            ResourceType,
        )

        entry = (
            *(ResourceType[resource.upper()], name, ResourcePatternType.LITERAL, f"User:{user}", "*"),
            *(AclOperation[operation], AclPermissionType.ALLOW),
        )
        with self._admin() as admin:
            for answer in admin.create_acls([AclBinding(*entry)]).values():
                answer.result(WAIT_TIMEOUT_SECONDS)
            # The answer comes from the controller, before the broker has it.
            wait_until(
                lambda: admin.describe_acls(AclBindingFilter(*entry)).result(WAIT_TIMEOUT_SECONDS),
                what=f"the broker to know that {user} may {operation} {resource} {name}",
            )

    def _defaults(self) -> dict[str, str | int | bool]:
        folder = self.nodes[0].folder / "tls"
        folder.mkdir()
        self._certificates = _certificates(folder, self._server_certificate)
        store = folder / "store.pem"
        server = self._certificates.server
        store.write_bytes(server.key.read_bytes() + server.cert.read_bytes())
        sasl = f"listener.name.{_SASL_SSL.lower()}"
        users = " ".join(f'user_{user}="{password}"' for user, password in PASSWORDS.items())
        return {
            **super()._defaults(),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self._certificates.ca),
            f"listener.name.{_SSL.lower()}.ssl.client.auth": "required",
            # The user is the common name.
            "ssl.principal.mapping.rules": r"RULE:^CN=([^,]+).*$/$1/,DEFAULT",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
            f"{sasl}.plain.sasl.jaas.config": f"{_SECURITY}.plain.PlainLoginModule required {users};",
            f"{sasl}.scram-sha-256.sasl.jaas.config": f"{_SECURITY}.scram.ScramLoginModule required;",
            f"{sasl}.scram-sha-512.sasl.jaas.config": f"{_SECURITY}.scram.ScramLoginModule required;",
            f"{sasl}.oauthbearer.sasl.jaas.config": (
                f"{_SECURITY}.oauthbearer.OAuthBearerLoginModule required "
                # It logs in to itself, too, and insists on a claim to do so.
                'unsecuredLoginStringClaim_sub="admin";'
            ),
            f"{sasl}.oauthbearer.sasl.server.callback.handler.class": (
                f"{_SECURITY}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:admin;User:ANONYMOUS",
        }


def _certificates(folder: Path, server_certificate: Certificate) -> Certificates:
    import trustme

    authority, other = trustme.CA(), trustme.CA()
    ca = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    hosts = ["kafka.invalid"] if server_certificate == "other_host" else [LOOPBACK, "localhost"]
    end = datetime(2001, 1, 1, tzinfo=timezone.utc) if server_certificate == "expired" else None
    server = authority.issue_cert(*hosts, not_after=end)
    return Certificates(
        ca=ca,
        server=_write(folder, "server", server),
        alice=_write(folder, "alice", authority.issue_cert("alice@example.org", common_name="alice")),
        stranger=_write(folder, "stranger", other.issue_cert("alice@example.org", common_name="alice")),
    )


def _write(folder: Path, name: str, certificate: trustme.LeafCert) -> Pem:
    from cryptography.hazmat.primitives import serialization

    pem = Pem(cert=folder / f"{name}.pem", key=folder / f"{name}.key")
    pem.cert.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    # Java reads no other format.
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), password=None)
    pem.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem
