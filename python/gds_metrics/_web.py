"""The page inside a web application: ASGI and WSGI, over the same responder as the built-in server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any

Responder = Callable[[str, str, str, "str | None", "str | None"], "tuple[int, list[tuple[str, str]], bytes]"]
"""Method, path, query, ``Accept``, ``Accept-Encoding`` to status, headers, body."""

# As Starlette has them, so that a type checker takes the application where it is mounted.
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_UNSUPPORTED = 1003
"""Status code of a WebSocket whose data is not understood (RFC 6455, section 7.4.1)."""


def asgi_app(respond: Responder) -> AsgiApp:
    """An ASGI 3 application that answers every path with the page."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] == "websocket":
            # Before it was accepted, closing it makes the server answer 403.
            await receive()
            await send({"type": "websocket.close", "code": _UNSUPPORTED, "reason": "metrics are read with GET"})
            return
        if scope["type"] != "http":
            raise ValueError(f"scope type {scope['type']!r}: expected 'http'; the metrics page answers nothing else")
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value.decode("latin-1"))
        arguments = (
            scope["method"],
            scope["path"],
            scope.get("query_string", b"").decode("latin-1"),
            ",".join(headers[b"accept"]) if b"accept" in headers else None,
            ",".join(headers[b"accept-encoding"]) if b"accept-encoding" in headers else None,
        )
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # another event loop, such as trio's
            status, answer, body = respond(*arguments)
        else:
            # A large page takes milliseconds, which the loop has other uses for.
            status, answer, body = await asyncio.to_thread(respond, *arguments)
        start = {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer],
        }
        await send(start)
        await send({"type": "http.response.body", "body": body})

    return app


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def wsgi_app(respond: Responder) -> WsgiApp:
    """A WSGI application that answers every path with the page."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, headers, body = respond(
            environ["REQUEST_METHOD"],
            environ.get("PATH_INFO", ""),
            environ.get("QUERY_STRING", ""),
            environ.get("HTTP_ACCEPT"),
            environ.get("HTTP_ACCEPT_ENCODING"),
        )
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [body]

    return app
