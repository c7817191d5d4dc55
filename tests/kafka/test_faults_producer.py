"""What a producer does when something breaks: sent, delivered, dropped and doubled, as the broker's log has it."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import Self

from gds_kafka import (
    DeliveredMessage,
    KafkaConnectionError,
    KafkaProducerClient,
    KafkaSerializationError,
    KafkaTimeoutError,
)
from tests.forks import fork
from tests.metrics.programs import Program
from tests.services.fixtures import KafkaFactory, SecureKafkaFactory
from tests.services.kafka import KafkaBroker, KafkaCluster, SecureKafka
from tests.services.process import wait_until
from tests.services.toxiproxy import Toxiproxy

pytestmark = pytest.mark.timing

LONG = 60.0
"""More than any delivery takes once the broker is there."""


@dataclass(frozen=True)
class Ledger:
    """Numbers of messages that the broker has."""

    counts: Counter[int]
    order: list[int]
    ids: Counter[bytes]

    @property
    def delivered(self) -> set[int]:
        return set(self.counts)

    @property
    def duplicates(self) -> int:
        return sum(self.counts.values()) - len(self.counts)


def ledger(kafka: Any, topic: str) -> Ledger:
    """What is in the broker's log, read by a client that is not ours."""
    records = kafka.read(topic)
    numbers = [json.loads(record.value)["n"] for record in records]
    ids = Counter(value for record in records for name, value in record.headers if name == "gds.message.id")
    return Ledger(Counter(numbers), numbers, ids)


class Load:
    """Sends numbers from a thread until it is told to stop."""

    def __init__(self, producer: KafkaProducerClient, topic: str, *, pause: float = 0.0005) -> None:
        self._producer, self._topic, self._pause = producer, topic, pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def _run(self) -> None:
        while not self._stop.is_set():
            self._producer.send(self._topic, {"n": self.sent})
            self.sent += 1
            time.sleep(self._pause)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def goes_on(self, messages: int = 200) -> None:
        """Waits until some more were sent."""
        enough = self.sent + messages
        wait_until(lambda: self.sent >= enough, what="the load goes on")


def balanced(stats: dict[str, Any]) -> None:
    ends = stats["delivered_total"] + sum(stats["failed_total"].values()) + sum(stats["dropped_total"].values())
    assert stats["accepted_total"] == ends + stats["pending"], stats


def all_arrived_once(kafka: Any, topic: str, sent: int, stats: dict[str, Any]) -> None:
    seen = ledger(kafka, topic)
    assert seen.delivered == set(range(sent))
    assert seen.duplicates == 0
    assert (stats["accepted_total"], stats["delivered_total"], stats["pending"]) == (sent, sent, 0)
    assert stats["failed_total"] == stats["dropped_total"] == {}


def test_broker_killed_and_started_again_under_load(kafka_factory: KafkaFactory) -> None:
    kafka = kafka_factory()
    kafka.create_topic("load")
    with KafkaProducerClient(kafka.bootstrap_servers) as producer:
        with Load(producer, "load") as load:
            load.goes_on()
            kafka.kill()
            load.goes_on()
            kafka.start()
            load.goes_on()
        assert producer.flush(LONG) == 0
        stats = producer.stats()
    # Idempotent: what the killed broker had acknowledged or only written is there once, in order.
    all_arrived_once(kafka, "load", load.sent, stats)
    assert ledger(kafka, "load").order == list(range(load.sent))


def test_leader_killed_in_a_cluster(kafka_cluster: KafkaCluster) -> None:
    kafka_cluster.start()
    topic = "leader-killed"
    kafka_cluster.create_topic(topic, config={"min.insync.replicas": 2})
    with KafkaProducerClient(kafka_cluster.bootstrap_servers) as producer:
        with Load(producer, topic) as load:
            load.goes_on()
            leader = kafka_cluster.leader(topic)
            assert leader is not None
            kafka_cluster.node(leader).kill()
            kafka_cluster.wait_for_leader(topic, other_than=leader)
            load.goes_on()
        assert producer.flush(LONG) == 0
        stats = producer.stats()
    all_arrived_once(kafka_cluster, topic, load.sent, stats)
    kafka_cluster.start()


