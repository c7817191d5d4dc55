"""The page inside a web application: FastAPI, Starlette, Flask, and ASGI and WSGI by themselves."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Coroutine, MutableMapping
from typing import Any
from wsgiref.validate import validator

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from gds_metrics import PrometheusMetrics
from tests.helpers.pages import read
from tests.helpers.web import Answer

TEXT = "text/plain; version=0.0.4; charset=utf-8"
Ask = Callable[..., Answer]


@pytest.fixture
def metrics() -> PrometheusMetrics:
    metrics = PrometheusMetrics(start_server=False)
    for number in range(100):
        metrics.gauge("g", number, {"i": str(number)})
    metrics.increment("n", 3)
    return metrics


def ask_asgi(app: Any) -> Ask:
    def ask(path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        async def request() -> Answer:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://app", headers={"Accept-Encoding": ""}
            ) as client:
                response = await client.request(method, path, headers=headers)
                body = response.content
                if response.headers.get("content-encoding") == "gzip":
                    body = gzip.compress(body)  # httpx unzips; `Answer` expects what was sent
                return Answer(response.status_code, dict(response.headers), body)

        return asyncio.run(request())

    return ask


def ask_wsgi(app: Any) -> Ask:
    def ask(path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        response = Client(app).open(path, method=method, headers=headers, buffered=True)
        answered = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, answered, response.data)

    return ask


def in_fastapi(metrics: PrometheusMetrics) -> Ask:
    app = FastAPI()
    app.mount("/metrics", metrics.asgi_app())
    return ask_asgi(app)


def in_starlette(metrics: PrometheusMetrics) -> Ask:
    return ask_asgi(Starlette(routes=[Mount("/metrics", app=metrics.asgi_app())]))


def in_flask(metrics: PrometheusMetrics) -> Ask:
    app = Flask("test")
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/metrics": metrics.wsgi_app()})  # type: ignore[method-assign]
    return ask_wsgi(app)


@pytest.fixture(params=[in_fastapi, in_starlette, in_flask], ids=lambda make: make.__name__)
def ask(request: pytest.FixtureRequest, metrics: PrometheusMetrics) -> Ask:
    mount: Callable[[PrometheusMetrics], Ask] = request.param
    return mount(metrics)


@pytest.mark.parametrize("path", ["/metrics/", "/metrics/anything"])
def test_the_page_is_where_it_is_mounted(ask: Ask, path: str) -> None:
    answer = ask(path)
    assert (answer.status, answer.headers["content-type"]) == (200, TEXT)
    assert answer.headers["content-length"] == str(len(answer.body))
    assert read(answer.text).value("gds_n_total") == 3


def test_the_rest_belongs_to_the_application(ask: Ask) -> None:
    assert ask("/other").status == 404


def test_the_client_chooses_the_format(ask: Ask) -> None:
    answer = ask("/metrics/", headers={"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert read(answer.text, openmetrics=True).value("gds_n_total") == 3


def test_a_large_page_is_zipped_for_who_takes_it(ask: Ask) -> None:
    answer = ask("/metrics/", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert read(answer.text).value("gds_n_total") == 3


def test_head_is_get_without_the_body(ask: Ask) -> None:
    answer = ask("/metrics/", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 1000


def test_names_choose_families(ask: Ask) -> None:
    assert read(ask("/metrics/?name[]=gds_n_total&name%5B%5D=gds_none").text).names == {"gds_n_total"}


def test_health_is_told_below_the_mount(ask: Ask) -> None:
    answer = ask("/metrics/healthz")
    assert (answer.status, answer.body) == (200, b"ok\n")


def test_other_methods_are_told_which_to_use(ask: Ask) -> None:
    answer = ask("/metrics/", method="POST")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_the_wsgi_application_keeps_to_its_specification(metrics: PrometheusMetrics) -> None:
    ask = ask_wsgi(validator(metrics.wsgi_app()))
    assert ask("/", headers={"Accept": "text/plain"}).status == 200
    assert ask("/", method="HEAD").status == 200


def test_a_bare_asgi_server_may_start_and_stop_it(metrics: PrometheusMetrics) -> None:
    asked, sent = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]), []

    async def receive() -> dict[str, Any]:
        return next(asked)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message["type"])

    asyncio.run(_run(metrics.asgi_app()({"type": "lifespan"}, receive, send)))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def _run(awaitable: Any) -> None:
    await awaitable


def http_scope(**changes: Any) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], **changes}


def drive(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run what never waits, without an event loop."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


def test_it_works_on_an_event_loop_that_is_not_asyncios(metrics: PrometheusMetrics) -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("the request has no body")

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    application: Any = metrics.asgi_app()
    drive(application(http_scope(), receive, send))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 200
    assert read(sent[1]["body"].decode()).value("gds_n_total") == 3


def test_several_headers_of_one_name_are_one_list(metrics: PrometheusMetrics) -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("the request has no body")

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    headers = [(b"accept", b"text/plain;q=0.1"), (b"Accept", b"application/openmetrics-text")]
    application: Any = metrics.asgi_app()
    drive(application(http_scope(headers=headers), receive, send))
    assert dict(sent[0]["headers"])[b"content-type"].startswith(b"application/openmetrics-text")


def test_other_protocols_are_refused(metrics: PrometheusMetrics) -> None:
    async def never(*_: Any) -> Any:
        raise AssertionError("there is nothing to say")

    with pytest.raises(ValueError, match="scope type 'gopher': expected 'http'"):
        asyncio.run(_run(metrics.asgi_app()({"type": "gopher"}, never, never)))


def test_a_websocket_is_closed_politely(metrics: PrometheusMetrics) -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(_run(metrics.asgi_app()({"type": "websocket", "path": "/"}, receive, send)))
    assert sent == [{"type": "websocket.close", "code": 1003, "reason": "metrics are read with GET"}]


def test_no_cache_on_the_way_keeps_the_page(metrics: PrometheusMetrics) -> None:
    with httpx.Client(transport=httpx.WSGITransport(app=metrics.wsgi_app()), base_url="http://app") as client:
        for path in ("/", "/healthz"):
            assert client.get(path).headers["cache-control"] == "no-store"


def test_a_scrape_leaves_the_event_loop_to_others(metrics: PrometheusMetrics) -> None:
    async def page(_: Any) -> Any:
        raise AssertionError("not asked for")

    app = Starlette(routes=[Route("/page", page), Mount("/metrics", app=metrics.asgi_app())])

    async def scrapes() -> list[int]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            answers = await asyncio.gather(*(client.get("/metrics/") for _ in range(20)))
            return [answer.status_code for answer in answers]

    assert asyncio.run(scrapes()) == [200] * 20


def test_mounted_the_page_asks_for_no_secret(tmp_path: Any) -> None:
    # Who may ask is the business of the application.
    token = tmp_path / "token"
    token.write_text("s3cret")
    metrics = PrometheusMetrics(start_server=False, bearer_token_file=token)
    assert ask_wsgi(metrics.wsgi_app())("/").status == 200
