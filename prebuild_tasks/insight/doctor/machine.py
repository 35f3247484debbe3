"""Collect the facts about this machine: its disk, its ports, and whether the API answers it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

from prebuild_tasks.clock import utcnow
from prebuild_tasks.config import Settings
from prebuild_tasks.insight.doctor.ask_api import look_at_api
from prebuild_tasks.insight.doctor.facts import DiskFact, Examination
from prebuild_tasks.provisioners import Ports


def look_at_machine(facts: Examination, settings: Settings) -> Examination:
    """Return the facts with those about this machine."""
    short_ports = settings.workspace_ports if Ports(settings).is_short(utcnow()) else ""
    return replace(facts, disk=_disk(settings), api=look_at_api(settings), short_ports=short_ports)


def _disk(settings: Settings) -> DiskFact | None:
    place = settings.data_dir
    if not place.exists():
        if settings.database_url and settings.redis_url:
            return None  # nothing is kept on this machine
        place = next(parent for parent in place.parents if parent.exists())
    status = os.statvfs(place)
    return DiskFact(
        path=str(settings.data_dir),
        writable=os.access(place, os.W_OK | os.X_OK),
        free_bytes=shutil.disk_usage(place).free,
        free_files=status.f_favail if status.f_files else None,
    )
