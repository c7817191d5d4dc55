"""A broker that lets in who has a ticket."""

from __future__ import annotations

from collections.abc import Sequence

from tests.services.kerberos import REALM, Kerberos
from tests.services.process import LOOPBACK

from .cluster import DIRECT, KafkaCluster, Listener

_KERBEROS = "KERBEROS"


class KerberizedKafka(KafkaCluster):
    """One broker of a realm: alice may do anything, others in the realm are let in and may do nothing.

    ``bootstrap_servers`` takes tickets. A second listener, without security, is for what is asked of
    the cluster here: whoever comes through it may do anything.
    """

    _listeners = (Listener(DIRECT), Listener(_KERBEROS, "SASL_PLAINTEXT"))

    def __init__(self, realm: Kerberos) -> None:
        super().__init__(1)
        self.realm = realm

    @property
    def bootstrap_servers(self) -> str:
        """``host:port`` for tickets (``SASL_PLAINTEXT``)."""
        return self._bootstrap(_KERBEROS)

    def _defaults(self) -> dict[str, str | int | bool]:
        principal = f"kafka/{LOOPBACK}@{REALM}"
        keytab = self.realm.keytab(principal)
        return {
            **super()._defaults(),
            "sasl.enabled.mechanisms": "GSSAPI",
            "sasl.kerberos.service.name": "kafka",
            f"listener.name.{_KERBEROS.lower()}.gssapi.sasl.jaas.config": (
                "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true "
                f'keyTab="{keytab}" principal="{principal}";'
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:alice;User:ANONYMOUS",
        }

    def _more_java_options(self) -> Sequence[str]:
        return [*super()._more_java_options(), f"-Djava.security.krb5.conf={self.realm.configuration}"]
