"""The counts of `rules/state.py`, in SQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Label, and_, func

from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.reconcile.store.expiry import is_expired_sql, is_past_half_ttl_sql
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import IN_PROGRESS, IS_READY, IS_RUNNING, IS_START, ROLLING


def count_sql(now: datetime) -> tuple[Label[int], ...]:
    """Build the columns of `count`, named as in `Counts`, over live prebuilds joined with their preset.

    They include `aging`, which `count` leaves at 0.
    """
    # The test for expiry is the expensive part, so it comes last, and `live` is a difference instead of another test.
    is_expired = is_expired_sql(now)
    is_aging = and_(m.Preset.replace_strategy == ROLLING, is_past_half_ttl_sql(now), ~is_expired)
    number_expired = func.count().filter(IS_RUNNING, is_expired)
    return (
        (func.count().filter(IS_RUNNING) - number_expired).label("live"),
        number_expired.label("expired"),
        func.count().filter(IS_READY, ~is_expired).label("ready"),
        func.count().filter(IS_START, IN_PROGRESS).label("starting"),
        func.count().filter(m.Workspace.transition == Transition.STOP, IN_PROGRESS).label("stopping"),
        func.count().filter(m.Workspace.transition == Transition.DELETE, IN_PROGRESS).label("deleting"),
        func.count().filter(IS_START, m.Workspace.status == BuildStatus.PENDING).label("pending"),
        func.count().filter(IS_RUNNING, is_aging).label("aging"),
    )
