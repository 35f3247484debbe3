"""On PYTHONPATH, it makes a process believe that it is PREBUILD_FAULT_SKEW seconds later than it is.

What Celery and kombu read, and what we do; psycopg's own datetimes can't be replaced, and read no clock.
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
