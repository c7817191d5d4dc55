"""A FastAPI application that reads its password from Vault: reads counted, log lines shipped, nothing waited for.

    export VAULT_ADDR=https://vault:8200 VAULT_ROLE_ID=... VAULT_SECRET_ID=...
    uvicorn vault_fastapi:app

Requests that ask for one secret at the same time share one request to Vault.
"""

from __future__ import annotations

import json
import logging.config
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, HTTPException

from gds_metrics import PrometheusMetrics
from gds_vault import AsyncVaultClient, VaultError

logging.config.dictConfig(json.loads(Path(__file__).with_name("logging.json").read_text()))
logger = logging.getLogger("shop")
metrics = PrometheusMetrics(prefix="shop", start_server=False)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The client lives as long as the application does."""
    async with AsyncVaultClient(metrics=metrics) as vault:
        app.state.vault = vault
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/metrics", metrics.asgi_app())


@app.get("/orders/{number}")
async def order(number: int) -> dict[str, object]:
    """An order by its number, as the user that Vault names."""
    try:
        secret = await app.state.vault.get_secret("shop/database")
    except VaultError as error:
        # The text of the client's errors holds no secret.
        logger.warning("order %d cannot be read: %s", number, error)
        raise HTTPException(503, "no access to the database") from error
    logger.info("order %d read", number)
    return {"number": number, "user": secret["user"]}
