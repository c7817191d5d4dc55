"""Statements on databases."""

from __future__ import annotations

from . import backups
from .errors import SqlError
from .instance import Database
from .reading import Reading
from .wire import Result

_RECOVERY = {"FULL", "SIMPLE", "BULK_LOGGED"}


class Databases(Reading):
    """Creates, changes, drops, backs up and restores them."""

    def _create_database(self) -> Result:
        self.tokens.expect_words("CREATE", "DATABASE")
        name = self.tokens.name()
        collation = self.tokens.name() if self.tokens.take_words("COLLATE") else ""
        self.expect_end()
        self._no_transaction("CREATE DATABASE")
        self._need(
            "CREATE ANY DATABASE",
            "CREATE DATABASE",
            SqlError(262, "CREATE DATABASE permission denied in database 'master'.", 14),
        )
        with self.instance.lock:
            self.instance.create_database(name, collation)
        return Result()

    def _drop_database(self) -> Result:
        self.tokens.expect_words("DROP", "DATABASE")
        lenient = self.tokens.take_words("IF", "EXISTS")
        name = self.tokens.name()
        self.expect_end()
        self._no_transaction("DROP DATABASE")
        with self.instance.lock:
            found = self.instance.databases.get(name.lower())
            if found is None:
                if lenient:
                    return Result()
                raise SqlError(
                    3701,
                    f"Cannot drop the database '{name}', because it does not exist or you do not have permission.",
                    11,
                )
            if found.database_id <= 4:
                raise SqlError(3708, f"Cannot drop the database '{name}' because it is a system database.")
            if self.session.database is found or self.instance.users_of(found, self.session):
                raise SqlError(3702, f'Cannot drop database "{found.name}" because it is currently in use.', 16, 3)
            self.instance.drop_database(found)
        return Result()

    def _alter_database(self) -> Result:
        self.tokens.expect_words("ALTER", "DATABASE")
        found = self.session.database if self.tokens.take_words("CURRENT") else self._existing(self.tokens.name())
        self._no_transaction("ALTER DATABASE")
        self.tokens.expect_words("SET")
        with self.instance.lock:
            word = self.tokens.next().value.upper()
            if word == "RECOVERY":
                found.model = self.tokens.expect(lambda token: token.is_word(*_RECOVERY)).value.upper()
            elif word in ("SINGLE_USER", "MULTI_USER", "RESTRICTED_USER"):
                self._termination(found)
                found.access = word
                if word == "SINGLE_USER":
                    self.session.use(found, announce=False) if self.session.database is found else None
            elif word in ("OFFLINE", "ONLINE"):
                self._termination(found)
                found.state = word
            else:
                raise SqlError(102, f"Incorrect syntax near '{word}'.", 15)
        self.expect_end()
        return Result()

    def _alter_authorization(self) -> Result:
        self.tokens.expect_words("ALTER", "AUTHORIZATION", "ON", "DATABASE")
        self.tokens.expect_mark(":")
        self.tokens.expect_mark(":")
        found = self._existing(self.tokens.name())
        self.tokens.expect_words("TO")
        found.owner_sid = self._existing_login(self.tokens.name()).sid
        self.expect_end()
        return Result()

    def _termination(self, found: Database) -> None:
        users = self.instance.users_of(found, self.session)
        if self.tokens.take_words("WITH", "ROLLBACK", "IMMEDIATE"):
            for session in users:
                session.end_by_force()
                self.instance.sessions.pop(session.spid, None)
        elif self.tokens.take_words("WITH", "NO_WAIT"):
            if users:
                raise SqlError(
                    5070,
                    f"Database state cannot be changed while other users are using the database '{found.name}'",
                    16,
                    2,
                )
        elif users:
            self.session.wait_until(lambda: not self.instance.users_of(found, self.session), "LCK_M_X", users[0])

    def _backup(self) -> Result:
        return backups.backup(self)

    def _restore(self) -> Result:
        return backups.restore(self)
