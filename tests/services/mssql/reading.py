"""The words that statements are read with, and what many of them look up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .errors import SqlError, said
from .instance import Database, Principal
from .tokens import Tokens
from .wire import Result

if TYPE_CHECKING:
    from .session import Session

STARTS = {
    *("ALTER", "BACKUP", "BEGIN", "COMMIT", "CREATE", "DELETE", "DENY", "DROP", "EXEC", "EXECUTE", "GRANT", "IF"),
    *("INSERT", "KILL", "PRINT", "RAISERROR", "RECONFIGURE", "RESTORE", "REVOKE", "ROLLBACK", "SELECT", "SET"),
    *("SHUTDOWN", "TRUNCATE", "UPDATE", "USE", "WAITFOR", "WITH"),
}


class Reading:
    """The statements of one batch or call, as tokens."""

    def __init__(self, session: Session, sql: str, parameters: Mapping[str, Any]) -> None:
        self.session = session
        self.instance = session.instance
        self.tokens = Tokens(sql)
        self.parameters = parameters

    def run(self) -> Iterator[Result]:
        """The result of each statement, as it ends."""
        raise NotImplementedError

    def _constant(self) -> Any:
        """A constant, or NULL. What takes no variable asks for this."""
        negative = self.tokens.take_mark("-")
        token = self.tokens.next()
        if token.kind == "number":
            number = float(token.value) if "." in token.value else int(token.value)
            return -number if negative else number
        if token.kind == "string" and not negative:
            return token.value
        if token.kind == "hex" and not negative:
            return bytes.fromhex(token.value[2:])
        if token.is_word("NULL", "DEFAULT"):
            return None
        raise SqlError(102, f"Incorrect syntax near '{token.value}'.", 15)

    def value(self) -> Any:
        """A constant or a variable."""
        token = self.tokens.peek()
        if token is not None and token.kind == "variable":
            self.tokens.next()
            return self._variable(token.value)
        return self._constant()

    def _variable(self, name: str) -> Any:
        for given, value in self.parameters.items():
            if given.lower() == name.lower():
                return value
        raise SqlError(137, f'Must declare the scalar variable "{name}".', 15, 2)

    def database_name(self) -> str:
        """A name, or a variable that holds one."""
        token = self.tokens.peek()
        return str(self.value()) if token is not None and token.kind == "variable" else self.tokens.name()

    def _second_word(self) -> str:
        second = self.tokens.peek(1)
        return second.value.upper() if second is not None else ""

    def expect_end(self) -> None:
        token = self.tokens.peek()
        if (
            not self.tokens.ends_statement
            and token is not None
            and not (token.kind == "word" and token.value.upper() in STARTS)
        ):
            raise SqlError(102, f"Incorrect syntax near '{token.value}'.", 15)

    def _no_transaction(self, words: str, number: int = 226) -> None:
        if self.session.transactions:
            raise SqlError(number, f"{words} statement not allowed within multi-statement transaction.", 16, 6)

    def _need(self, permission: str, _words: str, refused: SqlError) -> None:
        if not self.instance.may(self.session.login, permission, "CONTROL SERVER"):
            raise refused

    def _existing(self, name: str) -> Database:
        found = self.instance.databases.get(name.lower())
        if found is None:
            raise said(5011, name)
        return found

    def _existing_login(self, name: str) -> Principal:
        found = self.instance.logins.get(name.lower())
        if found is None:
            raise SqlError(
                15151, f"Cannot find the login '{name}', because it does not exist or you do not have permission."
            )
        return found
