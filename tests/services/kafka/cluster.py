"""The processes: each node is broker and controller (KRaft), with its own ports and folder."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tests.services.catalog import SERVICES
from tests.services.install import install, service_folder
from tests.services.locks import locked
from tests.services.process import LOOPBACK, Server, ServerFailed, accepts_tcp, wait_until
from tests.services.toxiproxy import Proxy, Toxiproxy

from .inspection import Inspection, properties

ClusterT = TypeVar("ClusterT", bound="KafkaCluster")

_CLUSTER_ID = "Z2RzLXRlc3RzLWthZmthMA"
# Plaintext, and the nodes talk to each other through it.
DIRECT = "DIRECT"
# Plaintext, and advertised with a port on which nothing listens until a proxy does.
PROXIED = "PROXIED"
_CONTROLLER = "CONTROLLER"
_LOGGING = Path(__file__).parent / "log4j2.yaml"
# Small, and fast to start rather than fast.
_JAVA_OPTIONS = (
    *("-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"),
    f"-Dlog4j2.configurationFile={_LOGGING}",
)
# Two seconds on two idle cores, three nodes five.
_READY_TIMEOUT_SECONDS = 120.0
_FORMAT_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Listener:
    """One port of a broker, its name and its security protocol."""

    name: str
    protocol: str = "PLAINTEXT"


class KafkaNode(Server):
    """One node of a cluster. It is made, and entered, by its cluster."""

    name = "kafka"
    ready_timeout_seconds = _READY_TIMEOUT_SECONDS

    def __init__(self, node_id: int, listeners: Sequence[Listener]) -> None:
        super().__init__()
        self.node_id = node_id
        self._binary = install("kafka")["kafka-run-class"]
        self._listeners = listeners
        self._java_options: Sequence[str] = ()
        self._ports: dict[str, int] = {}
        self._advertised_ports: dict[str, int] = {}

    def port(self, listener: str = DIRECT) -> int:
        """The loopback port on which it listens."""
        return self._ports[listener]

    def advertised_port(self, listener: str = DIRECT) -> int:
        """The loopback port that clients of the listener are told to connect to."""
        return self._advertised_ports[listener]

    @property
    def voter(self) -> str:
        """How the others find its controller."""
        return f"{self.node_id}@{LOOPBACK}:{self._ports[_CONTROLLER]}"

    def configure(
        self, settings: Mapping[str, str | int | bool], checkpoint: bytes, java_options: Sequence[str]
    ) -> None:
        """Write configuration and an empty, formatted data folder; ``checkpoint`` is what formatting puts there."""
        self._java_options = java_options
        listeners = [*self._listeners, Listener(_CONTROLLER)]
        lines = {
            "process.roles": "broker,controller",
            "node.id": self.node_id,
            "controller.listener.names": _CONTROLLER,
            "inter.broker.listener.name": DIRECT,
            "listeners": ",".join(f"{each.name}://{LOOPBACK}:{self._ports[each.name]}" for each in listeners),
            "advertised.listeners": ",".join(
                f"{each.name}://{LOOPBACK}:{self._advertised_ports[each.name]}" for each in self._listeners
            ),
            "listener.security.protocol.map": ",".join(f"{each.name}:{each.protocol}" for each in listeners),
            "log.dirs": str(self._data),
            **settings,
        }
        text = "".join(f"{name}={value}\n" for name, value in properties(lines).items())
        (self.folder / "server.properties").write_text(text)
        self._data.mkdir()
        (self._data / "meta.properties").write_text(f"version=1\ncluster.id={_CLUSTER_ID}\nnode.id={self.node_id}\n")
        (self._data / "bootstrap.checkpoint").write_bytes(checkpoint)

    def ask_to_stop(self) -> None:
        """Begin to stop without waiting for the end, which ``stop`` then does."""
        # A paused process would not hear it.
        self.resume()
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        self.resume()
        super().stop()

    def pause(self) -> None:
        """Hold the process still: connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)
        # On a busy machine a thread of it may run on for a while, and answer.
        if self.running:
            wait_until(self._stands_still, what="the broker to stand still")

    def _stands_still(self) -> bool:
        assert self._process is not None, "it runs"
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)

    def resume(self) -> None:
        """Let a paused process go on; no effect on one that is not."""
        self._signal(signal.SIGCONT)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            assert self._process is not None, "it runs"
            self._process.send_signal(number)

    def _prepare(self) -> None:
        for listener in [*self._listeners, Listener(_CONTROLLER)]:
            port = self._lease_port()
            self._ports[listener.name] = port
            self._advertised_ports[listener.name] = self._lease_port() if listener.name == PROXIED else port

    def _command(self) -> Sequence[str | Path]:
        return [self._binary, *_JAVA_OPTIONS, *self._java_options, "kafka.Kafka", "server.properties"]

    def _is_ready(self) -> bool:
        # The line comes when the controllers have let the broker in.
        return "Kafka Server started" in self.log() and accepts_tcp(self._ports[DIRECT])


