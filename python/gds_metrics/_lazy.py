"""Packages that load what a program uses of them, and no more."""

from __future__ import annotations

TYPE_CHECKING = False  # as in the packages

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["exports"]


def exports(
    package: dict[str, object], homes: dict[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: Its ``globals()``.
        homes: The module that each public name comes from.
    """

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        from importlib import import_module

        value: object = getattr(import_module(f"{package['__name__']}.{homes[name]}"), name)
        package[name] = value
        return value

    return load, lambda: sorted({*package, *homes})
