"""For the tests of programs that use Kafka: librdkafka's mock cluster, which fails when it is told to.

    from gds_kafka.testing import mock_kafka_cluster  # in conftest.py

    def test_an_order_survives_a_change_of_leader(mock_kafka_cluster):
        mock_kafka_cluster.fail("Produce", "NOT_LEADER_OR_FOLLOWER", times=3)
        with KafkaProducerClient(mock_kafka_cluster.bootstrap_servers) as producer:
            producer.send("orders", {"id": 7})
            assert producer.flush(10) == 0

The brokers are threads of this process that speak Kafka's protocol on loopback ports. They keep messages in memory and
forget old ones, check no password and no limit, and are no place for anything but tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gds_kafka._client import Client
from gds_metrics._settings import whole
from gds_native._lib import MockCluster

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ERRORS", "REQUESTS", "MockKafkaCluster"]

REQUESTS = (
    "Produce",
    "Fetch",
    "ListOffsets",
    "Metadata",
    "OffsetCommit",
    "OffsetFetch",
    "FindCoordinator",
    "JoinGroup",
    "Heartbeat",
    "LeaveGroup",
    "SyncGroup",
    "ApiVersions",
    "InitProducerId",
)
"""The requests that can fail, by their names in Kafka's protocol."""

ERRORS = {
    "TRANSPORT": -195,  # the broker closes the connection; librdkafka's number
    "UNKNOWN_SERVER_ERROR": -1,
    "CORRUPT_MESSAGE": 2,
    "UNKNOWN_TOPIC_OR_PARTITION": 3,
    "LEADER_NOT_AVAILABLE": 5,
    "NOT_LEADER_OR_FOLLOWER": 6,
    "REQUEST_TIMED_OUT": 7,
    "MESSAGE_TOO_LARGE": 10,
    "NETWORK_EXCEPTION": 13,
    "COORDINATOR_LOAD_IN_PROGRESS": 14,
    "COORDINATOR_NOT_AVAILABLE": 15,
    "NOT_COORDINATOR": 16,
    "INVALID_TOPIC_EXCEPTION": 17,
    "RECORD_LIST_TOO_LARGE": 18,
    "NOT_ENOUGH_REPLICAS": 19,
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND": 20,
    "ILLEGAL_GENERATION": 22,
    "UNKNOWN_MEMBER_ID": 25,
    "REBALANCE_IN_PROGRESS": 27,
    "TOPIC_AUTHORIZATION_FAILED": 29,
    "GROUP_AUTHORIZATION_FAILED": 30,
    "CLUSTER_AUTHORIZATION_FAILED": 31,
    "OUT_OF_ORDER_SEQUENCE_NUMBER": 45,
    "DUPLICATE_SEQUENCE_NUMBER": 46,
    "INVALID_PRODUCER_EPOCH": 47,
    "KAFKA_STORAGE_ERROR": 56,
    "UNKNOWN_PRODUCER_ID": 59,
}
"""The errors that brokers can be told to answer with, by their names in Kafka's protocol."""


class MockKafkaCluster(Client):
    """Brokers in this process, until it is closed. A context manager.

    Args:
        brokers: How many; their numbers begin with 1.
    """

    __slots__ = ("_brokers", "_cluster")

    def __init__(self, brokers: int = 1) -> None:
        self._brokers = whole("brokers", brokers, 1, 100, "each is a thread of this process")
        self._cluster = MockCluster(brokers)

    @property
    def bootstrap_servers(self) -> str:
        """Where the brokers listen, as clients take it."""
        return self._cluster.bootstrap_servers

    def create_topic(self, name: str, partitions: int = 4, replication: int = 1) -> None:
        """Make a topic. Those that are not made come into being when they are first used, with 4 partitions."""
        self._cluster.create_topic(name, partitions, replication)

    def fail(self, request: str, error: str | int, *, times: int = 1) -> None:
        """Answer the next requests of a kind with an error, whichever client sends them.

        Args:
            request: A name of `REQUESTS`.
            error: A name of `ERRORS`, or its number. ``TRANSPORT`` closes the connection instead.
            times: How many of them. Called again, further ones fail after those.
        """
        count = whole("times", times, 1, 1_000_000, "requests that fail")
        self._cluster.push_request_errors(request, [_number(error)] * count)

    def recover(self, request: str) -> None:
        """Let requests of a kind succeed again."""
        self._cluster.clear_request_errors(request)

    def fail_topic(self, topic: str, error: str | int | None) -> None:
        """Have the brokers tell of a topic that it has an error, until told None.

        Args:
            topic: Its name.
            error: A name of `ERRORS`, or its number; None for none.
        """
        self._cluster.topic_error(topic, 0 if error is None else _number(error))

    def broker_down(self, broker: int) -> None:
        """Close the connections of a broker and refuse further ones."""
        self._cluster.broker_down(self._broker(broker))

    def broker_up(self, broker: int) -> None:
        """Let a broker listen again."""
        self._cluster.broker_up(self._broker(broker))

    def delay(self, broker: int, milliseconds: int) -> None:
        """Have a broker answer late; 0 is at once."""
        self._cluster.broker_rtt(self._broker(broker), whole("milliseconds", milliseconds, 0, 3_600_000, "a delay"))

    def lead(self, topic: str, partition: int, broker: int) -> None:
        """Make a broker the leader of a partition."""
        self._cluster.set_leader(topic, partition, self._broker(broker))

    def close(self, timeout: float | None = None) -> None:  # noqa: ARG002 - stopping does not wait
        """Stop the brokers and forget what they hold; may be called again. Close the clients first."""
        self._cluster.close()

    def _broker(self, broker: int) -> int:
        return whole("broker", broker, 1, self._brokers, "brokers are numbered from 1")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(brokers={self._brokers})"


def _number(error: str | int) -> int:
    if isinstance(error, int) and not isinstance(error, bool):
        return error
    if error in ERRORS:
        return ERRORS[error]
    import difflib

    [near] = difflib.get_close_matches(str(error), ERRORS, n=1, cutoff=0.0)
    raise ValueError(f"error={error!r}: expected a number or a known name, such as {near!r}")


try:
    import pytest
except ImportError:  # the cluster is of use without it
    pass
else:

    @pytest.fixture
    def mock_kafka_cluster() -> Iterator[MockKafkaCluster]:
        """A cluster of one broker, for one test."""
        with MockKafkaCluster() as cluster:
            yield cluster

    __all__ += ["mock_kafka_cluster"]
