"""A FastAPI application with its metrics page at ``/metrics/``.

    uvicorn fastapi_app:app

The page is part of the application, so the application's own middleware decides who may see it.
"""

from __future__ import annotations

from fastapi import FastAPI

from gds_metrics import PrometheusMetrics, timed

metrics = PrometheusMetrics(prefix="shop", start_server=False)
metrics.describe("order.time", help="Time to take an order.", buckets=(0.001, 0.01, 0.1, 1.0))

app = FastAPI()
app.mount("/metrics", metrics.asgi_app())


@app.get("/orders/{number}")
@timed(metrics, "order.time")
async def order(number: int) -> dict[str, int]:
    """An order by its number."""
    # The route as a label, not the path: a path is a series of its own for each number.
    metrics.increment("requests", labels={"route": "/orders/{number}"})
    return {"number": number}
