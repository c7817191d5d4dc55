"""The contracts in schemas/, checked by a validator of the few keywords they use; an unknown keyword is an error."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "schemas"
NAMES = sorted(path.name for path in FOLDER.glob("*.json"))
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value),
}
# What these say is for people.
_ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description", "examples"}


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / name).read_text("utf-8"))
    return loaded


def problems(name: str, value: Any) -> list[str]:
    """What keeps a value from being what the schema says."""
    whole = schema(name)
    return list(_problems(whole, whole, value, "$"))


def _problems(root: Any, rule: Any, value: Any, at: str) -> list[str]:
    if rule is True:
        return []
    if rule is False:
        return [f"{at}: not expected"]
    found: list[str] = []
    for keyword, argument in rule.items():
        if keyword not in _ANNOTATIONS:
            found += _KEYWORDS[keyword](root, rule, argument, value, at)
    return found


def _type(_root: Any, _rule: Any, names: Any, value: Any, at: str) -> list[str]:
    names = [names] if isinstance(names, str) else names
    return [] if any(_TYPES[name](value) for name in names) else [f"{at}: {value!r} is none of {names}"]


def _properties(root: Any, _rule: Any, known: Any, value: Any, at: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    return [
        problem
        for name, rule in known.items()
        if name in value
        for problem in _problems(root, rule, value[name], f"{at}.{name}")
    ]


def _additional(root: Any, rule: Any, other: Any, value: Any, at: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    known = rule.get("properties", {})
    return [
        problem
        for name in value
        if name not in known
        for problem in _problems(root, other, value[name], f"{at}.{name}")
    ]


def _names(root: Any, _rule: Any, names: Any, value: Any, at: str) -> list[str]:
    return [problem for name in value for problem in _problems(root, names, name, f"{at}.{name}")]


def _any_of(root: Any, _rule: Any, rules: Any, value: Any, at: str) -> list[str]:
    each = [_problems(root, rule, value, at) for rule in rules]
    return [] if any(not found for found in each) else [f"{at}: none of {each}"]


def _condition(root: Any, rule: Any, condition: Any, value: Any, at: str) -> list[str]:
    branch = "else" if _problems(root, condition, value, at) else "then"
    return _problems(root, rule.get(branch, True), value, at)


def _items(root: Any, _rule: Any, item: Any, value: Any, at: str) -> list[str]:
    if not isinstance(value, list):
        return []
    return [problem for index, each in enumerate(value) for problem in _problems(root, item, each, f"{at}[{index}]")]


def _reference(root: Any, _rule: Any, pointer: str, value: Any, at: str) -> list[str]:
    rule = root
    for part in pointer.removeprefix("#/").split("/"):
        rule = rule[part]
    return _problems(root, rule, value, at)


_KEYWORDS: dict[str, Callable[[Any, Any, Any, Any, str], list[str]]] = {
    "type": _type,
    "properties": _properties,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "anyOf": _any_of,
    "if": _condition,
    "then": lambda *_: [],
    "else": lambda *_: [],
    "items": _items,
    "$ref": _reference,
    "const": lambda _root, _rule, wanted, value, at: (
        [] if value == wanted and type(value) is type(wanted) else [f"{at}: {value!r} is not {wanted!r}"]
    ),
    "enum": lambda _root, _rule, wanted, value, at: [] if value in wanted else [f"{at}: {value!r} is none of {wanted}"],
    "required": lambda _root, _rule, wanted, value, at: [
        f"{at}.{name}: missing" for name in wanted if isinstance(value, dict) and name not in value
    ],
    "minLength": lambda _root, _rule, least, value, at: (
        [f"{at}: shorter than {least}"] if isinstance(value, str) and len(value) < least else []
    ),
    "minimum": lambda _root, _rule, least, value, at: (
        [f"{at}: {value} is under {least}"] if _TYPES["number"](value) and value < least else []
    ),
    "maximum": lambda _root, _rule, most, value, at: (
        [f"{at}: {value} is over {most}"] if _TYPES["number"](value) and value > most else []
    ),
    "minProperties": lambda _root, _rule, least, value, at: (
        [f"{at}: fewer than {least}"] if isinstance(value, dict) and len(value) < least else []
    ),
    "pattern": lambda _root, _rule, pattern, value, at: (
        [f"{at}: {value!r} does not match {pattern}"]
        if isinstance(value, str) and not re.search(pattern, value)
        else []
    ),
}
