"""T-SQL as tokens: enough to split a batch into statements and to read those that are no queries."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .errors import SqlError

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*|/\*.*?\*/)
  | (?P<string>[Nn]?'(?:[^']|'')*')
  | (?P<name>\[(?:[^\]]|\]\])*\]|"(?:[^"]|"")*")
  | (?P<hex>0[xX][0-9a-fA-F]*)
  | (?P<number>\d+(?:\.\d*)?)
  | (?P<word>[^\W\d][\w$#]*|\#+\w+)
  | (?P<variable>@@?\w+)
  | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_LONGEST_NAME = 128


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its kind, its meaning without quotes, and where it stands."""

    kind: str
    value: str
    start: int
    end: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.value.upper() in words


def tokens_of(sql: str) -> list[Token]:
    """The tokens of a batch, without spaces and comments."""
    found = []
    for match in _TOKEN.finditer(sql):
        kind = str(match.lastgroup)
        if kind != "space":
            found.append(Token(kind, _meaning(kind, match[0]), match.start(), match.end()))
    return found


def _meaning(kind: str, text: str) -> str:
    if kind == "string":
        return text[text.index("'") + 1 : -1].replace("''", "'")
    if kind == "name":
        inner = text[1:-1].replace("]]", "]") if text[0] == "[" else text[1:-1].replace('""', '"')
        if not inner or len(inner.encode("utf-16-le")) > 2 * _LONGEST_NAME:
            raise SqlError(
                1038 if not inner else 103,
                "An object or column name is missing or empty."
                if not inner
                else f"The identifier that starts with '{inner[:100]}' is too long. Maximum length is {_LONGEST_NAME}.",
                15,
                4,
            )
        return inner
    return text


class Tokens:
    """Tokens read one after the other, with the errors of SQL Server where they are not what has to follow."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self._all = tokens_of(sql)
        self._at = 0

    @property
    def is_done(self) -> bool:
        return self._at >= len(self._all)

    @property
    def ends_statement(self) -> bool:
        """Whether nothing more of this statement follows."""
        return self.is_done or (self._all[self._at].value == ";" and self._all[self._at].kind == "mark")

    def peek(self, ahead: int = 0) -> Token | None:
        at = self._at + ahead
        return self._all[at] if at < len(self._all) else None

    def next(self) -> Token:
        if self.is_done:
            raise SqlError(102, f"Incorrect syntax near '{self._all[-1].value if self._all else ''}'.", 15)
        self._at += 1
        return self._all[self._at - 1]

    def skip_separators(self) -> None:
        while not self.is_done and self._all[self._at].value == ";" and self._all[self._at].kind == "mark":
            self._at += 1

    def at_words(self, *words: str) -> bool:
        """Whether these words follow; they are not taken."""
        return all((token := self.peek(ahead)) is not None and token.is_word(word) for ahead, word in enumerate(words))

    def take_words(self, *words: str) -> bool:
        """Take these words if they follow, all or none."""
        if self.at_words(*words):
            self._at += len(words)
            return True
        return False

    def take_mark(self, mark: str) -> bool:
        token = self.peek()
        if token is not None and token.kind == "mark" and token.value == mark:
            self._at += 1
            return True
        return False

    def expect_words(self, *words: str) -> None:
        for word in words:
            self.expect(lambda token, word=word: token.is_word(word))  # type: ignore[misc]

    def expect_mark(self, mark: str) -> None:
        self.expect(lambda token: token.kind == "mark" and token.value == mark)

    def expect(self, fits: Callable[[Token], bool]) -> Token:
        token = self.next()
        if not fits(token):
            raise SqlError(102, f"Incorrect syntax near '{token.value}'.", 15)
        return token

    def name(self) -> str:
        """An identifier, in brackets, in quotes or bare."""
        return self.expect(lambda token: token.kind in ("name", "word")).value

    def dotted_name(self) -> list[str]:
        parts = [self.name()]
        while self.take_mark("."):
            parts.append(self.name())
        return parts

    def rest_of_statement(self) -> str:
        """The text until the semicolon that ends the statement, or the end."""
        start, depth, end = self.peek(), 0, 0
        while (token := self.peek()) is not None and not (depth == 0 and token.kind == "mark" and token.value == ";"):
            depth += {"(": 1, ")": -1}.get(token.value, 0) if token.kind == "mark" else 0
            end = token.end
            self._at += 1
        return self.sql[start.start : end] if start is not None else ""
