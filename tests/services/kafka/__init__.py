"""Kafka brokers on loopback ports, and a look at them that does not go through our own client.

    with KafkaBroker() as kafka:
        kafka.create_topic("orders", partitions=3)
        ...                                  # produce to kafka.bootstrap_servers
        assert [record.value for record in kafka.read("orders")] == [b"1"]

``cluster`` starts and stops the processes, ``inspection`` asks them through confluent-kafka and
kcat, ``secure`` adds passwords, certificates and access control, ``kerberized`` tickets.
"""

from __future__ import annotations

from .cluster import KafkaBroker, KafkaCluster, KafkaNode
from .inspection import Partition, Record
from .kerberized import KerberizedKafka
from .secure import Certificates, Pem, SecureKafka

__all__ = [
    "Certificates",
    "KafkaBroker",
    "KafkaCluster",
    "KafkaNode",
    "KerberizedKafka",
    "Partition",
    "Pem",
    "Record",
    "SecureKafka",
]
