"""What the clients do in Python before and after Rust: settings, names, the end."""

from __future__ import annotations

import logging
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest

from gds_kafka import (
    GdsKafkaError,
    KafkaConfigurationError,
    KafkaConsumerClient,
    KafkaProducerClient,
    KafkaTimeoutError,
)
from gds_kafka._client import TOKEN_SECONDS, log, opening
from tests.metrics.doubles import Recorder
from tests.metrics.programs import run


class Provider:
    """As kafka-python has them."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def token(self) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (("t", 5), ("t", 5.0, "", {})),
        (("t", 5.5, "ann"), ("t", 5.5, "ann", {})),
        (("t", 5, "ann", {"logicalCluster": "c"}), ("t", 5.0, "ann", {"logicalCluster": "c"})),
    ],
)
@pytest.mark.parametrize("wrap", [Provider, lambda answer: lambda: answer], ids=["object", "function"])
def test_tokens_come_in_the_forms_that_providers_have(wrap: Any, answer: Any, expected: Any) -> None:
    token = opening("localhost", {"sasl_oauth_token_provider": wrap(answer)}).token
    assert token is not None
    assert token() == expected


def test_a_token_without_an_expiry_is_asked_for_again() -> None:
    token = opening("localhost", {"sasl_oauth_token_provider": lambda: "t"}).token
    assert token is not None
    before = time()
    text, expires, principal, extensions = token()
    assert (text, principal, extensions) == ("t", "", {})
    assert before + TOKEN_SECONDS <= expires <= time() + TOKEN_SECONDS


def test_what_is_python_is_taken_out_of_the_settings() -> None:
    given = {"acks": 1, "librdkafka": {"socket.nagle.disable": True}}
    opened = opening(["a:1", "b:2"], given)
    assert opened == (["a:1", "b:2"], {"acks": 1}, {"socket.nagle.disable": True}, None)
    assert "librdkafka" in given


@pytest.mark.parametrize(
    ("servers", "settings", "named"),
    [
        (7, {}, "bootstrap_servers"),
        ([], {}, "bootstrap_servers"),
        (["a:1", 7], {}, "bootstrap_servers"),
        ("a:1", {"librdkafka": "hunter2"}, "librdkafka"),
        ("a:1", {"sasl_oauth_token_provider": "hunter2"}, "sasl_oauth_token_provider"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_named_without_its_value(servers: Any, settings: Any, named: str) -> None:
    with pytest.raises(KafkaConfigurationError, match=rf"^{named} is of type") as caught:
        opening(servers, settings)
    assert "hunter2" not in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert not caught.value.retriable


@pytest.mark.parametrize(
    ("level", "expected"), [(0, "CRITICAL"), (3, "ERROR"), (4, "WARNING"), (6, "INFO"), (7, "DEBUG"), (99, "INFO")]
)
def test_lines_of_librdkafka_go_to_the_log(caplog: pytest.LogCaptureFixture, level: int, expected: str) -> None:
    with caplog.at_level(logging.DEBUG, "gds_kafka"):
        log(level, "FAIL", "100% gone")
    [record] = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == ("gds_kafka", expected, "FAIL: 100% gone")


@pytest.mark.parametrize("topics", ["", [""], ["a", 7], 7, None])
def test_topics_that_are_none_are_refused(topics: Any) -> None:
    with pytest.raises(KafkaConfigurationError, match=r"^topic="):
        KafkaConsumerClient(topics, "localhost:9092")


def test_an_unknown_setting_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(KafkaConfigurationError, match="linger_ms"):
        KafkaProducerClient(f"embedded:{tmp_path}", lingerms=5)


def test_the_clients_show_where_they_go_and_no_secret() -> None:
    settings: dict[str, Any] = {
        "lazy": True,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "ann",
        "sasl_plain_password": "hunter2",
    }
    with KafkaProducerClient("localhost:1", close_timeout_seconds=0, **settings) as producer:
        assert repr(producer) == "KafkaProducerClient(bootstrap_servers='localhost:1')"
        assert str(producer) == "Kafka Producer (localhost:1)"
        assert bool(producer)
    with KafkaConsumerClient(["a", "b"], "localhost:1", "g", **settings) as consumer:
        assert repr(consumer) == (
            "KafkaConsumerClient(topics=['a', 'b'], bootstrap_servers='localhost:1', group_id='g')"
        )
    with pytest.raises(KafkaConfigurationError) as caught:
        KafkaProducerClient("localhost:1", **settings | {"sasl_mechanism": "none"})
    assert "hunter2" not in str(caught.value)


def test_no_python_stands_between_a_caller_and_the_native_send() -> None:
    assert "send" not in vars(KafkaProducerClient)
    assert type(KafkaProducerClient.send).__name__ == "method_descriptor"


def test_a_subclass_has_a_constructor_of_its_own_and_may_override_send(tmp_path: Path) -> None:
    class Orders(KafkaProducerClient):
        def __init__(self, folder: Path) -> None:
            super().__init__(f"embedded:{folder}")
            self.sent: list[object] = []

        def send(self, topic: str, value: object, key: Any = None, **parts: Any) -> None:
            self.sent.append(value)
            super().send(topic, value, key, **parts)

    with Orders(tmp_path) as producer:
        producer.send("orders", {"id": 7})
        assert producer.flush(30) == 0
        assert (producer.sent, producer.stats()["delivered_total"]) == ([{"id": 7}], 1)
    assert producer.closed


def test_what_was_counted_is_reported_to_metrics_at_flush_and_close(tmp_path: Path) -> None:
    recorder = Recorder()
    with KafkaProducerClient(f"embedded:{tmp_path}", metrics=recorder, client_id="shop") as producer:
        producer.send("orders", {"id": 7})
        producer.flush(30)
        producer.send("orders", {"id": 8})
    delivered = [call for call in recorder.calls if call.name == "kafka.producer.delivered"]
    assert sum(call.value for call in delivered) == 2
    assert {tuple(call.labels or {}) for call in delivered} == {("client_id",)}
    assert {call.name for call in recorder.calls if call.method == "gauge"} >= {
        "kafka.producer.queued",
        "kafka.producer.in_flight",
        "kafka.producer.spool_bytes",
        "kafka.producer.spool_age_seconds",
    }


def test_the_timeout_of_send_many_bounds_the_wait_for_room_too() -> None:
    with KafkaProducerClient("127.0.0.1:1", lazy=True, buffer_memory=1 << 20, close_timeout_seconds=0) as producer:
        start = monotonic()
        outcomes = producer.send_many("t", [bytes(200_000)] * 6, timeout=0.5)
        # It would be a minute for each message without room.
        assert 0.5 <= monotonic() - start < 30
        assert all(isinstance(outcome, KafkaTimeoutError) for outcome in outcomes)
        assert "no room for the message within the timeout given" in str(outcomes[-1])


@pytest.mark.parametrize("name", ["n" * 65_536, "ü" * 40_000], ids=["ascii", "utf8"])
def test_a_header_whose_name_is_too_long_is_refused(tmp_path: Path, name: str) -> None:
    length = len(name.encode())
    longest: dict[str, Any] = {"n" * 65_535: b"v"}
    with KafkaProducerClient(f"embedded:{tmp_path}") as producer:
        with pytest.raises(ValueError, match=rf"^header \"{name[:40]}...\".* {length} bytes.*: expected at most 65535"):
            producer.send("orders", 1, headers={name: b"v"})
        producer.send("orders", 1, headers=longest)
    with KafkaConsumerClient("orders", f"embedded:{tmp_path}", "g", consumer_timeout_ms=2_000) as consumer:
        assert [message["headers"] for message in consumer.messages()] == [list(longest.items())]


def test_a_closed_client_says_so(tmp_path: Path) -> None:
    producer = KafkaProducerClient(f"embedded:{tmp_path}")
    assert producer.close() == 0
    assert producer.close() == 0
    with pytest.raises(GdsKafkaError, match="closed"):
        producer.send("orders", {"id": 7})


@pytest.mark.parametrize("ending", ["", "sys.exit(0)", "del producer"])
def test_what_was_sent_right_before_the_end_arrives(tmp_path: Path, ending: str) -> None:
    run(
        f"""
import sys
from gds_kafka import KafkaProducerClient
producer = KafkaProducerClient("embedded:" + sys.argv[1], linger_ms=10_000)
for number in range(100):
    producer.send("orders", {{"number": number}})
{ending}
""",
        tmp_path,
    )
    with KafkaConsumerClient(
        "orders", f"embedded:{tmp_path}", auto_offset_reset="earliest", consumer_timeout_ms=1000
    ) as consumer:
        assert [message["value"]["number"] for message in consumer] == list(range(100))


def test_import_starts_nothing_and_loads_little() -> None:
    source = """
import os, sys
before = set(sys.modules)
import gds_kafka
assert len(os.listdir("/proc/self/task")) == 1
loaded = {"asyncio", "concurrent.futures", "logging", "threading", "typing", "typer", "rich", "pytest"}
print(sorted(loaded & (set(sys.modules) - before)))
for name in gds_kafka.__all__:
    getattr(gds_kafka, name)
assert len(os.listdir("/proc/self/task")) == 1
print(sorted({"typer", "rich", "pytest", "kafka", "confluent_kafka"} & set(sys.modules)))
"""
    assert run(source) == "[]\n[]\n"
