"""A job that ends before anybody scrapes it: its metrics go to a Pushgateway or into a file.

    python cron_push.py --gateway http://pushgateway:9091
    python cron_push.py --textfile backup.prom

The job reports as any program does and hands its page over once, at the end.
"""

from __future__ import annotations

import argparse
import time

from gds_metrics import PrometheusMetrics, timed


def back_up(metrics: PrometheusMetrics) -> None:
    """Stands in for the work."""
    with timed(metrics, "backup.duration"):
        rows = sum(range(1000))
    metrics.gauge("backup.rows", rows)
    metrics.gauge("backup.last_success_timestamp_seconds", time.time())


def main() -> None:
    """Do the work, then hand the page over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--gateway", help="URL of a Pushgateway")
    target.add_argument("--textfile", help="file in the folder of a node exporter's textfile collector")
    arguments = parser.parse_args()

    # Whatever is on the page of a group outlives the job, so the process's own metrics stay off it.
    metrics = PrometheusMetrics(prefix="", start_server=False, process_metrics=False)
    back_up(metrics)
    try:
        if arguments.gateway:
            metrics.push(arguments.gateway, "backup", {"instance": "db-1"})
        else:
            metrics.write_to_textfile(arguments.textfile)
    except OSError as error:
        # The work is done. Losing its metrics is a line in the log and not a failed backup.
        print(f"metrics were not handed over: {error}")
    else:
        print("metrics were handed over")


if __name__ == "__main__":
    main()
