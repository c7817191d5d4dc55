"""`gds demo` with a real Vault and a real Kafka at once, and no more rights than it needs."""

from __future__ import annotations

from tests.cli.commands import gds, objects
from tests.cli.test_demo import summary
from tests.services.kafka import KafkaBroker
from tests.services.vault import Vault


def names_below(vault: Vault, folder: str) -> list[str]:
    """Of all secrets, at any depth."""
    names: list[str] = []
    for name in vault.call("LIST", f"secret/metadata/{folder}")["data"]["keys"]:
        path = folder + name
        names += names_below(vault, path) if name.endswith("/") else [path]
    return names


def test_the_demo_agrees_with_real_servers_and_leaves_no_secret(vault: Vault, kafka: KafkaBroker) -> None:
    vault.write_policy(
        "gds-demo",
        {f"secret/{kind}/gds-demo-*": ["create", "read", "update", "delete", "list"] for kind in ("data", "metadata")},
    )
    role_id, secret_id = vault.add_approle("gds-demo", policies=["gds-demo"])
    done = gds(
        *("demo", "--seconds", 3, "--json", "--vault", vault.url, "--kafka", kafka.bootstrap_servers),
        VAULT_ROLE_ID=role_id,
        VAULT_SECRET_ID=secret_id,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    found = summary(objects(done))
    assert found["outcomes"]["read"] > 0
    assert secret_id not in done.stdout
    # Of KV version 2 the names of deleted secrets stay.
    written = [name for name in names_below(vault, "") if name.startswith("gds-demo-")]
    assert written
    for name in written:
        kept = vault.call("GET", f"secret/metadata/{name}")["data"]
        assert all(version["deletion_time"] for version in kept["versions"].values()), kept
