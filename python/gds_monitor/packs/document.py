"""YAML with a place for everything that is wrong in it."""

from __future__ import annotations

import difflib
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from yaml import Node

__all__ = ["Document", "PackError"]

MAX_NODES = 200_000
"""What aliases make of a small file ends here."""
_SHOWN = 60

Step = str | int


class PackError(ValueError):
    """A definition that cannot be used, with its place.

    Attributes:
        source: The file, as it was named.
        line: From 1 on.
        column: From 1 on.
    """

    def __init__(self, source: str, line: int, column: int, message: str) -> None:
        super().__init__(f"{source}:{line}:{column}: {message}")
        self.source, self.line, self.column = source, line, column

    def __reduce__(self) -> Any:
        return _again, (self.source, self.line, self.column, str(self))


def _again(source: str, line: int, column: int, text: str) -> PackError:
    error = PackError(source, line, column, "")
    error.args = (text,)
    return error


@dataclass(frozen=True)
class Document:
    """What a file says, and where it says it.

    Attributes:
        source: Its name.
        data: Plain dicts, lists, texts and numbers. Keys are texts.
        places: The line and column of each value, and with a last step ``None`` of its key.
    """

    source: str
    data: Any
    places: dict[tuple[Step | None, ...], tuple[int, int]]

    @classmethod
    def parse(cls, text: str, source: str) -> Document:
        """Read one document of YAML.

        Raises:
            PackError: It is none.
        """
        return _Reading(source).read(text)

    def fail(self, path: Sequence[Step], message: str, *, key: bool = False) -> NoReturn:
        """Raise for what stands at a path, or for its key."""
        steps: tuple[Step | None, ...] = (*path, None) if key else tuple(path)
        line, column = self.places.get(steps) or self.places.get(tuple(path)) or self.places[()]
        where = _dotted(path)
        raise PackError(self.source, line, column, f"{where}: {message}" if where else message)

    def validate(self, schema: str) -> None:
        """Hold it against a JSON Schema of this package.

        Raises:
            PackError: It differs; of several differences the first in the file is told.
        """
        errors = list(_validator(schema).iter_errors(self.data))
        if errors:
            self._refuse(min(errors, key=self._rank))

    def _place(self, error: Any) -> tuple[int, int]:
        return self.places.get(tuple(error.absolute_path)) or self.places[()]

    def _rank(self, error: Any) -> tuple[tuple[int, int], bool]:
        """The first in the file; a key that nobody knows may well be the one that is missing."""
        return self._place(error), error.validator != "additionalProperties"

    def _refuse(self, error: Any) -> NoReturn:
        if error.context and error.validator in {"anyOf", "oneOf"}:
            # What came furthest is what was meant.
            self._refuse(max(error.context, key=lambda each: len(each.absolute_path)))
        path: list[Step] = list(error.absolute_path)
        schema = cast("dict[str, Any]", error.schema)
        if error.validator == "additionalProperties" and error.instance:
            known = schema.get("properties", {})
            unknown = next(name for name in error.instance if name not in known)
            self.fail([*path, unknown], f"unknown key; {_expected(unknown, known)}", key=True)
        if error.validator == "required":
            missing = [name for name in error.validator_value if name not in error.instance]
            self.fail(path, f"expected the key {missing[0]!r}{_said(schema, missing[0])}, got none")
        self.fail(path, f"expected {_wanted(error)}, got {_shown(error.instance)}")


