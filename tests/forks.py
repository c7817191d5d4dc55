"""Children of the test process itself."""

from __future__ import annotations

import os
import signal
import warnings

TIMEOUT_SECONDS = 120
"""A child that takes longer hangs."""


def fork() -> int:
    """As ``os.fork``, but a child that hangs is ended by SIGALRM: whoever waits for it sees that, and fails."""
    with warnings.catch_warnings():
        # Python warns about a fork beside threads, which is what these tests are about.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        # A handler written in Python would not run in a child that hangs.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(TIMEOUT_SECONDS)
    return pid
