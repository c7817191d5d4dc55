"""docs/reference/: what the docstrings of the public names say, as Markdown.

    python -m tests.project.reference

Names come from ``__all__`` of each package, signatures and docstrings from its source and, for what is compiled, from
the stub: both are read and not run, so that a signature is printed as it is written, whatever the interpreter.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.project.documents import ROOT

FOLDER = ROOT / "docs" / "reference"
PACKAGES = ("gds_metrics", "gds_kafka", "gds_vault", "gds_database", "gds_store", "gds_alerting")
# Modules that a user imports by name beside the package.
MODULES = {
    "gds_kafka": ("gds_kafka.testing",),
    "gds_vault": ("gds_vault.testing",),
    "gds_database": ("gds_database.control", "gds_database.testing"),
}

WIDTH = 120
SECTIONS = ("Args", "Attributes", "Example", "Examples", "Raises", "Returns", "Yields")
SECTION = re.compile(rf"^({'|'.join(SECTIONS)}):$")
ENTRY = re.compile(r"^(\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*)(?: \([^)]*\))?:(?: (.*))?$")

Function = ast.FunctionDef | ast.AsyncFunctionDef


# ------------------------------------------------------------------ finding what is documented
@dataclass
class Module:
    """The top level of a source file."""

    names: dict[str, ast.stmt] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str) -> Module:
        """The module's source, or its stub where it is compiled."""
        path = Path(inspect.getfile(importlib.import_module(name)))
        if path.suffix != ".py":
            path = path.with_name(path.name.partition(".")[0] + ".pyi")
        found = cls()
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                found.names[node.name] = node
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.names[node.target.id] = node
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found.names[node.targets[0].id] = node
        return found


class Sources:
    """Every module that was needed so far."""

    def __init__(self) -> None:
        self._modules: dict[str, Module] = {}

    def find(self, value: Any, name: str) -> ast.stmt | None:
        """Where a class or a function is defined; the name of a compiled one may differ from the public one."""
        home = getattr(value, "__module__", None)
        if not isinstance(home, str) or not home.startswith("gds_"):
            return None
        defined = getattr(value, "__name__", name)
        for candidate in (home, "gds_native._lib"):
            if candidate not in self._modules:
                self._modules[candidate] = Module.read(candidate)
            names = self._modules[candidate].names
            if defined in names or name in names:
                return names.get(defined, names.get(name))
        return None

    def classes(self, kind: type) -> Iterator[ast.ClassDef]:
        """The class and those it inherits from, as far as they are of this project."""
        for each in kind.__mro__:
            node = self.find(each, each.__name__)
            if isinstance(node, ast.ClassDef):
                yield node


# ------------------------------------------------------------------ a docstring as Markdown
def markdown(docstring: str | None) -> str:
    """The text, with its sections as lists."""
    lines: list[str] = []
    section = ""
    for line in inspect.cleandoc(docstring or "").splitlines():
        if found := SECTION.match(line):
            section = found[1]
            lines += [f"*{section}:*", ""]
        elif section and line and not line.startswith(" "):
            section = ""
            lines.append(line)
        elif section in {"Args", "Attributes", "Raises"}:
            lines += entry(line[4:])
        else:
            lines.append(line[4:] if section in {"Returns", "Yields"} else line)
    return "\n".join(lines).strip()


def entry(line: str) -> list[str]:
    """A line of a list of names: the start of an item, or more of one."""
    if not line.startswith(" ") and (found := ENTRY.match(line)):
        return [f"- `{found[1]}`: {found[2] or ''}".rstrip()]
    return ["  " + line.strip()] if line.strip() else [""]


# ------------------------------------------------------------------ one name
def signature(name: str, node: Function, *, method: bool) -> str:
    """As it is written, in one line or one argument a line."""
    arguments = node.args
    static = any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in node.decorator_list)
    if method and not static:
        for ours in (arguments.posonlyargs, arguments.args):
            if ours:
                del ours[0]
                break
    parts = [spaced(part) for part in split(ast.unparse(arguments).removeprefix("/, ")) if part]
    result = "" if node.returns is None or node.name == "__init__" else f" -> {ast.unparse(node.returns)}"
    head = "async def " if isinstance(node, ast.AsyncFunctionDef) else ""
    line = f"{head}{name}({', '.join(parts)}){result}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{head}{name}(", *(f"    {part}," for part in parts), f"){result}"])


