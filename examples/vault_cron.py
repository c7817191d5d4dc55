"""A job for cron that reads its password from Vault; its metrics go into a file, its log lines to a topic.

    VAULT_ADDR=https://vault:8200 VAULT_ROLE_ID=... VAULT_SECRET_ID=... python vault_cron.py backup.prom

Neither file nor broker decides about the job: what the broker does not take in 5 seconds waits in `log-spool` for the
next run.
"""

from __future__ import annotations

import json
import logging.config
import sys
import time
from pathlib import Path

from gds_metrics import PrometheusMetrics, timed
from gds_vault import VaultClient, VaultError

logging.config.dictConfig(json.loads(Path(__file__).with_name("logging.json").read_text()))
logger = logging.getLogger("backup")


def back_up(metrics: PrometheusMetrics) -> bool:
    """Stands in for the work; whether it was done."""
    try:
        with VaultClient(metrics=metrics) as vault, timed(metrics, "backup.duration"):
            secret = vault.get_secret("shop/database")
    except VaultError as error:
        logger.error("no backup: %s", error)  # noqa: TRY400 - one line says it; the traceback is in nobody's interest
        return False
    logger.info("backup made as %s", secret["user"])
    metrics.gauge("backup.last_success_timestamp_seconds", time.time())
    return True


def main(textfile: str) -> int:
    """Do the work, then hand over what was observed; the exit code is the job's alone."""
    metrics = PrometheusMetrics(prefix="", start_server=False, process_metrics=False)
    done = back_up(metrics)
    try:
        metrics.write_to_textfile(textfile)
    except OSError as error:
        logger.warning("metrics were not handed over: %s", error)
    logging.shutdown()
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
