"""Statements that are no queries: transactions, settings of the session, databases, logins, sessions, groups.

The grammar is that of SQL Server as far as it goes: what may only be a constant there may only be one here, and what
may not run inside a transaction does not. A word that is not expected is a syntax error, never skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import query
from .databases import Databases
from .errors import SqlError
from .logins import Logins
from .reading import STARTS
from .server import ServerWide
from .tokens import Token, tokens_of
from .wire import Result

_OPENS_TRANSACTION = {
    *("ALTER", "CREATE", "DELETE", "DROP", "GRANT", "INSERT", "REVOKE", "SELECT", "TRUNCATE", "UPDATE", "WITH"),
}


class Batch(Databases, Logins, ServerWide):
    """The statements of one batch or call, run in order."""

    def run(self) -> Iterator[Result]:
        """The result of each statement, as it ends."""
        while True:
            self.tokens.skip_separators()
            if self.tokens.is_done:
                return
            result = self._statement()
            if result is not None:
                yield result

    def _statement(self) -> Result | None:
        first = self.tokens.peek()
        assert first is not None
        word = first.value.upper() if first.kind == "word" else ""
        self.session.command = word
        self._open_transaction(word)
        special = self._STATEMENTS.get(word)
        made = special(self) if special is not None else NotImplemented
        if made is NotImplemented:
            if word not in STARTS:
                return self._implied_call(first)
            return query.run(self.session, self.tokens.rest_of_statement(), self.parameters)
        result: Result | None = made
        return result

    def _open_transaction(self, word: str) -> None:
        session = self.session
        if not session.implicit_transactions or session.transactions or word not in _OPENS_TRANSACTION:
            return
        reads_nothing = word == "SELECT" and not any(token.is_word("FROM") for token in tokens_of(self.tokens.sql))
        if not reads_nothing:
            session.begin()

    def _implied_call(self, first: Token) -> Result | None:
        """The first statement of a batch may be a procedure without EXEC."""
        if first.kind in ("word", "name") and first.start == 0:
            return self._call()
        raise SqlError(102, f"Incorrect syntax near '{first.value}'.", 15)

    def _create(self) -> Any:
        words = self._second_word()
        made = {"DATABASE": self._create_database, "LOGIN": self._create_login, "USER": self._create_user}.get(words)
        return made() if made is not None else NotImplemented

    def _drop(self) -> Any:
        second = self._second_word()
        made = {"DATABASE": self._drop_database, "LOGIN": self._drop_login, "USER": self._drop_user}.get(second)
        return made() if made is not None else NotImplemented

    def _alter(self) -> Any:
        second = self._second_word()
        made = {
            "DATABASE": self._alter_database,
            "LOGIN": self._alter_login,
            "SERVER": self._alter_server_role,
            "ROLE": self._alter_role,
            "AVAILABILITY": self._alter_group,
            "AUTHORIZATION": self._alter_authorization,
        }.get(second)
        return made() if made is not None else NotImplemented

    def _begin(self) -> Result:
        self.tokens.next()
        if not (self.tokens.take_words("TRAN") or self.tokens.take_words("TRANSACTION")):
            raise SqlError(102, "Incorrect syntax near 'BEGIN'.", 15)
        self.session.begin()
        return Result()

    def _commit(self) -> Result:
        self._end_of_transaction()
        if not self.session.transactions:
            raise SqlError(3902, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.")
        self.session.commit()
        return Result()

    def _rollback(self) -> Result:
        self._end_of_transaction()
        if not self.session.transactions:
            raise SqlError(3903, "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.")
        self.session.rollback()
        return Result()

    def _end_of_transaction(self) -> None:
        self.tokens.next()
        if not (self.tokens.take_words("TRAN") or self.tokens.take_words("TRANSACTION")):
            self.tokens.take_words("WORK")

    def _if(self) -> Result | None:
        self.tokens.next()
        start, depth = self.tokens.peek(), 0
        end = start
        while (token := self.tokens.peek()) is not None:
            depth += {"(": 1, ")": -1}.get(token.value, 0) if token.kind == "mark" else 0
            if depth == 0 and token.kind == "word" and token.value.upper() in STARTS:
                break
            end = self.tokens.next()
        assert start is not None
        assert end is not None
        condition = self.tokens.sql[start.start : end.end]
        answer = query.run(self.session, f"SELECT CASE WHEN {condition} THEN 1 ELSE 0 END AS c", self.parameters)
        if answer.rows[0][0]:
            return self._statement()
        self.tokens.rest_of_statement()
        return None

    def _set(self) -> Result:
        self.tokens.next()
        if self.tokens.take_words("LOCK_TIMEOUT"):
            self.session.lock_timeout = int(self.value())
        elif self.tokens.take_words("DEADLOCK_PRIORITY"):
            word = self.tokens.next()
            self.session.deadlock_priority = {"LOW": -5, "NORMAL": 0, "HIGH": 5}.get(word.value.upper(), 0)
        elif self.tokens.take_words("IMPLICIT_TRANSACTIONS"):
            self.session.implicit_transactions = self.tokens.next().is_word("ON")
        elif self.tokens.take_words("XACT_ABORT"):
            self.session.rolls_back_on_error = self.tokens.next().is_word("ON")
        elif self.tokens.take_words("TRANSACTION", "ISOLATION", "LEVEL"):
            self.tokens.next()
            for second in ("COMMITTED", "UNCOMMITTED", "READ"):
                self.tokens.take_words(second)
        else:
            self._option()
        return Result()

    def _option(self) -> None:
        """An option that changes nothing here: names, then ON, OFF or a constant."""
        self.tokens.name()
        while self.tokens.take_mark(","):
            self.tokens.name()
        token = self.tokens.peek()
        if (token is not None and token.is_word("ON", "OFF")) or (token is not None and token.kind == "word"):
            self.tokens.next()
        else:
            self._constant()

    def _use(self) -> Result:
        self.tokens.next()
        self.session.use(self.instance.database(self.tokens.name()))
        return Result()

    def _wait_for(self) -> Result:
        self.tokens.next()
        self.tokens.expect_words("DELAY")
        hours, minutes, seconds = str(self.value()).split(":")
        self.session.wait((int(hours) * 60 + int(minutes)) * 60 + float(seconds), "WAITFOR")
        return Result()

    def _print(self) -> Result:
        self.tokens.next()
        return Result(messages=[str(self.value())])

    def _raise(self) -> Result:
        self.tokens.next()
        self.tokens.expect_mark("(")
        text, severity, state = self._constant(), 16, 1
        if self.tokens.take_mark(","):
            severity = self._constant()
        if self.tokens.take_mark(","):
            state = self._constant()
        self.tokens.expect_mark(")")
        if severity <= 10:
            return Result(messages=[str(text)])
        raise SqlError(50000, str(text), severity, state)

    _STATEMENTS: Mapping[str, Callable[[Batch], Any]] = {
        "ALTER": _alter,
        "BACKUP": Databases._backup,
        "BEGIN": _begin,
        "COMMIT": _commit,
        "CREATE": _create,
        "DROP": _drop,
        "EXEC": ServerWide._call,
        "EXECUTE": ServerWide._call,
        "GRANT": Logins._grant,
        "IF": _if,
        "KILL": ServerWide._kill,
        "PRINT": _print,
        "RAISERROR": _raise,
        "RECONFIGURE": ServerWide._reconfigure,
        "RESTORE": Databases._restore,
        "REVOKE": Logins._grant,
        "ROLLBACK": _rollback,
        "SET": _set,
        "SHUTDOWN": ServerWide._shutdown,
        "USE": _use,
        "WAITFOR": _wait_for,
    }
