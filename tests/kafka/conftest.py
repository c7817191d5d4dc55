"""What tests of the clients can ask for."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=[pytest.param("broker", marks=pytest.mark.server), "embedded"])
def any_hub(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """``bootstrap_servers`` of each hub."""
    if request.param == "embedded":
        return f"embedded:{tmp_path / 'hub'}"
    servers: str = request.getfixturevalue("kafka").bootstrap_servers
    return servers
