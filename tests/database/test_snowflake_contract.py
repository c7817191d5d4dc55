"""Snowflake's engine passes the contract on an emulator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gds_database import open_engine
from gds_database.engines.snowflake import SnowflakeEngine
from gds_database.testing import EngineContract
from tests.services.snowflake import Snowflake


@pytest.fixture(scope="module")
def connected(snowflake: Snowflake) -> Iterator[SnowflakeEngine]:
    engine = open_engine(snowflake.url)
    assert isinstance(engine, SnowflakeEngine)
    with engine:
        yield engine
        for each in engine.list_databases():
            if each.name.startswith("backup of"):
                each.drop()


class TestSnowflakeEngine(EngineContract):
    setting = ("LOCK_TIMEOUT", 7)

    @pytest.fixture
    def engine(self, connected: SnowflakeEngine) -> SnowflakeEngine:
        return connected

    def backup_path(self, folder: Path) -> str:
        return f"backup of {folder.name}"
