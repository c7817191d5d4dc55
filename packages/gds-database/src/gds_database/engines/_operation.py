"""Methods whose failures are results."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any, TypeVar

from gds_database.base import OperationResult
from gds_database.errors import ConfigurationError, DatabaseConnectionError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gds_database.engines._base import EngineBase

__all__ = ["OURS", "operation"]

OURS = (ConfigurationError, DatabaseConnectionError, QueryError)
"""The errors whose messages hold no secret, and that operations return as failures."""

F = TypeVar("F", bound="Callable[..., OperationResult]")


def operation(method: F) -> F:
    """A method whose failures are results, with the time that it took."""

    @functools.wraps(method)
    def result_of(self: Any, *args: Any, **kwargs: Any) -> OperationResult:
        engine: EngineBase = getattr(self, "engine", self)
        started = time.perf_counter()
        try:
            result = method(self, *args, **kwargs)
        except OURS as error:
            text = engine._secrets.redact(str(error))
            result = OperationResult.failure_result(
                f"{method.__name__.replace('_', ' ')} failed on {engine.name}",
                text,
                metadata={"error_type": type(error).__name__, **getattr(error, "result_metadata", {})},
            )
        result.duration_ms = (time.perf_counter() - started) * 1000
        return result

    return result_of  # type: ignore[return-value]
