"""The server, as a program of its own: fakesnow, and before it the account that it lacks.

``server.py PORT`` serves until it is terminated. Nothing of the project imports it, nor what it imports.
"""

from __future__ import annotations

import gzip
import importlib
import json
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "lib"), str(HERE)]

Message = MutableMapping[str, Any]
QUERIES = "/queries/v1/query-request"


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

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """As ASGI has it."""
        if scope["type"] != "http" or scope["path"] != QUERIES:
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
        try:
            told["sqlText"] = self._account.statement(told["sqlText"])
        except self._refused as error:
            number = f"{error.number:06d}"
            data = {"errorCode": number, "sqlState": error.state}
            await _answer(send, {"data": data, "code": number, "message": error.text, "success": False})
            return
        changed = {"type": "http.request", "body": json.dumps(told).encode(), "more_body": False}
        plain = [
            (name, value) for name, value in scope["headers"] if name not in {b"content-encoding", b"content-length"}
        ]

        async def again() -> Message:
            return changed

        await self._app({**scope, "headers": plain}, again, send)


async def _answer(send: Callable[[Message], Awaitable[None]], told: dict[str, Any]) -> None:
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
