"""One connection: its encryption, its login, its messages, and what it waits for."""

from __future__ import annotations

import datetime as dt
import os
import socket
import ssl
import struct
import time
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import wire
from .errors import SqlError, said
from .instance import Database, Fault, Instance, Principal, hashed
from .statements import Batch
from .transport import Closed, Transport
from .wire import Result

_POLL_SECONDS = 0.02


class Cancelled(Exception):
    """The client has sent an attention."""


class Session:
    """One session of the instance."""

    def __init__(self, instance: Instance, connection: socket.socket, tls: ssl.SSLContext | None) -> None:
        self.instance = instance
        self.transport = Transport(connection)
        self.client_port = connection.getpeername()[1]
        self._tls = tls
        self.spid = 0
        self.login = Principal("", 0, "S", instance.now())
        self.database = instance.databases["master"]
        self.connected = instance.now()
        self.host = self.program = self.library = ""
        self.process_id = 0
        self.is_encrypted = False
        self.handle = os.urandom(24)
        self.text = self.command = ""
        self.cursor = instance.duck.cursor()
        self.transactions = 0
        self.transaction_began: dt.datetime | None = None
        self.implicit_transactions = False
        self.lock_timeout = -1
        self.rolls_back_on_error = False
        self.deadlock_priority = 0
        self.running_since: dt.datetime | None = None
        self.last_end: dt.datetime | None = None
        self.wait_type: str | None = None
        self.wait_resource = ""
        self.waiting_since = 0.0
        self.blocker = 0
        self._ended = False
        self._prepared: dict[int, tuple[str, str]] = {}
        self._pending_environment: list[bytes] = []

    # -------------------------------------------------------------- the life of a connection
    def serve(self) -> None:
        """Until either side ends it."""
        try:
            if self._log_in():
                while True:
                    self._one_message()
        except (Closed, OSError):
            pass
        finally:
            self._leave()

    def _leave(self) -> None:
        with self.instance.changed:
            self.instance.sessions.pop(self.spid, None)
            for name, owner in list(self.instance.locks.items()):
                if owner == self.spid:
                    del self.instance.locks[name]
            self.instance.changed.notify_all()
        if self.transactions:
            self.cursor.rollback()
        self.cursor.close()
        self.transport.socket.close()

    def end_by_force(self) -> None:
        """KILL: whatever it does ends, and its connection with it."""
        self._ended = True
        # What it waits in wakes up; its own thread cleans up.
        self.transport.socket.shutdown(socket.SHUT_RDWR)

    def shut_down(self) -> None:
        """SHUTDOWN: the process ends once this answer is sent."""
        os.kill(os.getpid(), 15)

    def _log_in(self) -> bool:
        first = self.transport.socket.recv(1, socket.MSG_PEEK)
        if first == b"\x16" and self._tls is not None:
            self.transport.start_tls(self._tls, in_packets=False)
        kind, body = self.transport.message()
        version = (self.instance.version, int(self.instance.build.split(".")[2]))
        encryption = wire.ENCRYPT_NOTHING
        if kind == wire.PRELOGIN:
            if not self.transport.is_encrypted:
                encryption = self._agreed(wire.read_prelogin_encryption(body))
            self.transport.write(wire.packets(wire.ANSWER, wire.prelogin(version, encryption)))
            if self._tls is not None and encryption in (wire.ENCRYPT_ALL, wire.ENCRYPT_LOGIN):
                self.transport.start_tls(self._tls, in_packets=True)
            kind, body = self.transport.message()
        if kind != wire.LOGIN:
            return False
        self.is_encrypted = self.transport.is_encrypted and encryption != wire.ENCRYPT_LOGIN
        if encryption == wire.ENCRYPT_LOGIN:
            self.transport.stop_tls()
        try:
            self._accept(wire.read_login(body))
        except SqlError as error:
            self._say(wire.error(error, self.instance.name) + wire.done(failed=True))
            self.instance.write_log(
                "Logon", f"Error: {error.number}, Severity: {error.severity}, State: {error.state}."
            )
            self.instance.write_log("Logon", f"{error.text} [CLIENT: 127.0.0.1]")
            return False
        self._say(wire.login_accepted(version, self.database.name) + wire.done())
        return True

    def _agreed(self, asked: int) -> int:
        if self._tls is None or asked == wire.ENCRYPT_NOTHING:
            return wire.ENCRYPT_NOTHING
        return wire.ENCRYPT_LOGIN if asked == wire.ENCRYPT_LOGIN else wire.ENCRYPT_ALL

    def _accept(self, given: wire.Login) -> None:
        self.host, self.program, self.library, self.process_id = (
            given.host,
            given.program,
            given.library,
            given.process_id,
        )
        with self.instance.lock:
            login = self.instance.logins.get(given.user.lower())
            if login is None or login.kind != "S" or not _is_password(login.password_hash, given.password):
                raise SqlError(18456, f"Login failed for user '{given.user}'.", 14)
            if login.is_disabled:
                raise SqlError(18470, f"Login failed for user '{login.name}'. Reason: The account is disabled.", 14)
            most = self.instance.settings["user connections"].in_use
            if most and len(self.instance.sessions) >= most:
                raise said(17809, most)
            wanted = given.database or login.default_database
            found = self.instance.databases.get(wanted.lower())
            if found is None or found.state != "ONLINE":
                raise SqlError(4060, f'Cannot open database "{wanted}" requested by the login. The login failed.', 11)
            self.login, self.database = login, found
            self.spid = next(number for number in range(51, 32767) if number not in self.instance.sessions)
            self.cursor.execute(f"USE {found.store}.dbo")
            self.instance.sessions[self.spid] = self

    # -------------------------------------------------------------- messages
    def _say(self, data: bytes) -> None:
        self.transport.write(wire.packets(wire.ANSWER, data))

    def _one_message(self) -> None:
        kind, body = self.transport.message()
        if kind == wire.ATTENTION:
            self._say(wire.done(attention=True))
            return
        self.running_since = self.instance.now()
        try:
            if kind == wire.BATCH:
                self._answer_batch(wire.without_headers(body).decode("utf-16-le"))
            elif kind == wire.CALL:
                self._answer_call(wire.read_call(wire.without_headers(body)))
            elif kind == wire.TRANSACTION:
                self._say(self._transaction(wire.Reader(wire.without_headers(body))))
            else:
                raise Closed
        except SqlError as error:
            end = 0xFE if kind == wire.CALL else 0xFD
            self._say(wire.error(error, self.instance.name) + wire.done(token=end, failed=True))
        except Cancelled:
            self._say(wire.done(attention=True))
        except Closed:
            raise
        except Exception as defect:
            # Of this server, not of who asked: shown in its log, and to who asked.
            traceback.print_exc()
            failed = SqlError(3624, f"A system assertion check has failed: {defect!r}", 20)
            self._say(
                wire.error(failed, self.instance.name)
                + wire.done(token=0xFE if kind == wire.CALL else 0xFD, failed=True)
            )
        finally:
            self.running_since, self.last_end = None, self.instance.now()
            self.wait_type, self.blocker = None, 0

    def _answer_batch(self, sql: str) -> None:
        self._say(b"".join(self._answered(self._run(sql, {}), 0xFD, 0xFD)))

    def _answered(self, results: Iterator[Result], each: int, last: int, tail: bytes = b"") -> Iterator[bytes]:
        """The tokens of all results. An error ends the batch, after what was answered before it."""
        previous: Result | None = None
        try:
            for result in results:
                if previous is not None:
                    yield self._encoded(previous, wire.done(token=each, more=True, rows=_count(previous)))
                previous = result
        except SqlError as error:
            if self.rolls_back_on_error and self.transactions:
                self.rollback()
            if previous is not None:
                yield self._encoded(previous, wire.done(token=each, more=True, rows=_count(previous)))
            yield wire.error(error, self.instance.name) + wire.done(token=last, failed=True)
            return
        if previous is None or each != last:
            if previous is not None:
                yield self._encoded(previous, wire.done(token=each, more=True, rows=_count(previous)))
            yield b"".join(self._environment()) + tail + wire.done(token=last)
        else:
            yield self._encoded(previous, tail + wire.done(token=last, rows=_count(previous)))

    def _encoded(self, result: Result, end: bytes) -> bytes:
        messages = b"".join(
            wire.information(text, self.instance.name, 5701 if text.startswith("Changed") else 0)
            for text in result.messages
        )
        rows = b"".join(wire.result_set(result)) if result.columns else b""
        return b"".join(self._environment()) + messages + rows + end

    def _environment(self) -> Iterator[bytes]:
        while self._pending_environment:
            yield self._pending_environment.pop(0)

    def _run(self, sql: str, parameters: Mapping[str, Any]) -> Iterator[Result]:
        self.text = sql
        with self.instance.lock:
            self.instance.statements.append((self.spid, sql))
        shown = " ".join(sql.split())
        print(f"[{self.spid}] {shown}", *(repr(value) for value in parameters.values()), flush=True)
        for fault in [found for found in self.instance.faults if found.times > 0 and found.pattern.search(sql)]:
            self._suffer(fault)
        yield from Batch(self, sql, parameters).run()

    def _suffer(self, fault: Fault) -> None:
        fault.times -= 1
        if fault.seconds:
            self.command = self.text.split()[0].upper()
            self.wait(fault.seconds, "WAITFOR")
        if fault.hang_up:
            raise Closed
        if fault.error is not None:
            number, severity, state, text = fault.error
            raise SqlError(number, text, severity, state)

    def _answer_call(self, call: wire.Call) -> None:
        name = call.procedure.lower()
        values = [parameter.value for parameter in call.parameters]
        if name == "sp_executesql":
            self._say(
                self._executed(
                    str(values[0]), call.parameters[2:], str(values[1] or "") if len(values) > 1 else "", b""
                )
            )
        elif name in ("sp_prepare", "sp_prepexec"):
            handle = len(self._prepared) + 1
            self._prepared[handle] = (str(values[2]), str(values[1] or ""))
            tail = wire.returned("@handle", handle)
            if name == "sp_prepare":
                self._say(tail + wire.done(token=0xFE))
            else:
                self._say(
                    self._executed(*self._prepared[handle][:1], call.parameters[3:], self._prepared[handle][1], tail)
                )
        elif name == "sp_execute":
            sql, declared = self._prepared[int(values[0])]
            self._say(self._executed(sql, call.parameters[1:], declared, b""))
        elif name == "sp_unprepare":
            self._prepared.pop(int(values[0] or 0), None)
            self._say(wire.returned("", 0) + wire.done(token=0xFE))
        else:
            given = {(found.name.lower() or str(at)): found.value for at, found in enumerate(call.parameters)}
            results = iter([Batch(self, "", {}).call(name, given)])
            self._say(b"".join(self._answered(results, 0xFF, 0xFE, wire.returned("", 0))))

    def _executed(self, sql: str, given: list[wire.Parameter], declared: str, tail: bytes) -> bytes:
        names = [part.split()[0] for part in declared.split(",") if part.strip().startswith("@")]
        parameters = {(found.name or names[at]): found.value for at, found in enumerate(given)}
        return b"".join(self._answered(self._run(sql, parameters), 0xFF, 0xFE, tail or wire.returned("", 0)))

    # -------------------------------------------------------------- transactions
    def _transaction(self, reader: wire.Reader) -> bytes:
        what = reader.number("<H")
        if what == 5:
            self.begin()
        elif what in (7, 8):
            reader.text(reader.number("<B") // 2)
            again = not reader.is_done and reader.number("<B") & 1
            if self.transactions:
                (self.commit if what == 7 else self.rollback)()
            if again:
                self.begin()
        return b"".join(self._environment()) + wire.done()

    def begin(self) -> None:
        if not self.transactions:
            self.transaction_began = self.instance.now()
            self.cursor.begin()
            self._pending_environment.append(wire.environment(8, b"\x08" + struct.pack("<Q", self.spid)))
        self.transactions += 1

    def commit(self) -> None:
        self.transactions -= 1
        if not self.transactions:
            self.cursor.commit()
            self._transaction_ended(9)

    def rollback(self) -> None:
        self.transactions = 0
        self.cursor.rollback()
        self._transaction_ended(10)

    def _transaction_ended(self, kind: int) -> None:
        self.transaction_began = None
        self._pending_environment.append(wire.environment(kind, b"\0", b"\x08" + struct.pack("<Q", self.spid)))
        with self.instance.changed:
            for name in [name for name, owner in self.instance.locks.items() if owner == self.spid]:
                del self.instance.locks[name]
            self.instance.changed.notify_all()

    def lock_table(self, name: str, *, exclusive: bool) -> None:
        """Wait for whoever has changed the table; keep it, where this changes it in a transaction."""
        key = (0, name)

        def free() -> bool:
            return self.instance.locks.get(key, self.spid) == self.spid

        if not free():
            owner = self.instance.sessions.get(self.instance.locks.get(key, 0))
            self.wait_resource = f"OBJECT: {self.database.database_id}:{zlib.crc32(name.encode()) >> 1}:0 "
            self.wait_until(free, "LCK_M_X" if exclusive else "LCK_M_S", owner)
        if exclusive and self.transactions:
            with self.instance.lock:
                self.instance.locks[key] = self.spid

    # -------------------------------------------------------------- waiting
    def wait(self, seconds: float, kind: str) -> None:
        """Wait this long, unless the client or a KILL ends it."""
        self.wait_type, self.waiting_since = kind, time.monotonic()
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._pause(min(left, 0.2))
        self.wait_type = None

    def wait_until(self, ready: Callable[[], bool], kind: str, blocker: Session | None) -> None:
        """Wait for another session, as long as LOCK_TIMEOUT says."""
        self.wait_type, self.waiting_since = kind, time.monotonic()
        self.blocker = blocker.spid if blocker is not None else 0
        while not ready():
            if 0 <= self.lock_timeout <= (time.monotonic() - self.waiting_since) * 1000:
                raise SqlError(1222, "Lock request time out period exceeded.", 16, 51)
            self._pause(_POLL_SECONDS)
        self.wait_type, self.blocker = None, 0

    def _pause(self, seconds: float) -> None:
        if self.transport.can_read(seconds):
            kind, _ = self.transport.message()
            if kind == wire.ATTENTION:
                raise Cancelled
        if self._ended:
            raise Closed

    # -------------------------------------------------------------- what is asked about it
    def use(self, database: Database, *, announce: bool = True) -> None:
        if database.state != "ONLINE":
            raise SqlError(
                942, f"Database '{database.name}' cannot be opened because it is {database.state.lower()}.", 14, 4
            )
        if database.access == "SINGLE_USER" and self.instance.users_of(database, self):
            raise SqlError(924, f"Database '{database.name}' is already open and can only have one user at a time.", 14)
        old, self.database = self.database, database
        self.cursor.execute(f"USE {database.store}.dbo")
        if announce:
            self._pending_environment.append(wire.environment(1, wire.counted(database.name), wire.counted(old.name)))

    def variable(self, name: str) -> Any:
        """A function that is written like a variable."""
        found: dict[str, Any] = {
            "@@spid": self.spid,
            "@@trancount": self.transactions,
            "@@servername": self.instance.name,
            "@@lock_timeout": self.lock_timeout,
            "@@options": 5432 | 2 * self.implicit_transactions,
            "@@max_precision": 38,
            "@@microsoftversion": self.instance.version << 24,
            "@@version": f"Microsoft SQL Server {self.instance.release} (RTM) - {self.instance.build} (X64)"
            f" \n\tEmulated for tests\n\t{self.edition} on Linux",
        }
        if name not in found:
            raise SqlError(137, f'Must declare the scalar variable "{name}".', 15, 2)
        return found[name]

    @property
    def edition(self) -> str:
        return {5: "SQL Azure", 8: "SQL Azure"}.get(self.instance.engine_edition, "Developer Edition (64-bit)")

    def server_property(self, name: str) -> Any:
        """SERVERPROPERTY: NULL for what there is not."""
        put = self.instance.put_rows
        found = {
            "productversion": self.instance.build,
            "productmajorversion": str(self.instance.version),
            "productlevel": "RTM",
            "edition": self.edition,
            "engineedition": str(self.instance.engine_edition),
            "servername": self.instance.name,
            "machinename": self.instance.name.partition("\\")[0],
            "instancename": None,
            "collation": "SQL_Latin1_General_CP1_CI_AS",
            "isclustered": "0",
            "ishadrenabled": str(int("sys.availability_groups" in put)),
            "isintegratedsecurityonly": "0",
            "instancedefaultbackuppath": "/var/opt/mssql/backup",
            "instancedefaultdatapath": "/var/opt/mssql/data/",
            "instancedefaultlogpath": "/var/opt/mssql/data/",
            "processid": str(os.getpid()),
        }
        return found.get(name.lower())

    def row(self) -> dict[str, Any]:
        """Its row of sys.dm_exec_sessions."""
        return {
            "session_id": self.spid, "login_time": self.connected, "host_name": self.host, "program_name": self.program,
            "host_process_id": self.process_id, "client_interface_name": self.library, "login_name": self.login.name,
            "status": "running" if self.running_since else "sleeping", "cpu_time": 3, "memory_usage": 4,
            "total_elapsed_time": 10, "last_request_start_time": self.running_since or self.last_end or self.connected,
            "last_request_end_time": self.last_end, "reads": 0, "writes": 0, "logical_reads": 8,
            "is_user_process": True, "transaction_isolation_level": 2, "lock_timeout": self.lock_timeout,
            "deadlock_priority": self.deadlock_priority, "original_login_name": self.login.name, "group_id": 2,
            "database_id": self.database.database_id, "open_transaction_count": self.transactions,
        }  # fmt: skip

    def request_row(self) -> dict[str, Any] | None:
        """Its row of sys.dm_exec_requests, while it runs something."""
        if self.running_since is None:
            return None
        waited = int((time.monotonic() - self.waiting_since) * 1000) if self.wait_type else 0
        return {
            "session_id": self.spid, "request_id": 0, "start_time": self.running_since, "command": self.command,
            "status": "suspended" if self.wait_type else "running", "sql_handle": self.handle, "wait_time": waited,
            "statement_start_offset": 0, "statement_end_offset": -1, "database_id": self.database.database_id,
            "blocking_session_id": self.blocker, "wait_type": self.wait_type,
            "wait_resource": self.wait_resource if self.blocker else "",
            "last_wait_type": self.wait_type or "MISCELLANEOUS", "percent_complete": 0.0, "cpu_time": 1,
            "open_transaction_count": self.transactions,
            "total_elapsed_time": int((self.instance.now() - self.running_since).total_seconds() * 1000), "reads": 0,
            "writes": 0, "logical_reads": 4, "lock_timeout": self.lock_timeout,
            "deadlock_priority": self.deadlock_priority,
        }  # fmt: skip


def _is_password(kept: bytes, given: str) -> bool:
    return bool(kept) and hashed(given, kept[2:6]) == kept


def _count(result: Result) -> int | None:
    return len(result.rows) if result.columns else result.affected
