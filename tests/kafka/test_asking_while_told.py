"""A log handler that asks the client that has just said something: nothing of it may be locked while it says so."""

from __future__ import annotations

import json

import pytest

from tests.metrics.programs import run

pytestmark = pytest.mark.timing

SETUP = """
import json, logging
from gds_kafka import KafkaConsumerClient, KafkaProducerClient
from gds_kafka.testing import MockKafkaCluster

asked = []

class Asks(logging.Handler):
    def emit(self, record):
        if said in record.getMessage():
            asked.append(ask())

logger = logging.getLogger("gds_kafka")
logger.addHandler(Asks())
logger.propagate = False
cluster = MockKafkaCluster()
cluster.create_topic("t", partitions=1)
"""

PRODUCER = """
said, ask = "making a new client", lambda: producer.stats()["accepted_total"]
cluster.fail("InitProducerId", 50)
producer = KafkaProducerClient(cluster.bootstrap_servers)
for number in range(40):
    producer.send("t", {"n": number}, on_delivery=lambda *_: producer.stats())
left = producer.flush(30)
producer.close()
print(json.dumps([left, producer.stats()["delivered_total"], len(asked)]))
"""

CONSUMER = """
said, ask = "commit", lambda: consumer.assignment()
with KafkaProducerClient(cluster.bootstrap_servers) as producer:
    for number in range(5):
        producer.send("t", {"n": number})
cluster.fail("OffsetCommit", 12)
settings = {"auto_commit_interval_ms": 20, "consumer_timeout_ms": 300}
consumer = KafkaConsumerClient("t", cluster.bootstrap_servers, "g", **settings)
seen = []
while not asked:
    seen.extend(message["value"]["n"] for message in consumer)
consumer.close()
print(json.dumps([seen, asked[0]]))
"""


def test_a_handler_may_ask_a_producer_whose_client_ended() -> None:
    assert json.loads(run(SETUP + PRODUCER)) == [0, 40, 1]


def test_a_handler_may_ask_a_consumer_whose_commit_failed() -> None:
    assert json.loads(run(SETUP + CONSUMER)) == [[0, 1, 2, 3, 4], [["t", 0]]]
