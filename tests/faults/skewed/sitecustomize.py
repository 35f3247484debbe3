"""Shift the clock of a process with this directory on PYTHONPATH by PREBUILD_FAULT_SKEW seconds.

It replaces the clocks that Celery, kombu and this project read. psycopg's datetimes can't be replaced, and read none.
"""

import os
import time
from datetime import timedelta

SKEW = float(os.environ.get("PREBUILD_FAULT_SKEW", "0"))
_time, _time_ns = time.time, time.time_ns

if SKEW:
    time.time = lambda: _time() + SKEW
    time.time_ns = lambda: _time_ns() + int(SKEW * 1e9)

    from prebuild_tasks import clock

    _utcnow = clock.utcnow
    clock.utcnow = lambda: _utcnow() + timedelta(seconds=SKEW)