def split(arguments: str) -> list[str]:
    """The arguments one by one: at commas that no bracket or quote is open around."""
    parts, depth, quote, start = [], 0, "", 0
    for index, character in enumerate(arguments):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(arguments[start:index].strip())
            start = index + 1
    return [*parts, arguments[start:].strip()]


def spaced(argument: str) -> str:
    """With spaces around the default of an annotated argument, as it is written in source."""
    name, equals, default = argument.partition("=")
    return f"{name} = {default}" if equals and ": " in name else argument


def code(text: str) -> str:
    return f"```text\n{text}\n```"


def is_property(node: Function) -> bool:
    return any(
        isinstance(each, ast.Name) and each.id in {"property", "cached_property"} for each in node.decorator_list
    )


def members(classes: list[ast.ClassDef]) -> dict[str, list[Function]]:
    """Public methods and properties: each where it is defined, then where it is inherited from."""
    found: dict[str, list[Function]] = {}
    for node in classes:
        # By name, so that of a property's pair and of overloads there is one.
        here: dict[str, Function] = {}
        for each in node.body:
            if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)) and not each.name.startswith("_"):
                here.setdefault(each.name, each)
        for name, each in here.items():
            found.setdefault(name, []).append(each)
    return found


def constructor(name: str, classes: list[ast.ClassDef]) -> str:
    for node in classes:
        for each in node.body:
            if isinstance(each, ast.FunctionDef) and each.name in {"__init__", "__new__"}:
                return code(signature(name, each, method=True))
        fields = [each for each in node.body if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)]
        if fields and any("dataclass" in ast.unparse(each) for each in node.decorator_list):
            made = [ast.unparse(each) for each in fields if not ast.unparse(each.annotation).startswith("ClassVar")]
            return code(shortened(name, [re.sub(r" = field\(repr=False\)$", "", each) for each in made]))
    return ""


def shortened(name: str, parts: list[str]) -> str:
    line = f"{name}({', '.join(parts)})"
    return line if len(line) <= WIDTH else "\n".join([f"{name}(", *(f"    {part}," for part in parts), ")"])


def documented(sources: Sources, name: str, value: Any) -> str:
    """The part of a name."""
    node = sources.find(value, name)
    parts = [f"## {name}"]
    if inspect.isclass(value):
        classes = list(sources.classes(value))
        bases = ", ".join(f"`{base.__name__}`" for base in value.__bases__ if not base.__name__.startswith("_"))
        if issubclass(value, Exception):
            parts.append(f"An exception; also {bases}.")
        else:
            parts.append(constructor(name, classes))
        parts.append(markdown(next((text for each in classes if (text := ast.get_docstring(each))), value.__doc__)))
        for member, nodes in members(classes).items():
            parts += method(member, nodes)
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        parts += [code(signature(name, node, method=False)), markdown(ast.get_docstring(node))]
    else:
        parts.append(markdown(inspect.getdoc(value)) if callable(value) else code(f"{name} = {value!r}"))
    return "\n\n".join(part for part in parts if part)


def method(name: str, nodes: list[Function]) -> list[str]:
    text = markdown(next((text for node in nodes if (text := ast.get_docstring(node))), None))
    if is_property(nodes[0]):
        kind = "" if nodes[0].returns is None else f": {ast.unparse(nodes[0].returns)}"
        return [f"### {name}", code(f"{name}{kind}"), text]
    return [f"### {name}", code(signature(name, nodes[0], method=True)), text]


# ------------------------------------------------------------------ one package
def page(package: str) -> str:
    """The document of a package."""
    sources = Sources()
    parts = []
    for name in (package, *MODULES.get(package, ())):
        module = importlib.import_module(name)
        parts += [f"# {name}", markdown(module.__doc__)]
        parts += [
            documented(sources, each, getattr(module, each)) for each in sorted(module.__all__) if each != "__version__"
        ]
    made = "<!-- Made from the docstrings by `make reference`. Change those. -->"
    return textwrap.dedent(made) + "\n\n" + "\n\n".join(part for part in parts if part) + "\n"


def main() -> None:
    """Write each page anew."""
    FOLDER.mkdir(exist_ok=True)
    for package in PACKAGES:
        (FOLDER / f"{package}.md").write_text(page(package), "utf-8")
        print(f"docs/reference/{package}.md")


if __name__ == "__main__":
    main()
