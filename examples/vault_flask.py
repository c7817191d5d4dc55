"""A Flask application for gunicorn that reads its password from Vault: one page, one topic, many workers.

    export VAULT_ADDR=https://vault:8200 VAULT_ROLE_ID=... VAULT_SECRET_ID=...
    gunicorn --config gunicorn.conf.py vault_flask:app

Client, collector and handler may be made before the fork (`preload_app`) or after it. Each worker keeps secrets, counts
and ships for itself; the page is the sum of all.
"""

from __future__ import annotations

import json
import logging.config
import os
from pathlib import Path

from flask import Flask, abort
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from gds_metrics import PrometheusMetrics
from gds_vault import VaultClient, VaultError

logging.config.dictConfig(json.loads(Path(__file__).with_name("logging.json").read_text()))
logger = logging.getLogger("shop")
metrics = PrometheusMetrics(prefix="shop", start_server=False)
# Whichever worker has least of its token left is the one to look at.
metrics.describe("vault.token.ttl_seconds", help="What is left of the token.", unit="seconds", aggregation="min")
vault = VaultClient(metrics=metrics)

app = Flask(__name__)
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/metrics": metrics.wsgi_app()})  # type: ignore[method-assign]


@app.get("/orders/<int:number>")
def order(number: int) -> dict[str, object]:
    """An order by its number, as the user that Vault names, and the process that answered."""
    try:
        secret = vault.get_secret("shop/database")
    except VaultError as error:
        logger.warning("order %d cannot be read: %s", number, error)
        abort(503, "no access to the database")
    logger.info("order %d read", number)
    return {"number": number, "user": secret["user"], "pid": os.getpid()}