def test_network_cut_while_thousands_are_sent(kafka: KafkaBroker, toxiproxy: Toxiproxy) -> None:
    [proxy] = kafka.through(toxiproxy)
    topic = "network-cut"
    kafka.create_topic(topic)
    with KafkaProducerClient(kafka.proxied_bootstrap_servers) as producer:
        with Load(producer, topic, pause=0.005) as load:
            load.goes_on()
            proxy.cut()
            wait_until(lambda: producer.stats()["pending"] > 3_000, what="thousands to wait", timeout_seconds=LONG)
            proxy.restore()
            load.goes_on()
        assert producer.flush(LONG) == 0
        stats = producer.stats()
    all_arrived_once(kafka, topic, load.sent, stats)


@pytest.mark.parametrize("fault", ["slow", "half-open"])
def test_slow_and_half_open_network(kafka: KafkaBroker, toxiproxy: Toxiproxy, fault: str) -> None:
    [proxy] = kafka.through(toxiproxy)
    topic = f"network-{fault}"
    kafka.create_topic(topic)
    with KafkaProducerClient(kafka.proxied_bootstrap_servers, request_timeout_ms=2_000) as producer:
        with Load(producer, topic) as load:
            load.goes_on()
            if fault == "slow":
                proxy.latency(300, 100)
            else:
                proxy.half_open()  # bytes disappear and the connection stays: only a timeout tells
            calls = []
            for _ in range(200):
                start = time.perf_counter()
                producer.send("elsewhere", {"n": 0})
                calls.append(time.perf_counter() - start)
            load.goes_on()
            proxy.reset()
            load.goes_on()
        assert producer.flush(LONG) == 0
        stats = producer.stats()
    # The program is not slowed: no call waited for the network, which takes 300 ms or never answers.
    assert sorted(calls)[len(calls) // 2] < 0.1
    seen = ledger(kafka, topic)
    assert seen.delivered == set(range(load.sent))
    assert seen.duplicates == 0
    assert stats["delivered_total"] == load.sent + 200


def test_broker_away_memory_is_bounded_and_the_rest_is_counted(kafka_factory: KafkaFactory) -> None:
    kafka = kafka_factory()
    kafka.create_topic("away")
    with KafkaProducerClient(
        kafka.bootstrap_servers, buffer_memory=4_000_000, on_full="drop_oldest", close_timeout_seconds=0
    ) as producer:
        kafka.stop()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(200_000):
            producer.send("away", {"n": number, "text": "x" * 200})
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        stats = producer.stats()
        balanced(stats)
        assert stats["queued_bytes"] <= 4_000_000
        assert stats["dropped_total"]["buffer_full"] > 150_000
        assert grown * 1024 < 40_000_000, "200,000 messages are 50 MB"
        kafka.start()
        assert producer.flush(LONG) == 0
        stats = producer.stats()
    balanced(stats)
    seen = ledger(kafka, "away")
    assert len(seen.delivered) == stats["delivered_total"]
    assert seen.duplicates == 0
    assert 199_999 in seen.delivered, "the oldest were dropped"


ACCEPT = """
import sys
from gds_kafka import KafkaProducerClient
servers, topic, folder, durability = sys.argv[1:] if len(sys.argv) > 1 else ARGUMENTS
producer = KafkaProducerClient(servers, spool_dir=folder, durability=durability)
number = 0
while True:
    producer.send(topic, {"n": number})
    number += 1
    if number % 100 == 0:
        print(number, flush=True)
"""


def _killed_under_load(servers: str, topic: str, folder: Path, durability: str, *, after: int) -> int:
    """SIGKILLs a program that sends as fast as it can; how many messages it said were accepted."""
    arguments = f"ARGUMENTS = {(servers, topic, str(folder), durability)!r}\n"
    with Program(source=arguments + ACCEPT) as program:
        accepted = 0
        while accepted < after:
            accepted = int(program.line())
        program.process.kill()
        assert program.process.stdout is not None
        rest = [int(line) for line in program.process.stdout if line.endswith("\n")]
        program.process.wait()
    return max([accepted, *rest])


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_killed_under_load_nothing_accepted_is_missing(kafka: KafkaBroker, tmp_path: Path, durability: str) -> None:
    topic = f"killed-{durability}"
    kafka.create_topic(topic)
    accepted = _killed_under_load(
        kafka.bootstrap_servers, topic, tmp_path, durability, after=20_000 if durability == "process" else 500
    )
    with KafkaProducerClient(kafka.bootstrap_servers, spool_dir=tmp_path) as producer:
        adopted = producer.stats()["adopted_total"]
        assert producer.flush(LONG) == 0
        assert producer.stats()["delivered_total"] == adopted
    seen = ledger(kafka, topic)
    assert seen.delivered >= set(range(accepted)), "accepted and not delivered"
    # At least once: a message may come twice, marked with the same id.
    assert sum(seen.ids.values()) - len(seen.ids) == seen.duplicates
    first_seen = list(dict.fromkeys(seen.order))
    assert first_seen == sorted(first_seen), "replayed in order"
    assert list(tmp_path.iterdir()) == []


def test_killed_while_the_broker_is_away(kafka_factory: KafkaFactory, tmp_path: Path) -> None:
    kafka = kafka_factory()
    kafka.create_topic("killed-away")
    kafka.stop()
    accepted = _killed_under_load(kafka.bootstrap_servers, "killed-away", tmp_path, "process", after=20_000)
    with KafkaProducerClient(kafka.bootstrap_servers, spool_dir=tmp_path) as producer:
        stats = producer.stats()
        assert stats["adopted_total"] >= accepted
        assert stats["spool_age_seconds"] > 0
        kafka.start()
        assert producer.flush(LONG) == 0
    seen = ledger(kafka, "killed-away")
    assert seen.delivered >= set(range(accepted))
    assert seen.duplicates == 0, "the broker had seen none of them"


FULL_DISK = """
import json, resource, signal, sys
from gds_kafka import KafkaProducerClient
servers, topic, folder = ARGUMENTS
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
producer = KafkaProducerClient(servers, spool_dir=folder, lazy=True, on_full="drop_newest", close_timeout_seconds=60)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
for number in range(5_000):
    producer.send(topic, {"n": number, "text": "x" * 100})
print(json.dumps(producer.stats()), flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for number in range(5_000, 5_100):
    producer.send(topic, {"n": number, "text": "x" * 100})
sys.stdin.readline()
producer.flush(60)
print(json.dumps(producer.stats()), flush=True)
"""


def test_disk_full_under_the_spool(kafka_factory: KafkaFactory, tmp_path: Path) -> None:
    kafka = kafka_factory()
    kafka.create_topic("full")
    kafka.stop()
    arguments = f"ARGUMENTS = {(kafka.bootstrap_servers, 'full', str(tmp_path))!r}\n"
    with Program(source=arguments + FULL_DISK) as program:
        full = json.loads(program.line())
        balanced(full)
        dropped = full["dropped_total"]["buffer_full"]
        assert dropped > 1_000
        assert full["spool_errors_total"] >= dropped
        kafka.start()
        assert program.process.stdin is not None
        program.process.stdin.write("\n")
        program.process.stdin.flush()
        after = json.loads(program.line())
        program.end()
    balanced(after)
    assert after["dropped_total"] == {"buffer_full": dropped}, "there was room again"
    seen = ledger(kafka, "full")
    assert len(seen.delivered) == 5_100 - dropped
    assert seen.delivered >= set(range(5_000, 5_100))
    assert seen.duplicates == 0


def test_fork_under_load_sends_nothing_twice(kafka: KafkaBroker) -> None:
    topic = "forked"
    kafka.create_topic(topic)
    with KafkaProducerClient(kafka.bootstrap_servers) as producer:
        with Load(producer, topic) as load:
            load.goes_on()
            pids = []
            for child in range(5):
                pid = fork()
                if pid == 0:
                    try:
                        # Negative numbers, so that each message tells whose it is.
                        for number in range(100):
                            producer.send(topic, {"n": -1 - child * 100 - number})
                        os._exit(0 if producer.flush(LONG) == 0 else 3)
                    finally:
                        os._exit(4)
                pids.append(pid)
                load.goes_on(50)
            statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        assert statuses == [0] * 5
        assert producer.flush(LONG) == 0
        assert producer.stats()["delivered_total"] == load.sent
    seen = ledger(kafka, topic)
    assert seen.delivered == set(range(-500, load.sent))
    assert seen.duplicates == 0


EXIT = """
from gds_kafka import KafkaProducerClient
servers, topic, options = ARGUMENTS
producer = KafkaProducerClient(servers, **options)
for number in range(1_000):
    producer.send(topic, {"n": number})
"""


def test_what_is_queued_at_exit_is_flushed(kafka: KafkaBroker) -> None:
    kafka.create_topic("at-exit")
    with Program(source=f"ARGUMENTS = {(kafka.bootstrap_servers, 'at-exit', {})!r}\n{EXIT}") as program:
        assert program.end() == ""
    assert ledger(kafka, "at-exit").order == list(range(1_000))


def test_what_cannot_be_flushed_at_exit_is_counted_aloud(tmp_path: Path) -> None:
    options: dict[str, object] = {"lazy": True, "close_timeout_seconds": 0.2}
    start = time.monotonic()
    with Program(source=f"ARGUMENTS = {('127.0.0.1:9', 'nowhere', options)!r}\n{EXIT}") as program:
        said = program.end()
    assert "1000 messages were not delivered before the client was closed: dropped" in said
    assert time.monotonic() - start < 20
    options["spool_dir"] = str(tmp_path)
    with Program(source=f"ARGUMENTS = {('127.0.0.1:9', 'nowhere', options)!r}\n{EXIT}") as program:
        said = program.end()
    assert f"1000 messages stay in the spool {tmp_path}, for the next process" in said


def test_topic_deleted_under_load(kafka_factory: KafkaFactory) -> None:
    kafka = kafka_factory(auto_create_topics=False)
    kafka.create_topic("gone")
    kafka.create_topic("gone.dlq")
    failures: list[Exception | None] = []
    with KafkaProducerClient(
        kafka.bootstrap_servers,
        dead_letter=True,
        delivery_timeout_ms=15_000,
        librdkafka={"topic.metadata.refresh.interval.ms": 500, "topic.metadata.propagation.max.ms": 1_000},
    ) as producer:
        producer.send("gone", {"n": 0})
        assert producer.flush(LONG) == 0
        kafka.delete_topic("gone")
        wait_until(lambda: kafka.describe("gone") == {}, what="the topic is gone")
        producer.send("gone", {"n": 1}, on_delivery=lambda error, delivered: failures.append(error))
        assert producer.flush(LONG) == 0
        stats = producer.stats()
    balanced(stats)
    assert stats["delivered_total"] + sum(stats["failed_total"].values()) == 2 + stats["dead_lettered_total"]
    assert len(failures) == 1
    assert sum(stats["failed_total"].values()) == 1


def test_wrong_password_says_so_and_shows_none(secure_kafka: SecureKafka) -> None:
    client = secure_kafka.sasl_client(password="not-the-password")
    with pytest.raises(KafkaConnectionError) as refused:
        KafkaProducerClient(
            secure_kafka.bootstrap_servers,
            security_protocol="SASL_SSL",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_plain_username=client["sasl.username"],
            sasl_plain_password="not-the-password",
            ssl_cafile=client["ssl.ca.location"],
            connect_timeout_seconds=15,
        )
    said = str(refused.value)
    assert "Failed to connect" in said
    assert "uthentication" in said
    assert "not-the-password" not in said + repr(refused.value)


def test_expired_certificate_is_refused_with_the_reason(secure_kafka_factory: SecureKafkaFactory) -> None:
    kafka = secure_kafka_factory(server_certificate="expired")
    client = kafka.sasl_client()
    with pytest.raises(KafkaConnectionError, match="expired"):
        KafkaProducerClient(
            kafka.bootstrap_servers,
            security_protocol="SASL_SSL",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_plain_username=client["sasl.username"],
            sasl_plain_password=client["sasl.password"],
            ssl_cafile=client["ssl.ca.location"],
            connect_timeout_seconds=15,
        )


def _resident_kb() -> int:
    fields = Path("/proc/self/status").read_text().split()
    return int(fields[fields.index("VmRSS:") + 1])


def test_a_minute_of_load_with_flat_memory(kafka: KafkaBroker) -> None:
    topic = "soak"
    kafka.create_topic(topic, config={"retention.bytes": 1_000_000_000})
    told = 0

    def count(error: object, delivered: object) -> None:
        nonlocal told
        told += 1

    sent = 0
    with KafkaProducerClient(kafka.bootstrap_servers) as producer:
        start = time.monotonic()
        sizes: list[int] = []
        while (elapsed := time.monotonic() - start) < 60:
            for _ in range(200):
                producer.send(topic, {"n": sent}, key=str(sent % 50), on_delivery=count)
                sent += 1
            if elapsed > 10 * (len(sizes) + 1):
                sizes.append(_resident_kb())
            time.sleep(0.02)
        assert producer.flush(LONG) == 0
        stats = producer.stats()
    assert stats["delivered_total"] == told == sent
    # The first ten seconds fill buffers and caches.
    assert max(sizes) - sizes[0] < 8_000, sizes
    assert sum(kafka.end_offsets(topic).values()) == sent


def test_ctrl_c_ends_a_flush_at_once() -> None:
    program = """
import signal, sys, time
from gds_kafka import KafkaProducerClient
producer = KafkaProducerClient("127.0.0.1:9", lazy=True, close_timeout_seconds=0)
producer.send("nowhere", {"n": 0})
try:
    print("waiting", flush=True)
    producer.flush()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with Program(source=program) as running:
        assert running.line() == "waiting"
        start = time.monotonic()
        running.process.send_signal(signal.SIGINT)
        assert running.line() == "interrupted"
        assert time.monotonic() - start < 5
        running.end(expect=0)


def test_ctrl_c_ends_a_wait_for_room() -> None:
    program = """
from gds_kafka import KafkaProducerClient
producer = KafkaProducerClient("127.0.0.1:9", lazy=True, buffer_memory=4096, close_timeout_seconds=0)
try:
    print("sending", flush=True)
    while True:
        producer.send("nowhere", bytes(1500))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with Program(source=program) as running:
        assert running.line() == "sending"
        wait_until(lambda: sleeps(running.process.pid), what="the sender to wait for room")
        running.process.send_signal(signal.SIGINT)
        assert running.line() == "interrupted"
        running.end(expect=0)


def sleeps(process_id: int) -> bool:
    """Whether the main thread of a process waits for something else than a processor."""
    status = Path(f"/proc/{process_id}/task/{process_id}/stat").read_text("ascii")
    return status.rpartition(")")[2].split()[0] == "S"


@pytest.mark.parametrize("fault", ["stopped", "paused"])
def test_send_many_gives_up_in_time_and_what_is_unknown_is_delivered_later(
    kafka_factory: KafkaFactory, fault: str
) -> None:
    kafka = kafka_factory()
    kafka.create_topic("many")
    with KafkaProducerClient(kafka.bootstrap_servers) as producer:
        [known] = producer.send_many("many", [{"n": 0}], timeout=LONG)
        assert isinstance(known, DeliveredMessage)
        if fault == "stopped":
            kafka.stop()
        else:
            kafka.pause()
        for timeout, numbers in ((1.0, (1, 2)), (0.0, (3, 4))):
            start = time.monotonic()
            first, bad, second = producer.send_many(
                "many", [{"n": numbers[0]}, {"n": object()}, {"n": numbers[1]}], timeout=timeout
            )
            assert timeout <= time.monotonic() - start < timeout + 10
            for outcome in (first, second):
                assert isinstance(outcome, KafkaTimeoutError)
                assert (outcome.retriable, outcome.fatal) == (True, False)
                assert "it may still be delivered" in str(outcome)
            # What is known by then is told as it is.
            assert isinstance(bad, KafkaSerializationError)
        stats = producer.stats()
        balanced(stats)
        assert (stats["delivered_total"], stats["pending"], stats["failed_total"]) == (1, 4, {})
        if fault == "stopped":
            kafka.start()
        else:
            kafka.resume()
        assert producer.flush(LONG) == 0
        stats = producer.stats()
    all_arrived_once(kafka, "many", 5, stats)


FORGET = """
import gc, sys, threading, time
from gds_kafka import KafkaProducerClient
servers, topic, settings, wanted = ARGUMENTS
counted = 0
def count():
    global counted
    while True:
        counted += 1
        time.sleep(0.001)
threading.Thread(target=count, daemon=True).start()

under_way, forgetting = threading.Event(), threading.Event()
def wait_for_another_thread():
    under_way.set()
    forgetting.wait()
    enough = counted + 100
    while counted < enough:
        time.sleep(0.001)

told = []
def tell(error, delivered):
    if wanted == "outcome" and not told:
        wait_for_another_thread()
    told.append(error)

def token():
    wait_for_another_thread()
    return "a.b.c"

class Metrics:
    def take(self, *arguments, **more):
        if not forgetting.is_set():
            wait_for_another_thread()
    increment = gauge = histogram = timing = take

if wanted == "outcome":
    settings |= {"delivery_timeout_ms": 100}
elif wanted == "token":
    settings |= {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "OAUTHBEARER"}
    settings["sasl_oauth_token_provider"] = token
elif wanted == "metrics":
    settings |= {"metrics": Metrics(), "librdkafka": {"statistics.interval.ms": 10}}
producer = KafkaProducerClient(servers, lazy=True, **settings)
for number in range(100):
    producer.send(topic, {"n": number}, on_delivery=tell)
"""

DROP = """
# A client that is not closed is kept until the program ends; here it is not.
from gds_metrics._exit import is_closed
under_way.wait()
is_closed(producer)
begin = counted
forgetting.set()
del producer
gc.collect()
went_on = counted - begin
while len(told) < 100:
    time.sleep(0.001)
print(went_on, flush=True)
"""


@pytest.mark.parametrize("wanted", ["outcome", "token", "metrics"])
def test_a_producer_is_dropped_while_its_threads_want_the_interpreter(wanted: str) -> None:
    arguments = f"ARGUMENTS = {('127.0.0.1:9', 'nowhere', {}, wanted)!r}\n"
    with Program(source=arguments + FORGET + DROP) as program:
        went_on = int(program.line())
        program.end(expect=None)
    # Dropping it waits for a thread that waits for another thread of the program, which goes on meanwhile. Whoever
    # reports to metrics has a share in the producer, so dropping that waits for nothing.
    assert went_on >= (0 if wanted == "metrics" else 100)


@dataclass
class Other:
    """A thread that gets the interpreter only while nobody else holds it: none is asked to give it up."""

    counted: int = 0


@pytest.fixture
def other() -> Iterator[Other]:
    other, ended = Other(), threading.Event()

    def count() -> None:
        while not ended.wait(0.0001):
            other.counted += 1

    thread = threading.Thread(target=count)
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        yield other
    finally:
        sys.setswitchinterval(interval)
        ended.set()
        thread.join()


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_threads_go_on_while_a_message_is_written(tmp_path: Path, other: Other, durability: str) -> None:
    value = bytes(100_000)
    with KafkaProducerClient(
        "127.0.0.1:9", lazy=True, spool_dir=tmp_path, durability=durability, close_timeout_seconds=0
    ) as producer:
        producer.send("nowhere", value)  # what is done once is done by then
        begin = other.counted
        for _ in range(1000):
            producer.send("nowhere", value)
            if other.counted > begin + 3:
                break
        assert other.counted > begin + 3


def test_threads_go_on_while_a_message_waits_for_room(other: Other) -> None:
    with KafkaProducerClient(
        "127.0.0.1:9", lazy=True, buffer_memory=20_000, max_block_ms=500, close_timeout_seconds=0
    ) as producer:

        def fill() -> None:
            for _ in range(1000):
                producer.send("nowhere", bytes(1000))

        begin = other.counted
        with pytest.raises(KafkaTimeoutError, match="no room"):
            fill()
        assert other.counted > begin + 3


REFUSED = """
import threading, time
from gds_kafka import KafkaConnectionError, KafkaConsumerClient, KafkaProducerClient
longest_pause = 0
def count():
    global longest_pause
    while True:
        begin = time.monotonic()
        time.sleep(0.001)
        longest_pause = max(longest_pause, time.monotonic() - begin)
threading.Thread(target=count, daemon=True).start()
asked = 0
def token():
    global asked
    asked += 1
    # Longer than the constructor waits for the broker: it drops the client meanwhile.
    time.sleep(0.5)
    return "a.b.c"
settings = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "OAUTHBEARER", "connect_timeout_seconds": 0.2}
for client in (KafkaProducerClient, lambda *where, **how: KafkaConsumerClient("nowhere", *where, "group", **how)):
    try:
        client("127.0.0.1:9", sasl_oauth_token_provider=token, **settings)
    except KafkaConnectionError:
        print(asked > 0, flush=True)
        asked = 0
print(longest_pause, flush=True)
"""


def test_a_client_that_is_not_let_in_is_dropped_while_its_token_is_asked_for() -> None:
    with Program(source=REFUSED) as program:
        assert (program.line(), program.line()) == ("True", "True")
        # Waiting with the interpreter held took ten seconds.
        assert float(program.line()) < 4


KEEP = """
del producer
gc.collect()
print(len(told), flush=True)
sys.stdin.readline()
"""


def test_a_producer_that_is_forgotten_delivers_what_it_has(kafka_factory: KafkaFactory) -> None:
    kafka = kafka_factory()
    kafka.create_topic("forgotten")
    kafka.stop()
    arguments = (kafka.bootstrap_servers, "forgotten", {"close_timeout_seconds": LONG}, "")
    with Program(source=f"ARGUMENTS = {arguments!r}\n{FORGET}{KEEP}") as program:
        assert program.line() == "0"
        kafka.start()
        program.end()
    assert ledger(kafka, "forgotten").delivered == set(range(100))
