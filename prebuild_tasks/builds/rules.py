"""Rules about the end of builds: what is stored of it, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from prebuild_tasks.builds.types import Endpoint, Outcome, TakenBuild
from prebuild_tasks.model.vocabulary import NEVER_READY_CODE, BuildStatus, Transition

_DELETION_REASONS = {"canceled": "canceled", NEVER_READY_CODE: NEVER_READY_CODE}
"""The reason for deleting a workspace right after its start failed, by the build's error code."""
_HOLD_FIRST = timedelta(seconds=5)
_HOLD_MAX = timedelta(minutes=1)
_HOLDS_ON_ONE_HOST = 3
"""How often a start is held on one host before another host, if there is one, builds in its place."""
_INSTANTS_KEPT = 50
"""The newest instants that are kept, of failed builds and of unhealthy prebuilds each."""


def workspace_values(build: TakenBuild, outcome: Outcome, now: datetime) -> Mapping[str, object]:
    """Return the workspace's columns that change with the end of the build, besides its status."""
    if outcome.status is not BuildStatus.SUCCEEDED:
        return {}
    if build.transition is Transition.DELETE:
        return {"deleted_at": now, "slot": None}
    if outcome.resource is None:
        return {}
    return {
        "ready_at": now,
        "resource_id": outcome.resource.resource_id,
        "url": outcome.resource.url,
        "directory": outcome.resource.directory,
    }


def unstorable(outcome: Outcome, problem: str) -> Outcome:
    """Return what is stored in place of an outcome of which the database refuses a part, such as a resource's id."""
    message = f"the result of the build ({outcome.status}) cannot be stored: {problem}"
    return Outcome(BuildStatus.FAILED, message.encode("ascii", "backslashreplace").decode(), "provisioner_failed")


def deletion_reason(error_code: str, *, unwanted: bool) -> str:
    """Return the reason for deleting a workspace right after its start.

    Args:
        error_code: The build's error code; empty: none.
        unwanted: The build was canceled, or was being canceled when it ended.
    """
    return "canceled" if unwanted else _DELETION_REASONS.get(error_code, "not_built")


def with_instant(stored: Sequence[str], instant: datetime) -> list[str]:
    """Return the stored instants, in ISO format, with one more; the oldest are dropped."""
    return [*stored, instant.isoformat()][-_INSTANTS_KEPT:]


def held_until(holds: int, now: datetime) -> datetime:
    """Return when a build is tried again whose provisioner could not be asked.

    The wait doubles from hold to hold, up to a minute, so that an outage costs little and ends soon for the builds.

    Args:
        holds: How often the build was held before.
        now: The database's time.
    """
    doublings: int = 2 ** min(holds, 10)
    return now + min(_HOLD_FIRST * doublings, _HOLD_MAX)


def endpoint_of(build: TakenBuild, *, local: bool) -> Endpoint:
    """Return what the provisioner of a build asks; `local`: it makes the workspaces on its own machine."""
    return Endpoint(build.provisioner, 0 if local else build.version_id)


def is_held_enough(build: TakenBuild) -> bool:
    """Return whether a build whose provisioner cannot be asked once more is given up if another host can build.

    Only a workspace's first start is: whatever it has made so far is nobody's.
    """
    is_first_start = build.build_number == 1 and build.transition is Transition.START
    return is_first_start and build.holds + 1 >= _HOLDS_ON_ONE_HOST
