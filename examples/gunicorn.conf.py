"""Settings of gunicorn for ``flask_app.py``, read by ``gunicorn --config gunicorn.conf.py flask_app:app``."""

import os
from pathlib import Path

workers = 2
bind = os.environ.get("BIND", "127.0.0.1:8000")

# One folder for all workers, on a local disk, named before any of them starts: that of systemd's RuntimeDirectory=,
# which is new for each start, or one beside this file, which stays and lets counters go on. Not below /tmp or /var/tmp:
# what is old is removed there, also while the program runs.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    shared = Path(os.environ.get("RUNTIME_DIRECTORY") or Path(__file__).resolve().parent / "shop-metrics")
    shared.mkdir(mode=0o700, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(shared)

# With preload_app = True the collector is made before the fork and works all the same: each worker starts a file of its
# own when it first reports.
