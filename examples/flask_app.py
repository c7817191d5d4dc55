"""A Flask application for gunicorn: many worker processes, one metrics page.

    gunicorn --config gunicorn.conf.py flask_app:app

Each worker counts in a file of its own in the folder that ``gunicorn.conf.py`` names; whichever worker is asked for
``/metrics`` answers for all of them.
"""

from __future__ import annotations

import os

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from gds_metrics import PrometheusMetrics

# PROMETHEUS_MULTIPROC_DIR, which gunicorn.conf.py sets, is the default of multiprocess_dir.
metrics = PrometheusMetrics(prefix="shop", start_server=False)
metrics.describe("workers", help="Worker processes that live.", aggregation="sum")

app = Flask(__name__)
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/metrics": metrics.wsgi_app()})  # type: ignore[method-assign]


@app.get("/orders/<int:number>")
def order(number: int) -> dict[str, int]:
    """An order by its number, and the process that answered."""
    metrics.gauge("workers", 1)
    metrics.increment("requests", labels={"route": "/orders/<number>"})
    return {"number": number, "pid": os.getpid()}
