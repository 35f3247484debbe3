"""The domain's vocabulary as types. Times are aware and in UTC; durations are timedeltas.

Types that a tick creates for every preset are NamedTuples, which are created four times as fast as frozen dataclasses.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from prebuild_tasks.errors import NeverReadyError

PREBUILDS_OWNER = "prebuilds"
"""The reserved owner of every workspace that is not claimed yet."""
RECONCILER = "reconciler"
"""The initiator of everything that the reconciliation loop does."""
UNHEALTHY_REASON = "unhealthy"
"""The reason for the deletion of a prebuild that failed its probes, or vanished; also the event in the history."""
CLAIM_REASON = "claim"
"""The reason of the build that personalises a claimed workspace. Its transition is a start."""
LOCAL_PRINCIPAL = "local"
"""The principal of whoever has the database's password: the command line, the Python API and the Celery task."""
NEVER_READY_CODE = NeverReadyError.code
"""The error code of a start build that ran but whose readiness probe did not pass in time."""


class Transition(StrEnum):
    """The effect of a build on its workspace."""

    START = "start"
    STOP = "stop"
    DELETE = "delete"


class BuildStatus(StrEnum):
    """The status of a build. The last three are final."""

    PENDING = "pending"
    RUNNING = "running"
    CANCELING = "canceling"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        return self in (BuildStatus.SUCCEEDED, BuildStatus.CANCELED, BuildStatus.FAILED)


class WorkspaceState(StrEnum):
    """The state of a workspace that is not deleted, as it is shown to people."""

    STARTING = "starting"
    RUNNING = "running"
    """Started, but not ready yet."""
    READY = "ready"
    PERSONALISING = "personalising"
    USABLE = "usable"
    STOPPING = "stopping"
    STOPPED = "stopped"
    CANCELING = "canceling"
    CANCELED = "canceled"
    FAILED = "failed"
    DELETING = "deleting"
    DELETE_FAILED = "delete_failed"


OPEN_STATUSES = (BuildStatus.PENDING, BuildStatus.RUNNING, BuildStatus.CANCELING)
ACTIVE_STATUSES = (BuildStatus.RUNNING, BuildStatus.CANCELING)
"""Statuses of a build that a runner has taken."""
FINAL_STATUSES = tuple(status for status in BuildStatus if status.final)


class PresetStatus(StrEnum):
    """Whether prebuilds of a preset may be created, and if not, why."""

    HEALTHY = "healthy"
    HARD_LIMITED = "hard_limited"
    VALIDATION_FAILED = "validation_failed"


class ClaimState(StrEnum):
    """Whether a claimed workspace is already personalised for its owner."""

    PERSONALISING = "personalising"
    USABLE = "usable"


class RequestState(StrEnum):
    """What became of a request that was given a workspace, or for which one was reserved."""

    GIVEN = "given"
    RESERVED = "reserved"
    """A workspace is being built for the owner, or is ready and was not handed out yet."""
    GIVEN_UP = "given_up"
    """Whoever waited gave up. The workspace went back to its pool."""
    NOT_COLLECTED = "not_collected"
    """Nobody came for the workspace in time. It went back to its pool, or was deleted."""


class MissReason(StrEnum):
    """The reason why a claim found no prebuild."""

    EMPTY_POOL = "empty_pool"
    STARTING = "starting"
    EXPIRED = "expired"
    INACTIVE = "inactive"
    NOT_DESIRED = "not_desired"
    BUILD_FAILED = "build_failed"
    """A workspace that was started for the owner, because no prebuild was ready, could not be built."""


class BuildPriority:
    """The priorities of builds. A builds worker takes the lowest value first."""

    PERSON_WAITS = 0
    DELETE = 1
    PREBUILD = 2


class Schedule(NamedTuple):
    """A time range in the preset's zone with its own desired size. `cron` has five fields; the minute is `*`."""

    cron: str
    desired: int


class Preset(NamedTuple):
    """The declared values of a preset that a decision needs."""

    id: str
    desired: int
    """Desired number of prebuilds outside every schedule."""
    using_active_version: bool = True
    deleted: bool = False
    deprecated: bool = False
    """`deleted` and `deprecated` are the template's; either makes the preset inactive."""
    ttl: timedelta | None = None
    """Age at which a prebuild expires. None or not positive: prebuilds never expire."""
    last_invalidated_at: datetime | None = None
    """Prebuilds created strictly before this are expired."""
    timezone: str = ""
    """IANA name of the time zone of the schedules."""
    schedules: tuple[Schedule, ...] = ()
