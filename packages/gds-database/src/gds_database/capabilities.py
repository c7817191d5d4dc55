"""What an engine can do, known before it is tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["OPERATIONS", "Capabilities", "Capability", "TestedAgainst"]

OPERATIONS = (
    "build",
    "destroy",
    "startup",
    "shutdown",
    "list_databases",
    "create_database",
    "drop_database",
    "backup_full",
    "backup_differential",
    "backup_incremental",
    "backup_transaction_log",
    "restore",
    "list_users",
    "create_user",
    "drop_user",
    "list_processes",
    "kill_process",
    "get_configuration",
    "set_configuration",
    "get_metrics",
    "get_logs",
    "get_replication_status",
    "failover",
)
"""The names of what every engine says whether it can do it."""


class TestedAgainst(str, Enum):
    """What a capability was run on before it was released."""

    __test__ = False  # pytest: the name says nothing about tests of ours

    REAL = "real"
    """The platform itself."""
    EMULATOR = "emulator"
    """A program that speaks its protocol."""
    CHECKED = "checked only"
    """Nothing: statements are checked against descriptions of the platform."""


@dataclass(frozen=True)
class Capability:
    """One thing that an engine can do or cannot.

    Attributes:
        name: One of `OPERATIONS`, or what else the engine has.
        supported: Whether it can, as it is set up: some need ``control=`` or a tool.
        how: By what means; if not supported, why not and what to use.
        tested_against: What it was run on.
    """

    name: str
    supported: bool
    how: str
    tested_against: TestedAgainst


class Capabilities(Mapping[str, Capability]):
    """The capabilities of an engine by name.

    Args:
        capabilities: Each of them; of two with one name the later one counts.
    """

    def __init__(self, capabilities: Iterable[Capability] = ()) -> None:
        self._by_name = {each.name: each for each in capabilities}

    def __getitem__(self, name: str) -> Capability:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._by_name.values())!r})"

    def supports(self, name: str) -> bool:
        """Whether the engine says that it can."""
        found = self._by_name.get(name)
        return found is not None and found.supported

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Ready for JSON."""
        return {name: {**asdict(each), "tested_against": each.tested_against.value} for name, each in self.items()}
