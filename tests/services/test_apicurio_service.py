"""The helper around Apicurio: it speaks as Confluent's registry does, and starts again where it was."""

from __future__ import annotations

from tests.services.apicurio import Apicurio

SCHEMA = '{"type": "string"}'


def test_a_schema_is_registered_once_and_forgotten_with_the_server(apicurio: Apicurio) -> None:
    url, number = apicurio.url, apicurio.register("helper-value", SCHEMA)
    assert apicurio.register("other-value", SCHEMA) == number
    assert set(apicurio.subjects()) == {"helper-value", "other-value"}
    apicurio.stop()
    apicurio.start()
    assert (apicurio.url, apicurio.subjects()) == (url, [])
