"""For tests: an engine in memory, and what every engine has to pass.

    from gds_database.testing import EngineContract, InMemoryEngine

`EngineContract` needs pytest; `InMemoryEngine` needs nothing.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False

if TYPE_CHECKING:
    from gds_database.testing.contract import EngineContract
    from gds_database.testing.memory import InMemoryConnection, InMemoryDatabase, InMemoryEngine, InMemoryServer

__all__ = ["EngineContract", "InMemoryConnection", "InMemoryDatabase", "InMemoryEngine", "InMemoryServer"]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = f"{__name__}.{'contract' if name == 'EngineContract' else 'memory'}"
    if name == "EngineContract" and "pytest" in sys.modules and home not in sys.modules:
        sys.modules["pytest"].register_assert_rewrite(home)
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
