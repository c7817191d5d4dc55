from __future__ import annotations

import json
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest
from typing_extensions import Self

from gds_monitor.config.discovery import discovered
from gds_monitor.config.load import MonitorConfig, load_config, parse_config
from gds_monitor.secrets import SharedVault
from tests.monitor.small_pack import SMALL

FIVE_LINES = """\
targets:
  - url: postgresql://watcher@db1/postgres
    password: vault://databases/db1#password
outputs:
  - kafka: localhost:9092
"""


def test_five_lines_are_enough() -> None:
    config = parse_config(FIVE_LINES)
    (target,) = config.targets
    assert (target.name, target.interval) == ("db1", 30.0)
    assert (target.engine.engine, target.engine.user) == ("postgresql", "watcher")
    assert target.engine.password == "vault://databases/db1#password"
    assert config.outputs == (("kafka", "localhost:9092"),)
    assert config.listen is None


def test_everything_that_can_be_said_is_understood(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SMALL)
    (tmp_path / "monitor.yaml").write_text(
        """
interval: 10
environment: production
listen: 127.0.0.1:9187
packs: [mine.yaml]
flags: {bloat: false, locks: true}
concurrency: {snowflake: 2}
canary: {pack: mine.yaml, part: 0.5, cycles: 3}
targets:
  - {url: "postgresql://db1:5433/postgres", name: one, interval: 5, tags: {team: shop}, packs: [mine.yaml],
     databases: [a], exclude: [b], user: u, password: p, options: {sslmode: require}}
discovery:
  - {file: more.yaml, refresh: 5}
outputs:
  - stdout:
"""
    )
    config = load_config(tmp_path / "monitor.yaml")
    (target,) = config.targets
    assert target.tags == {"environment": "production", "team": "shop"}
    assert (target.name, target.interval, target.packs) == ("one", 5.0, ("mine.yaml",))
    assert (target.databases, target.excluded) == (("a",), ("b",))
    assert target.engine.options == {"sslmode": "require"}
    assert config.listen == ("127.0.0.1", 9187)
    assert config.disabled == {"bloat"}
    assert config.packs["mine.yaml"].name == "small"
    assert config.folder == tmp_path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("targets: []\n", "monitor.yaml:1:1: expected the key 'outputs'"),
        ("outputs: [{stdout: }]\ntarget: []\n", "monitor.yaml:"),
        (
            "targets:\n  - {url: x, intervall: 5}\noutputs: [{stdout: }]\n",
            "monitor.yaml:2:14: targets[0].intervall: unknown",
        ),
        (
            "targets:\n  - url: nowhere\noutputs: [{stdout: }]\n",
            "monitor.yaml:2:10: targets[0].url: url: expected an address",
        ),
        (
            "targets:\n  - {url: 'pg://a'}\n  - {url: 'pg://a'}\noutputs: [{stdout: }]\n",
            "monitor.yaml:3:5: targets[1]: a is the name",
        ),
        (
            "targets: []\npacks: [gone.yaml]\noutputs: [{stdout: }]\n",
            "monitor.yaml:2:9: packs[0]: gone.yaml: No such file",
        ),
        ("targets: []\ninterval: 0\noutputs: [{stdout: }]\n", "monitor.yaml:2:11: interval: expected a number above 0"),
        (
            "targets: []\noutputs:\n  - prometheus: {listen: 1, alias: no}\n",
            "monitor.yaml:3:29: outputs[0].prometheus.alias: unknown key; did you mean 'aliases'?",
        ),
        ("targets: []\noutputs: [{otlp: {headers: 5}}]\n", "monitor.yaml:2:28: outputs[0].otlp.headers: expected"),
        ("targets: []\noutputs: [{pulsar: x}]\n", "monitor.yaml:2:12: outputs[0].pulsar: unknown key"),
    ],
)
def test_mistakes_are_told_with_line_and_column(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"monitor\.yaml") as caught:
        parse_config(text)
    assert str(caught.value).startswith(said)


def test_no_mistake_shows_a_password() -> None:
    text = "targets:\n  - url: 'postgresql:/u:s3cret-canary@db'\noutputs: [{stdout: }]\n"
    with pytest.raises(ValueError, match="expected an address") as caught:
        parse_config(text)
    assert "s3cret" not in str(caught.value)


