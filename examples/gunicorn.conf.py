"""Settings of gunicorn for ``flask_app.py``, read by ``gunicorn --config gunicorn.conf.py flask_app:app``."""

import os
import tempfile

workers = 2
bind = os.environ.get("BIND", "127.0.0.1:8000")

# One folder for all workers, on a local disk, named before any of them starts. It is new for each start here, so that
# counters begin at zero; a folder that stays lets them go on.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="shop-metrics-"))

# With preload_app = True the collector is made before the fork and works all the same: each worker starts a file of its
# own when it first reports.
