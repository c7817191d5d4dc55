"""`gds_kafka.testing`: brokers that fail when they are told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gds_kafka import GdsKafkaError, KafkaConsumerClient, KafkaProducerClient
from gds_kafka.testing import ERRORS, REQUESTS, MockKafkaCluster, mock_kafka_cluster

__all__ = ["mock_kafka_cluster"]


def test_messages_go_through_it(mock_kafka_cluster: MockKafkaCluster) -> None:
    mock_kafka_cluster.create_topic("orders", partitions=1)
    servers = mock_kafka_cluster.bootstrap_servers
    with KafkaProducerClient(servers) as producer:
        producer.send("orders", {"id": 7})
        assert producer.flush(30) == 0
    with KafkaConsumerClient("orders", servers, "g", auto_offset_reset="earliest") as consumer:
        assert next(consumer)["value"] == {"id": 7}


def test_as_many_headers_as_are_taken_arrive_with_all_that_are_added(
    mock_kafka_cluster: MockKafkaCluster, tmp_path: Path
) -> None:
    servers = mock_kafka_cluster.bootstrap_servers
    headers: list[Any] = [("h", None)] * 65_526
    mock_kafka_cluster.create_topic("orders", partitions=1)
    with KafkaProducerClient(servers, spool_dir=str(tmp_path)) as producer:
        with pytest.raises(ValueError, match=r"^65527 headers: expected at most 65526"):
            producer.send("orders", 1, headers=[*headers, ("h", None)])
        producer.send("orders", ["\udcff", float("nan")], headers=headers)
    with KafkaConsumerClient("orders", servers, "g", auto_offset_reset="earliest") as consumer:
        message = next(consumer)
    assert message["headers"][:-3] == headers
    assert [name for name, _ in message["headers"][-3:]] == ["gds.non_finite", "gds.lone_surrogate", "gds.message.id"]


def test_a_failure_that_passes_is_retried(mock_kafka_cluster: MockKafkaCluster) -> None:
    mock_kafka_cluster.create_topic("orders", partitions=1)
    with KafkaProducerClient(mock_kafka_cluster.bootstrap_servers) as producer:
        mock_kafka_cluster.fail("Produce", "NOT_LEADER_OR_FOLLOWER", times=2)
        [outcome] = producer.send_many("orders", [{"id": 7}], timeout=30)
        assert not isinstance(outcome, GdsKafkaError)
        assert outcome.offset == 0


def test_a_refusal_is_told(mock_kafka_cluster: MockKafkaCluster) -> None:
    mock_kafka_cluster.create_topic("orders", partitions=1)
    with KafkaProducerClient(mock_kafka_cluster.bootstrap_servers) as producer:
        mock_kafka_cluster.fail("Produce", "INVALID_TOPIC_EXCEPTION")
        [outcome] = producer.send_many("orders", [{"id": 7}], timeout=30)
        assert isinstance(outcome, GdsKafkaError)
        assert outcome.code == ERRORS["INVALID_TOPIC_EXCEPTION"]
        assert producer.stats()["failed_total"] == {"invalid_topic": 1}


def test_a_right_that_is_granted_is_waited_for(mock_kafka_cluster: MockKafkaCluster) -> None:
    mock_kafka_cluster.create_topic("orders", partitions=1)
    with KafkaProducerClient(mock_kafka_cluster.bootstrap_servers) as producer:
        mock_kafka_cluster.fail("Produce", "TOPIC_AUTHORIZATION_FAILED", times=2)
        [outcome] = producer.send_many("orders", [{"id": 7}], timeout=30)
        assert not isinstance(outcome, GdsKafkaError)
        assert producer.stats()["retried_total"] == 2


def test_a_broker_that_is_down_comes_back(mock_kafka_cluster: MockKafkaCluster) -> None:
    mock_kafka_cluster.create_topic("orders", partitions=1)
    with KafkaProducerClient(mock_kafka_cluster.bootstrap_servers) as producer:
        mock_kafka_cluster.broker_down(1)
        producer.send("orders", {"id": 7})
        assert producer.flush(0.2) == 1
        mock_kafka_cluster.broker_up(1)
        assert producer.flush(60) == 0


@pytest.mark.parametrize("request_name", REQUESTS)
def test_every_request_can_fail_and_recover(mock_kafka_cluster: MockKafkaCluster, request_name: str) -> None:
    for error in ERRORS:
        mock_kafka_cluster.fail(request_name, error)
    mock_kafka_cluster.recover(request_name)


@pytest.mark.parametrize(
    ("method", "arguments", "settings", "message"),
    [
        ("fail", ("Produse", "TRANSPORT"), {}, "Produce"),
        ("fail", ("Produce", "NOT_LEADER"), {}, "'NOT_LEADER_OR_FOLLOWER'"),
        ("fail", ("Produce", "TRANSPORT"), {"times": 0}, "times=0"),
        ("broker_down", (2,), {}, "broker=2: expected a whole number from 1 to 1"),
        ("delay", (1, -1), {}, "milliseconds=-1"),
    ],
)
def test_a_mistake_is_an_error_that_names_it(
    mock_kafka_cluster: MockKafkaCluster, method: str, arguments: tuple[Any, ...], settings: Any, message: str
) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        getattr(mock_kafka_cluster, method)(*arguments, **settings)
    assert message in str(caught.value)


@pytest.mark.parametrize("brokers", [0, 101])
def test_a_number_of_brokers_that_is_none_is_refused(brokers: int) -> None:
    with pytest.raises(ValueError, match=f"brokers={brokers}"):
        MockKafkaCluster(brokers)


def test_it_can_be_closed_twice_and_says_that_it_is() -> None:
    cluster = MockKafkaCluster(3)
    assert repr(cluster) == "MockKafkaCluster(brokers=3)"
    assert len(cluster.bootstrap_servers.split(",")) == 3
    cluster.close()
    cluster.close()
    with pytest.raises(GdsKafkaError, match="closed"):
        cluster.broker_down(1)
