"""A turn on one prebuild in every transition and status, with its template active, inactive or deleted."""

from __future__ import annotations

from itertools import product
from typing import Literal, NamedTuple

import pytest
from sqlalchemy import update

from prebuild_tasks.clock import utcnow
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.reconcile.store.preset_view import read_preset
from prebuild_tasks.reconcile.turn import plan_tick, reconcile_preset
from prebuild_tasks.schema import tables as m
from tests.support.builders import declare, finish_builds, preset_id, turn, workspaces

Template = Literal["active", "inactive", "deleted", "deprecated"]
START, STOP, DELETE = Transition.START, Transition.STOP, Transition.DELETE
LIVE = (BuildStatus.PENDING, BuildStatus.RUNNING, BuildStatus.SUCCEEDED)


class Outcome(NamedTuple):
    """The effect of a turn of a pool of one."""

    created: int = 0
    deleted: int = 0
    canceled: int = 0


STEADY = Outcome()
REPLACED = Outcome(created=1)
ACTIVE = {
    # It exists, or is being made.
    (START, BuildStatus.PENDING): STEADY,
    (START, BuildStatus.RUNNING): STEADY,
    (START, BuildStatus.SUCCEEDED): STEADY,
}
"""Anything else does not count: another prebuild is created."""
DRAINED = {
    (START, BuildStatus.PENDING): Outcome(canceled=1),
    (START, BuildStatus.SUCCEEDED): Outcome(deleted=1),
}
"""A running start is deleted when it has ended; everything else is over, or being removed."""
COUNTED = {
    (START, BuildStatus.PENDING): ("starting", "pending"),
    (START, BuildStatus.RUNNING): ("starting",),
    (STOP, BuildStatus.PENDING): ("stopping",),
    (STOP, BuildStatus.RUNNING): ("stopping",),
    (DELETE, BuildStatus.PENDING): ("deleting",),
    (DELETE, BuildStatus.RUNNING): ("deleting",),
}


@pytest.mark.parametrize("template", ["active", "inactive", "deleted", "deprecated"])
@pytest.mark.parametrize(("transition", "status"), list(product(Transition, BuildStatus)))
def test_a_turn(
    database: Database, settings: Settings, transition: Transition, status: BuildStatus, template: Template
) -> None:
    declare(database, settings, 1)
    identity = preset_id(database)
    turn(database, settings)
    ready = utcnow() if (transition, status) == (START, BuildStatus.SUCCEEDED) else None
    slot = 0 if transition is START and status in LIVE else None
    with database.write() as connection:
        connection.execute(update(m.Workspace).values(transition=transition, status=status, slot=slot, ready_at=ready))
        connection.execute(update(m.Preset).values(is_short=False))  # nothing to tell
        connection.execute(update(m.Build).values(transition=transition, status=status, heartbeat_at=utcnow()))
        changed = {
            "active": {},
            "inactive": {"active_version_id": None},
            "deleted": {"deleted_at": utcnow()},
            "deprecated": {"deprecated": True},
        }[template]
        if changed:
            connection.execute(update(m.Template).values(changed))
    with database.read() as connection:
        view = read_preset(database, connection, identity, settings.backoff_lookback)
    assert view is not None
    counted = COUNTED.get((transition, status), ())
    for name in ("starting", "stopping", "deleting", "pending"):
        assert getattr(view.snapshot, name) == (name in counted), name
    expected = (ACTIVE if template == "active" else DRAINED).get(
        (transition, status), REPLACED if template == "active" else STEADY
    )
    sent = plan_tick(database, settings.model_copy(update={"fanout": "drifted"}))[1]
    assert sent == ([str(identity)] if expected != STEADY else []), "the tick sees what its turn will do"
    result = reconcile_preset(database, settings, identity)
    assert Outcome(result.created, result.deleted, result.canceled) == expected
    assert audit(database, settings) == []
    assert reconcile_preset(database, settings, identity).outcome == "steady", "and nothing more"
    if expected.deleted or expected.canceled:
        finish_builds(database)
        assert workspaces(database) == []
