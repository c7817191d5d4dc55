"""docs/reference/ says what the docstrings say."""

from __future__ import annotations

import importlib

import pytest

from tests.project.reference import FOLDER, MODULES, PACKAGES, markdown, page


@pytest.mark.parametrize("package", PACKAGES)
def test_the_reference_is_what_the_docstrings_say(package: str) -> None:
    written = (FOLDER / f"{package}.md").read_text("utf-8")
    assert written == page(package), "the docstrings have changed: run `make reference`"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_in_the_reference(package: str) -> None:
    text = (FOLDER / f"{package}.md").read_text("utf-8")
    for module in (package, *MODULES.get(package, ())):
        names = set(importlib.import_module(module).__all__) - {"__version__"}
        assert sorted(name for name in names if f"\n## {name}\n" not in text) == []


def test_the_reference_has_one_page_for_each_package() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{package}.md" for package in PACKAGES}


def test_sections_of_a_docstring_become_lists() -> None:
    docstring = """What it does.

    Args:
        first: One.
            And more of it.
        second (int): Two.

    Returns:
        What comes back,
        in two lines.

    Raises:
        ValueError: Something is wrong.
    """
    assert markdown(docstring).splitlines() == [
        "What it does.",
        "",
        "*Args:*",
        "",
        "- `first`: One.",
        "  And more of it.",
        "- `second`: Two.",
        "",
        "*Returns:*",
        "",
        "What comes back,",
        "in two lines.",
        "",
        "*Raises:*",
        "",
        "- `ValueError`: Something is wrong.",
    ]
