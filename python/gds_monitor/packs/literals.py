"""Statements without their literals."""

from __future__ import annotations

import hashlib
import re

__all__ = ["without_literals"]

_TOKENS = re.compile(
    r"""
      (?P<drop>--[^\n]*|/\*(?:[^*]|\*(?!/))*\*/)
    | (?P<text>[eE]'(?:[^'\\]|''|\\.)*'|(?:\b[bBxXnN]|[uU]&)?'(?:[^']|'')*')
    | (?P<dollar>\$(?P<tag>[^\W\d]\w*)?\$.*?\$(?(tag)(?P=tag))\$)
    | (?P<keep>"(?:[^"]|"")*"|\[[^\]']*\]|\$\d+|@\w+|[^\W\d][\w$]*)
    | (?P<number>(?:0[xXoObB][\da-fA-F_]+|\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?)
    | (?P<open>'|"|/\*|\$\$|\$\w+\$)
    """,
    re.VERBOSE | re.DOTALL,
)


def without_literals(statement: str) -> str:
    """A statement with ``?`` for each text and number in it, and without comments.

    Servers normalise most statements themselves, but none that sets a password. What cannot be taken apart for sure is
    not shown: then it is a hash of the statement.
    """
    parts: list[str] = []
    end = 0
    for found in _TOKENS.finditer(statement):
        parts.append(statement[end : found.start()])
        end = found.end()
        kind = found.lastgroup if found.lastgroup != "tag" else "dollar"
        if kind == "open" or (kind == "text" and "\\" in found[0] and found[0][0] not in "eE"):
            # Cut off within a literal, or one whose end depends on a setting of the server.
            digest = hashlib.sha256(statement.encode("utf-8", "backslashreplace")).hexdigest()
            return f"(statement {digest[:16]})"
        parts.append({"drop": " ", "keep": found[0]}.get(kind or "", "?"))
    parts.append(statement[end:])
    return " ".join("".join(parts).split())