class KafkaCluster(Inspection):
    """One node or several, with a copy of everything on each of them.

    A context manager: entering starts the nodes together, leaving ends them and removes what they
    wrote. Between the two, ``stop``, ``start``, ``kill``, ``restart``, ``pause`` and ``resume`` act
    on all nodes, or on one when called on an element of ``nodes``; ports and data stay. Node ids
    begin with 1. ``settings`` are those of ``server.properties``, and win over what is set here.

    A node that is killed or paused is replaced as leader after ``broker.session.timeout.ms``, here
    4 seconds.
    """

    # Names of credentials, in the words of ``kafka-storage format --add-scram``.
    _scram: tuple[str, ...] = ()
    _listeners: tuple[Listener, ...] = (Listener(DIRECT), Listener(PROXIED))

    def __init__(
        self,
        nodes: int = 1,
        settings: Mapping[str, str | int | bool] | None = None,
        *,
        auto_create_topics: bool = True,
    ) -> None:
        self._settings = dict(settings or {})
        self._auto_create_topics = auto_create_topics
        self.nodes: tuple[KafkaNode, ...] = tuple(KafkaNode(number + 1, self._listeners) for number in range(nodes))

    def __enter__(self: ClusterT) -> ClusterT:
        try:
            for node in self.nodes:
                node.open()
            voters = ",".join(node.voter for node in self.nodes)
            settings = {**self._defaults(), "controller.quorum.voters": voters, **self._settings}
            checkpoint = _formatted(self._scram)
            for node in self.nodes:
                node.configure(settings, checkpoint, self._more_java_options())
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, remove their folders and give their ports back."""
        # Nothing is kept, so there is nothing to end in order.
        self.kill()
        for node in self.nodes:
            node.close()

    @property
    def direct_bootstrap_servers(self) -> str:
        return self._bootstrap(DIRECT)

    @property
    def bootstrap_servers(self) -> str:
        """``host:port,...`` for clients."""
        return self._bootstrap(DIRECT)

    @property
    def proxied_bootstrap_servers(self) -> str:
        """``host:port,...`` for clients that are to reach the nodes by way of ``through`` only."""
        return self._bootstrap(PROXIED)

    def through(self, toxiproxy: Toxiproxy) -> list[Proxy]:
        """One proxy in front of each node, where ``proxied_bootstrap_servers`` are.

        The nodes send clients that came this way to the proxies again. All else about the cluster,
        what these methods ask it included, goes past them.
        """
        return [toxiproxy.proxy(node.port(PROXIED), listen=node.advertised_port(PROXIED)) for node in self.nodes]

    def node(self, node_id: int | None) -> KafkaNode:
        """The node of that id, as ``leader`` gives it."""
        [found] = [node for node in self.nodes if node.node_id == node_id]
        return found

    @property
    def running(self) -> bool:
        """Whether every node is there and alive."""
        return all(node.running for node in self.nodes)

    def start(self) -> None:
        """Start the nodes that do not run, and wait until they are ready; raises ``ServerFailed``."""
        missing = [node for node in self.nodes if not node.running]
        # Together: none gets ready before a majority is there.
        for node in missing:
            node.launch()
        for node in missing:
            node.wait_ready()

    def stop(self) -> None:
        """Ask every node to end, and kill those that do not."""
        for node in self.nodes:
            node.ask_to_stop()
        for node in self.nodes:
            node.stop()

    def kill(self) -> None:
        """End every node with no chance to say goodbye, as in a power cut."""
        for node in self.nodes:
            node.kill()

    def restart(self) -> None:
        """Stop, then start on the same ports with the same data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Hold every node still: connections stay open and nothing is answered."""
        for node in self.nodes:
            node.pause()

    def resume(self) -> None:
        """Let paused nodes go on."""
        for node in self.nodes:
            node.resume()

    def log(self) -> str:
        """What the nodes printed since their last start, one after the other."""
        return "".join(node.log() for node in self.nodes)

    def _bootstrap(self, listener: str) -> str:
        return ",".join(f"{LOOPBACK}:{node.advertised_port(listener)}" for node in self.nodes)

    def _more_java_options(self) -> Sequence[str]:
        archive = _class_archive()
        return [] if archive is None else [f"-XX:SharedArchiveFile={archive}"]

    def _defaults(self) -> dict[str, str | int | bool]:
        copies = len(self.nodes)
        majority = copies // 2 + 1
        return {
            "auto.create.topics.enable": self._auto_create_topics,
            "default.replication.factor": copies,
            "min.insync.replicas": majority,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": majority,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": majority,
            # Fifty of each take a while to make.
            "offsets.topic.num.partitions": 5,
            "transaction.state.log.num.partitions": 5,
            "share.coordinator.state.topic.num.partitions": 5,
            "group.initial.rebalance.delay.ms": 0,
            # Tests wait for a node to be given up.
            "broker.session.timeout.ms": 4000,
            "broker.heartbeat.interval.ms": 500,
        }


class KafkaBroker(KafkaCluster):
    """A cluster of one node."""

    def __init__(
        self, settings: Mapping[str, str | int | bool] | None = None, *, auto_create_topics: bool = True
    ) -> None:
        super().__init__(1, settings, auto_create_topics=auto_create_topics)

    @property
    def port(self) -> int:
        """The loopback port that clients connect to."""
        return self.nodes[0].port()


class _Rehearsal(KafkaBroker):
    """Writes down, when it is stopped, the classes it loaded."""

    def __init__(self, archive: Path) -> None:
        super().__init__()
        self._archive = archive

    def _more_java_options(self) -> Sequence[str]:
        return [f"-XX:ArchiveClassesAtExit={self._archive}"]


@cache
def _class_archive() -> Path | None:
    """The classes of a broker in the form they have in memory, which halves the time to start.

    Made once and kept beside the jars, ``None`` when that did not succeed. A Java runtime that did
    not write it does not use it.
    """
    java = shutil.which("java")
    assert java is not None, "checked when kafka was installed"
    runtime = Path(java).resolve()
    identity = hashlib.sha256(f"{runtime} {runtime.stat().st_mtime_ns}".encode()).hexdigest()[:8]
    archive = service_folder(SERVICES["kafka"]) / f"classes-{identity}.jsa"
    with locked(archive.with_suffix(".lock")):
        if not archive.exists():
            draft = archive.with_suffix(".draft")
            draft.unlink(missing_ok=True)
            with _Rehearsal(draft) as broker:
                broker.stop()
            if not draft.exists():
                return None
            draft.rename(archive)
    return archive


@cache
def _formatted(scram: tuple[str, ...]) -> bytes:
    """What ``kafka-storage format`` writes for every node alike; asked for once, as it takes a JVM."""
    with tempfile.TemporaryDirectory(prefix="gds-") as folder:
        configuration = Path(folder) / "server.properties"
        lines = {
            "process.roles": "broker,controller",
            "node.id": 1,
            # No port is opened.
            "controller.quorum.voters": f"1@{LOOPBACK}:1",
            "controller.listener.names": _CONTROLLER,
            "listeners": f"PLAINTEXT://{LOOPBACK}:2,{_CONTROLLER}://{LOOPBACK}:1",
            "log.dirs": f"{folder}/data",
        }
        configuration.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        credentials = [word for each in scram for word in ("--add-scram", each)]
        tool: list[str | Path] = [install("kafka")["kafka-run-class"], *_JAVA_OPTIONS, "kafka.tools.StorageTool"]
        answer = subprocess.run(
            [*tool, "format", "-t", _CLUSTER_ID, "-c", configuration, *credentials],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_FORMAT_TIMEOUT_SECONDS,
            check=False,
        )
        if answer.returncode != 0:
            raise ServerFailed(
                f"kafka-storage format exited with {answer.returncode}: {answer.stdout.decode(errors='replace')}"
            )
        return (Path(folder) / "data" / "bootstrap.checkpoint").read_bytes()