def _dotted(path: Iterable[Step]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f"{'.' if text else ''}{step}"
    return _shown_text(text)


def _expected(unknown: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(unknown[:_SHOWN], names, n=1, cutoff=0.4)
    return (f"did you mean {near[0]!r}? " if near else "") + f"expected one of {', '.join(names)}"


def _said(schema: dict[str, Any], name: str) -> str:
    text = schema.get("properties", {}).get(name, {}).get("description", "")
    return f" ({text.rstrip('.')})" if text else ""


def _wanted(error: Any) -> str:
    kind, value = error.validator, error.validator_value
    if kind == "type":
        return " or ".join([value] if isinstance(value, str) else value)
    if kind == "enum":
        near = difflib.get_close_matches(str(error.instance), [str(each) for each in value], n=1)
        choices = " or ".join(repr(each) for each in value)
        return f"{choices} (did you mean {near[0]!r}?)" if near else choices
    if kind in {"minimum", "exclusiveMinimum", "maximum"}:
        return f"a number {'at most' if kind == 'maximum' else 'above' if kind[0] == 'e' else 'from'} {value}"
    if kind == "pattern":
        return str(error.schema.get("description") or f"text like {value}").rstrip(".")
    if kind in {"minLength", "minItems", "minProperties"}:
        return "something"
    if kind == "oneOf":
        return "exactly one of " + " and ".join(each.get("required", ["?"])[0] for each in value)
    return f"what {kind} of the schema asks for"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return "nothing" if value is None else _shown_text(repr(value))


def _shown_text(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


@functools.cache
def _validator(name: str) -> Any:
    import jsonschema

    path = Path(__file__).parent / "schemas" / f"{name}.json"
    return jsonschema.Draft202012Validator(json.loads(path.read_text("utf-8")))


class _Reading:
    """From the nodes of YAML to plain data; numbers and dates keep to what JSON has."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._places: dict[tuple[Step | None, ...], tuple[int, int]] = {}
        self._count = 0

    def read(self, text: str) -> Document:
        import yaml

        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            root = yaml.compose(text, Loader=loader)
            if root is None:
                raise PackError(self._source, 1, 1, "expected a mapping, got an empty file")
            return Document(self._source, self._plain(root, (), ()), self._places)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            raise PackError(self._source, line, column, f"no YAML: {error.problem or error.context}") from None
        except yaml.YAMLError as error:
            raise PackError(self._source, 1, 1, f"no YAML: {' '.join(str(error).split())}") from None
        except UnicodeError:
            raise PackError(self._source, 1, 1, "expected UTF-8 without lone surrogates") from None
        except RecursionError:
            raise PackError(self._source, 1, 1, "expected fewer levels of nesting") from None

    def _plain(self, node: Node, path: tuple[Step, ...], above: tuple[int, ...]) -> Any:
        import yaml

        self._count += 1
        if self._count > MAX_NODES:
            self._fail(node, f"expected at most {MAX_NODES} values, also by aliases")
        if id(node) in above:
            self._fail(node, "expected no value that holds itself")
        above = (*above, id(node))
        self._places[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            self._known(node, "map")
            return self._mapping(node, path, above)
        if isinstance(node, yaml.SequenceNode):
            self._known(node, "seq")
            return [self._plain(each, (*path, index), above) for index, each in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: Any, path: tuple[Step, ...], above: tuple[int, ...]) -> dict[str, Any]:
        import yaml

        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for part in parts:
                    if not isinstance(part, yaml.MappingNode):
                        self._fail(value, "expected a mapping, or a list of them, behind '<<'")
                    for name, each in self._plain(part, path, above).items():
                        merged.setdefault(name, each)
                continue
            if not isinstance(key, yaml.ScalarNode):
                self._fail(key, "expected text as a key")
            name = key.value
            if name in own:
                self._fail(key, f"the key {_shown_text(repr(name))} stands here twice")
            own[name] = self._plain(value, (*path, name), above)
            of_key: tuple[Step | None, ...] = (*path, name, None)
            self._places[of_key] = (key.start_mark.line + 1, key.start_mark.column + 1)
        self._places[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        return {**merged, **own}

    def _scalar(self, node: Any) -> Any:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind in {"str", "timestamp", "value"}:
            return node.value
        self._known(node, "null", "bool", "int", "float")
        return self._number(node, kind)

    def _number(self, node: Any, kind: str) -> Any:
        import yaml

        try:
            construct = getattr(yaml.constructor.SafeConstructor(), f"construct_yaml_{kind}")
            value = construct(node)
        except (ValueError, KeyError, IndexError):
            self._fail(node, f"expected a value of the kind {kind}, got {_shown_text(repr(node.value))}")
        if isinstance(value, float) and value != value:
            self._fail(node, "expected a number, got not-a-number")
        if isinstance(value, (int, float)) and abs(value) > 1e300:
            self._fail(node, "expected a number below 1e300")
        return value

    def _known(self, node: Any, *kinds: str) -> None:
        if node.tag.removeprefix("tag:yaml.org,2002:") not in kinds:
            self._fail(node, f"expected plain YAML, got the tag {_shown_text(node.tag)}")

    def _fail(self, node: Any, message: str) -> NoReturn:
        raise PackError(self._source, node.start_mark.line + 1, node.start_mark.column + 1, message)