def test_the_schema_is_where_editors_look_for_it() -> None:
    root = Path(__file__).parents[2]
    own = json.loads((root / "python/gds_monitor/config/schema.json").read_text())
    assert json.loads((root / "schemas/monitor.json").read_text()) == own


# ------------------------------------------------------------------ discovery
async def found(source: dict[str, Any], folder: Path, vault: Any = None) -> dict[str, str]:
    config = MonitorConfig((), (), folder=folder)
    return {each.name: each.engine.engine for each in await discovered(source, config, SharedVault(vault))}


@pytest.mark.anyio
async def test_targets_are_found_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("- url: postgresql://a\n- {url: 'mongodb://b', name: two}\n")
    assert await found({"file": "more.yaml"}, tmp_path) == {"a": "postgresql", "two": "mongodb"}


@pytest.mark.anyio
async def test_targets_are_what_a_command_prints(tmp_path: Path) -> None:
    program = "import json; print(json.dumps({'targets': [{'url': 'postgresql://c'}]}))"
    assert await found({"command": [sys.executable, "-c", program]}, tmp_path) == {"c": "postgresql"}


@pytest.mark.anyio
async def test_targets_are_the_fields_of_a_secret(tmp_path: Path) -> None:
    class Vault:
        def get_secret(self, path: str, use_cache: bool = True) -> dict[str, str]:
            assert (path, use_cache) == ("monitor/targets", False)
            return {"shop": "postgresql://d"}

    assert await found({"vault": "monitor/targets"}, tmp_path, Vault()) == {"shop": "postgresql"}


@pytest.mark.anyio
async def test_targets_are_the_addresses_of_a_name(tmp_path: Path) -> None:
    source = {"dns": "localhost", "template": {"url": "postgresql://watcher@{host}:5432/postgres"}}
    assert "127.0.0.1:5432" in await found(source, tmp_path)


class NameServer:
    """Answers questions for SRV records over UDP, as a server of DNS does."""

    def __init__(self, records: dict[str, list[str]]) -> None:
        self._records = records
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="a name server")

    def _serve(self) -> None:
        while True:
            question, sender = self._socket.recvfrom(4096)
            if not question:
                return
            asked = dns.message.from_wire(question)
            answer = dns.message.make_response(asked)
            name = asked.question[0].name
            found = self._records.get(str(name))
            if found is None:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            else:
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", "SRV", *found))
            self._socket.sendto(answer.to_wire(), sender)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()


@pytest.mark.anyio
async def test_targets_are_the_srv_records_of_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = {"_postgresql._tcp.example.com.": ["0 5 5433 db2.example.com.", "0 5 5432 db1.example.com."]}
    with NameServer(records) as server:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port, resolver.cache = ["127.0.0.1"], server.port, None
        monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
        source: dict[str, Any] = {
            "dns": "_postgresql._tcp.example.com",
            "template": {"url": "postgresql://watcher@{host}:{port}/postgres"},
        }
        both = {"db1.example.com:5432": "postgresql", "db2.example.com:5433": "postgresql"}
        assert await found(source, tmp_path) == both
        # One goes, one comes: each look asks anew.
        records["_postgresql._tcp.example.com."] = ["0 5 5433 db2.example.com.", "0 5 5432 db3.example.com."]
        assert set(await found(source, tmp_path)) == {"db2.example.com:5433", "db3.example.com:5432"}
        with pytest.raises(OSError, match=r"dns _mysql\._tcp\.example\.com"):
            await found({**source, "dns": "_mysql._tcp.example.com"}, tmp_path)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("source", "kind", "said"),
    [
        ({"file": "gone.yaml"}, OSError, "gone.yaml"),
        ({"command": [sys.executable, "-c", "raise SystemExit(3)"]}, OSError, "exited with 3"),
        (
            {"command": [sys.executable, "-c", "import time; time.sleep(600)"], "timeout": 0.5},
            OSError,
            "no answer in 0.5 s",
        ),
        ({"command": [sys.executable, "-c", "print('just text')"]}, ValueError, "expected a list of targets"),
        ({"command": [sys.executable, "-c", "print('- {ur: x}')"]}, ValueError, "expected a mapping with url:"),
        ({"dns": "localhost"}, ValueError, "that has {host} in it"),
    ],
)
async def test_what_cannot_be_found_says_why(
    source: dict[str, Any], kind: type[Exception], said: str, tmp_path: Path
) -> None:
    with pytest.raises(kind) as caught:
        await found(source, tmp_path)
    assert said in str(caught.value)
