"""The server, as a program of its own: fakesnow, and before it the account that it lacks.

``server.py PORT`` serves until it is terminated. Nothing of the project imports it, nor what it imports. Tests hold
statements back with a POST to ``HOLD``, and see there which are held; a held one ends with the cancel of its client,
as Snowflake ends it.
"""

from __future__ import annotations

import asyncio
import gzip
import importlib
import json
import re
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "lib"), str(HERE)]

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
QUERIES = "/queries/v1/query-request"
CANCELS = "/queries/v1/abort-request"
LOGINS = "/session/v1/login-request"
HOLD = "/of-tests/hold"


class WithAccount:
    """Changes statements on their way to fakesnow.

    Args:
        app: Fakesnow's application.
        account: What changes them.
        refused: The error that it raises.
    """

    def __init__(self, app: Any, account: Any, refused: type[Exception]) -> None:
        self._app = app
        self._account = account
        self._refused: Any = refused
        self._sessions: dict[str, tuple[str, str]] = {}
        self._hold: re.Pattern[str] | None = None
        # What is held, by the id of its request.
        self._held: dict[str, tuple[str, asyncio.Event]] = {}
        self._cancelled: list[str] = []

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http" or scope["path"] not in {LOGINS, QUERIES, CANCELS, HOLD}:
            await self._app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if (b"content-encoding", b"gzip") in scope["headers"]:
            body = gzip.decompress(body)
        told = json.loads(body)
        if scope["path"] == HOLD:
            await self._arrange(told, send)
        elif scope["path"] == CANCELS:
            await self._cancel(told["requestId"], send)
        else:
            await self._passed_on(scope, told, send)

    async def _passed_on(self, scope: Message, told: Message, send: Send) -> None:
        if self._hold is not None and self._hold.search(told.get("sqlText", "")):
            (request,) = parse_qs(scope["query_string"].decode())["requestId"]
            await self._until_cancelled(request, told["sqlText"])
            await _refuse(send, 604, "57014", "SQL execution canceled")
            return
        session: tuple[str, str] | None = None
        try:
            if scope["path"] == LOGINS:
                given, asked = told["data"], parse_qs(scope["query_string"].decode())
                user = str(given.get("LOGIN_NAME") or "DBA")
                role = self._account.log_in(user, given.get("PASSWORD") or "", asked.get("roleName", [None])[0])
                session = (role, user.upper())
            else:
                role, user = self._sessions.get(_token(scope), ("ACCOUNTADMIN", "DBA"))
                told["sqlText"] = self._account.statement(told["sqlText"], role, user)
        except self._refused as error:
            await _refuse(send, error.number, error.state, error.text)
            return
        changed = {"type": "http.request", "body": json.dumps(told).encode(), "more_body": False}
        plain = [
            (name, value) for name, value in scope["headers"] if name not in {b"content-encoding", b"content-length"}
        ]

        async def again() -> Message:
            return changed

        async def noting(answer: Message) -> None:
            if session is not None and answer["type"] == "http.response.body":
                self._sessions[json.loads(answer["body"])["data"]["token"]] = session
            await send(answer)

        await self._app({**scope, "headers": plain}, again, noting)

    async def _until_cancelled(self, request: str, statement: str) -> None:
        _, cancelled = self._held[request] = (statement, asyncio.Event())
        try:
            await cancelled.wait()
        finally:
            del self._held[request]

    async def _cancel(self, request: str, send: Send) -> None:
        """One that is not there is no error: it may have ended."""
        if request in self._held:
            statement, cancelled = self._held[request]
            self._cancelled.append(statement)
            cancelled.set()
        await _answer(send, {"data": None, "code": None, "message": None, "success": True})

    async def _arrange(self, told: Message, send: Send) -> None:
        if "pattern" in told:
            self._hold = None if told["pattern"] is None else re.compile(told["pattern"])
            self._cancelled.clear()
        held = [statement for statement, _ in self._held.values()]
        await _answer(send, {"held": held, "cancelled": self._cancelled})


def _token(scope: Message) -> str:
    """That of the session, as the client sends it: ``Snowflake Token="..."``."""
    found: str = dict(scope["headers"]).get(b"authorization", b"").decode()
    return found.partition('"')[2].rpartition('"')[0]


async def _refuse(send: Send, number: int, state: str, text: str) -> None:
    code = f"{number:06d}"
    data = {"errorCode": code, "sqlState": state}
    await _answer(send, {"data": data, "code": code, "message": text, "success": False})


async def _answer(send: Send, told: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


def main(arguments: list[str]) -> int:
    """Serve, or say which version this is."""
    if arguments == ["--version"]:
        print(f"version {importlib.import_module('importlib.metadata').version('fakesnow')}")
        return 0
    server = importlib.import_module("fakesnow.server")
    account = importlib.import_module("account")
    connection = server.shared_fs.connect(None, None)

    def run(statement: str) -> Any:
        cursor = connection.cursor()
        cursor.execute(statement)
        return cursor.fetchall()

    app = WithAccount(server.app, account.Account(run), account.Refused)
    importlib.import_module("uvicorn").run(app, host="127.0.0.1", port=int(arguments[0]), log_level="info")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
