"""What tests of the monitor can ask for."""

from __future__ import annotations

from tests.kafka.conftest import any_hub

__all__ = ["any_hub"]
