"""Lists of a public API, and what a package lacks of one.

A list is text, one name a line:

    ## package.module
    name RE_EXPORTED
    class Name (Base)
       method (self, path: str, use_cache: bool = True, **kwargs) -> dict
       classmethod from_token (cls, token: str) -> 'Name'
       prop timeout (settable)
    def function (path: str, timeout: int = 10) -> None

What was written against such a list goes on to run if each name is there, each parameter has its name, its place and
its default, and nothing new has to be given. Annotations are not compared: a wider type is no loss.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["LISTS", "Callable", "Kind", "Listed", "Module", "Parameter", "differences", "read"]

LISTS = Path(__file__).with_name("existing-api")

_HEAD = re.compile(r"(?P<indent>\s*)(?:(?P<kind>##|name|class|def|prop|classmethod|staticmethod) )?(?P<name>[\w.]+)")
_UNKNOWN = object()


@dataclass(frozen=True)
class Parameter:
    """One parameter; ``default`` is its source, None where there is none. ``name`` has the stars of ``*args``."""

    name: str
    default: str | None = None


@dataclass(frozen=True)
class Callable:
    """A function or a method, without ``self`` or ``cls``."""

    name: str
    parameters: tuple[Parameter, ...]


@dataclass
class Kind:
    """A class."""

    name: str
    bases: tuple[str, ...]
    methods: list[Callable] = field(default_factory=list)
    properties: list[tuple[str, bool]] = field(default_factory=list)
    """Names, and whether they can be set."""


@dataclass
class Module:
    """What is listed of a module."""

    name: str
    names: list[str] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    functions: list[Callable] = field(default_factory=list)


Listed = Sequence[Module]


# ------------------------------------------------------------------ reading a list
def read(path: Path) -> list[Module]:
    """The modules of a list."""
    modules: list[Module] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        found = _HEAD.match(line)
        if found is None:
            raise ValueError(f"{path.name}:{number}: expected a name, got {line!r}")
        name, rest = found["name"], line[found.end() :].strip()
        inside = bool(found["indent"])
        match found["kind"]:
            case "##":
                modules.append(Module(name))
            case "name":
                modules[-1].names.append(name)
            case "class":
                bases = tuple(base.strip() for base in rest.strip("()").split(",") if base.strip())
                modules[-1].kinds.append(Kind(name, bases))
            case "prop":
                modules[-1].kinds[-1].properties.append((name, rest == "(settable)"))
            case _ if inside:
                static = found["kind"] == "staticmethod"
                parameters = _parameters(rest)
                modules[-1].kinds[-1].methods.append(Callable(name, parameters if static else parameters[1:]))
            case _:
                modules[-1].functions.append(Callable(name, _parameters(rest)))
    return modules


def _parameters(text: str) -> tuple[Parameter, ...]:
    inside = text[1 : _closing(text)]
    return tuple(_parameter(part.strip()) for part in _split(inside) if part.strip())


def _parameter(text: str) -> Parameter:
    found = re.fullmatch(r"(\*{0,2}\w*)\s*(?::.*?)?(?:\s*=\s*(?P<default>.*))?", text, re.DOTALL)
    if found is None:
        raise ValueError(f"expected a parameter, got {text!r}")
    return Parameter(found[1], found["default"])


def _closing(text: str) -> int:
    """Where the bracket ends that the text begins with."""
    for at, depth in _depths(text):
        if depth == 0:
            return at
    raise ValueError(f"expected a closing bracket in {text!r}")


def _split(text: str) -> Iterator[str]:
    """The parts between commas that no bracket is open around."""
    start = 0
    for at, depth in _depths(text):
        if depth == 0 and text[at] == ",":
            yield text[start:at]
            start = at + 1
    yield text[start:]


def _depths(text: str) -> Iterator[tuple[int, int]]:
    """Each place outside of quotes, and how many brackets are open after it."""
    depth, quote = 0, ""
    for at, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
            continue
        if letter in "'\"":
            quote = letter
        elif letter in "([{<":
            depth += 1
        elif letter in ")]}" or (letter == ">" and not text[:at].endswith("-")):
            depth -= 1
        yield at, depth


# ------------------------------------------------------------------ comparing with what is installed
def differences(modules: Listed) -> list[str]:
    """What is not there, or not as it is listed; nothing if all that was written against the list goes on to run."""
    return [line for module in modules for line in _of_module(module)]


def _of_module(module: Module) -> Iterator[str]:
    try:
        there = importlib.import_module(module.name)
    except ImportError as error:
        yield f"{module.name}: cannot be imported: {error}"
        return
    for name in module.names:
        if not hasattr(there, name):
            yield f"{module.name}.{name}: is not there"
    for function in module.functions:
        yield from _of_callable(f"{module.name}.{function.name}", getattr(there, function.name, None), function)
    for kind in module.kinds:
        yield from _of_kind(module.name, getattr(there, kind.name, None), kind)


def _of_kind(module: str, there: Any, kind: Kind) -> Iterator[str]:
    home = f"{module}.{kind.name}"
    if not isinstance(there, type):
        yield f"{home}: is not there"
        return
    ancestors = {each.__name__ for each in there.__mro__} | {"ABC", "Protocol"}
    for base in kind.bases:
        if base not in ancestors:
            yield f"{home}: does not inherit from {base}"
    for name, settable in kind.properties:
        value = inspect.getattr_static(there, name, None)
        if value is None:
            yield f"{home}.{name}: is not there"
        elif inspect.isroutine(value):
            yield f"{home}.{name}: is a method, not a property"
        elif settable and isinstance(value, property) and value.fset is None:
            yield f"{home}.{name}: cannot be set"
    for method in kind.methods:
        if method.name == "__init__" and "Protocol" in kind.bases:
            continue  # what typing gives each of them
        yield from _of_callable(f"{home}.{method.name}", _bound(there, method.name), method, bound=True)


def _bound(kind: type, name: str) -> Any:
    """The method as an instance has it, for its signature."""
    raw = inspect.getattr_static(kind, name, None)
    return getattr(kind, name) if isinstance(raw, (classmethod, staticmethod)) else raw


def _of_callable(home: str, there: Any, wanted: Callable, *, bound: bool = False) -> Iterator[str]:
    if not callable(there):
        yield f"{home}: is not there"
        return
    try:
        parameters = list(inspect.signature(there).parameters.values())
    except (TypeError, ValueError):
        yield f"{home}: has no signature"
        return
    if bound and not inspect.ismethod(there) and parameters and parameters[0].name in {"self", "cls", "/"}:
        del parameters[0]
    yield from _of_parameters(home, parameters, wanted)


def _of_parameters(home: str, parameters: list[inspect.Parameter], wanted: Callable) -> Iterator[str]:
    by_name = {each.name: each for each in parameters}
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
    keyword_only = False
    for place, parameter in enumerate(wanted.parameters):
        name = parameter.name.lstrip("*")
        if parameter.name.startswith("**"):
            if not takes_any:
                yield f"{home}: takes no {parameter.name}"
            continue
        if parameter.name.startswith("*"):
            keyword_only = True
            continue
        mine = by_name.get(name)
        if mine is None:
            yield f"{home}: has no parameter {name}"
            continue
        if not keyword_only and (
            place >= len(parameters)
            or parameters[place].name != name
            or mine.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD
        ):
            yield f"{home}: {name} is not at place {place + 1}, or not by place and by name"
        yield from _of_default(home, mine, parameter)
    listed = {each.name.lstrip("*") for each in wanted.parameters}
    for mine in parameters:
        variadic = mine.kind in {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
        if mine.name not in listed and not variadic and mine.default is inspect.Parameter.empty:
            yield f"{home}: {mine.name} is new and has to be given"


def _of_default(home: str, mine: inspect.Parameter, wanted: Parameter) -> Iterator[str]:
    if wanted.default is None:
        return
    if mine.default is inspect.Parameter.empty:
        yield f"{home}: {mine.name} has no default, expected {wanted.default}"
        return
    expected = _value(wanted.default)
    if expected is not _UNKNOWN and mine.default != expected:
        yield f"{home}: {mine.name} is {mine.default!r} by default, expected {wanted.default}"


def _value(source: str) -> Any:
    """What a default is; of one that has no literal, such as a class, it is enough that there is one."""
    try:
        return ast.literal_eval(source)
    except (SyntaxError, ValueError):
        return _UNKNOWN
