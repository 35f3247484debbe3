"""The sweep: recovery of builds whose worker died, of lost messages, of failed deletions, and of leftovers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from itertools import islice
from time import sleep

from sqlalchemy import ColumnElement, Connection, and_, case, literal, or_, select

from prebuild_tasks.builds import (
    LostBuild,
    deletion_reason,
    failed_builds,
    lost_builds,
    pending_by_queue,
    record_failure,
    take_back,
)
from prebuild_tasks.claims import end_uncollected
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.types import UtcDateTime
from prebuild_tasks.events import number_all_events
from prebuild_tasks.logs import get_logger
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.event_kinds import CLAIMED_TTL, build_event
from prebuild_tasks.model.records import changed_fields
from prebuild_tasks.model.vocabulary import (
    CLAIM_REASON,
    PREBUILDS_OWNER,
    RECONCILER,
    BuildPriority,
    BuildStatus,
    Transition,
)
from prebuild_tasks.pools import end_lapsed_pauses
from prebuild_tasks.reconcile import retry_at
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import is_due_sql
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.schema.row_locks import lock_workspaces
from prebuild_tasks.upkeep.failed_prebuilds import BATCH, spent_prebuilds
from prebuild_tasks.upkeep.lost_hosts import give_up_lost
from prebuild_tasks.upkeep.lost_prebuilds import replace_lost
from prebuild_tasks.upkeep.retention.run import prune_if_due
from prebuild_tasks.upkeep.rules import after_loss, messages_missing
from prebuild_tasks.upkeep.types import SweepReport, SweepResult
from prebuild_tasks.workspaces import (
    FailedBuild,
    FollowUp,
    NewBuild,
    awaiting_owner,
    delete_workspaces,
    follow_templates,
    is_pool_start,
    record_deletions,
    repeat_failed,
    work_of,
)

log = get_logger(__name__)

_LOST_CODE = "lost"
"""The error code of a build that lost its worker."""
LOOKS_PER_TIMEOUT = 8
"""A lease that has run out is noticed after 1.125 times the timeout at most; right after a gap, after 1.25 times."""
_DOUBLINGS = 7
"""Maximum number of doublings of the interval after which a build is published again."""


def sweep(
    database: Database, settings: Settings, waiting: Callable[[str], int | None], *, pause: float = 0.0
) -> SweepResult:
    """Run a sweep. The caller sends the follow-up.

    Args:
        database: The database.
        settings: The settings.
        waiting: Returns the number of messages in a host's builds queue, or None if it is unknown.
        pause: As of `take_back_lost`.
    """
    result = take_back_lost(database, settings, pause=pause)
    number_all_events(database)
    follow_templates(database)
    result |= SweepResult(follow_up=end_lapsed_pauses(database))
    with database.read() as connection:
        failed = _due_for_retry(connection, database.now(connection))
    with database.write() as connection:
        now = database.now(connection)
        spent, past = spent_prebuilds(connection, settings, now), _past_their_time(connection, now)
        lock_workspaces(connection, [*(row.workspace_id for row in failed), *spent, *past])
        repaired = _retry(connection, failed, now)
        repaired |= _clean_failed(connection, spent, now)
        repaired |= _end_claims(connection, past, now)
    result |= repaired
    result |= _choose_for_republication(database, settings, waiting, result.follow_up)
    replaced = replace_lost(database, settings)
    result |= SweepResult(replaced=len(replaced.builds), follow_up=replaced)
    given_up = give_up_lost(database, settings)
    result |= SweepResult(given_up=len(given_up.builds), follow_up=given_up)
    uncollected = end_uncollected(database, settings.wait_unclaimed)
    result |= SweepResult(uncollected=uncollected.number, follow_up=uncollected.follow_up)
    result |= SweepResult(pruned=prune_if_due(database, settings), follow_up=FollowUp())
    if (report := result.report()) != SweepReport():
        log.info("swept", **changed_fields(report))
    return result


def look_pause(settings: Settings) -> float:
    """Return the seconds between two looks of a builds worker at all leases."""
    return settings.heartbeat_timeout / LOOKS_PER_TIMEOUT


def take_back_lost(
    database: Database, settings: Settings, runner_prefix: str = "", *, pause: float = 0.0
) -> SweepResult:
    """Take back the builds whose lease has run out.

    If the database stood still while they were read, nobody could renew a lease, and none is taken back.

    If `runner_prefix` is given, take back instead all active builds of runners whose name begins with it. `prebuild up`
    passes its host's prefix when it starts on its own database: its former runners are then known to be dead.

    If `pause` is not 0, the builds are read again after so many seconds, for a caller that does not know whether the
    database stood still right before: the living renew their leases meanwhile.
    """
    lost = _read_lost(database, settings, runner_prefix)
    if lost and pause:
        sleep(pause)
        still = _read_lost(database, settings, runner_prefix)
        lost = [row for row in still if row in lost]
    result = SweepResult(follow_up=FollowUp())
    for row in lost:
        with database.write() as connection:
            taken = _take_back(connection, settings, row, database.now(connection))
        result |= taken
    return result


def _read_lost(database: Database, settings: Settings, runner_prefix: str) -> list[LostBuild]:
    started = monotonic()
    with database.read() as connection:
        before = database.now(connection) - timedelta(seconds=settings.heartbeat_timeout)
        lost = lost_builds(connection, before, runner_prefix)
    if lost and not runner_prefix and monotonic() - started > look_pause(settings):
        log.warning("leases_read_too_slowly", builds=len(lost), seconds=round(monotonic() - started, 1))
        return []
    return lost


def _take_back(connection: Connection, settings: Settings, row: LostBuild, now: datetime) -> SweepResult:
    status, error = after_loss(row.status, row.attempt - row.holds, settings.build_attempts)
    canceling = status is BuildStatus.CANCELED
    if status is BuildStatus.FAILED and is_pool_start(row.transition, row.reason):
        record_failure(connection, row.preset_id, row.created_at, error)
    if not take_back(connection, row, status, now, error, "canceled" if canceling else _LOST_CODE):
        connection.rollback()
        return SweepResult(follow_up=FollowUp())
    if status.final:
        event = build_event(row.transition, row.reason, status)
        add_history(
            connection, event, now=now, actor=Actor.system(), workspace_ids=[row.workspace_id],
            preset_id=row.preset_id, reason=error or row.reason, details={"build": row.id},
        )  # fmt: skip
    log.warning("build_lost", build=str(row.id), attempt=row.attempt, runner=row.runner, now=status.value)
    if status is BuildStatus.PENDING:
        again = NewBuild(row.id, row.host, work_of(row.transition, row.reason, row.name))
        return SweepResult(retaken=1, follow_up=FollowUp.of([again], [row.preset_id]))
    builds: list[NewBuild] = []
    if row.transition is Transition.START and (canceling or awaiting_owner(connection, row.workspace_id)):
        reason = deletion_reason(_LOST_CODE, unwanted=canceling)
        builds = delete_workspaces(connection, [row.workspace_id], reason=reason, initiator=row.initiator, now=now)
    return SweepResult(ended=1, follow_up=FollowUp.of(builds, [row.preset_id]))


def _choose_for_republication(
    database: Database, settings: Settings, waiting: Callable[[str], int | None], unsent: FollowUp
) -> SweepResult:
    """Choose pending builds whose message may have been lost. The caller of the sweep sends them.

    The limit is per queue, so that builds for a host that is gone do not displace those of other hosts.
    """
    lost: list[NewBuild] = []
    with database.read() as connection:
        pending = pending_by_queue(connection)
    to_send = unsent.builds_by_host()
    for host, count in sorted(pending.items()):
        own_ids = [build.id for build in to_send.get(host, ())]
        # At most as many as there are pending builds without a message in the queue.
        missing = messages_missing(count, waiting(host), len(own_ids), BATCH)
        if missing > 0:
            with database.read() as connection:
                now = database.now(connection)
                due = _due_for_message(connection, host, settings.republish_after, now, own_ids, missing)
            lost += due
    return SweepResult(republished=len(lost), follow_up=FollowUp.of(lost))


def _due_for_message(
    connection: Connection, host: str, interval: float, now: datetime, excluded: Collection[str], limit: int
) -> list[NewBuild]:
    """Read the pending builds that are due for a message.

    They were last published more than `interval` seconds ago, doubled for each publication after the first; or were
    never published, and created more than a sixth of `interval` ago.
    """

    def before(seconds: float) -> ColumnElement[datetime]:
        return literal(now - timedelta(seconds=seconds), UtcDateTime())

    doubled = case(
        {count: before(interval * 2 ** max(count - 1, 0)) for count in range(_DOUBLINGS + 1)},
        value=m.Build.publications,
        else_=before(interval * 2**_DOUBLINGS),
    )
    never = and_(m.Build.published_at.is_(None), m.Build.created_at < before(interval / 6))
    rows = connection.execute(
        select(m.Build.id, m.Build.queue, m.Build.transition, m.Build.reason, m.Workspace.name)
        .join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
        .where(
            m.Build.status == BuildStatus.PENDING,
            m.Build.queue == host,
            is_due_sql(now),
            or_(never, m.Build.published_at < doubled),
            m.Build.id.not_in(excluded),
        )
        .order_by(m.Build.priority, m.Build.created_at)
        .limit(limit)
    )
    return [NewBuild(row.id, row.queue, work_of(row.transition, row.reason, row.name)) for row in rows]


def _due_for_retry(connection: Connection, now: datetime) -> list[FailedBuild]:
    """Read the failed deletions and claim hooks that are due for a retry; hooks first, because people wait for them."""
    rows = connection.execute(
        select(
            m.Workspace.id,
            m.Workspace.transition,
            m.Workspace.build_number,
            m.Build.completed_at,
            failed_builds().label("failures"),
        )
        .join(m.Build, (m.Build.workspace_id == m.Workspace.id) & (m.Build.number == m.Workspace.build_number))
        .where(
            m.Workspace.deleted_at.is_(None),
            m.Workspace.status == BuildStatus.FAILED,
            or_(m.Workspace.transition == Transition.DELETE, m.Build.reason == CLAIM_REASON),
        )
        .order_by(m.Workspace.transition == Transition.DELETE, m.Build.completed_at)
    )
    # The limit is applied after the check, so that builds that are not yet due do not use it up.
    due = (row for row in rows if now >= retry_at(row.failures, row.completed_at))
    return [FailedBuild(row.id, row.build_number, row.transition) for row in islice(due, BATCH)]


def _retry(connection: Connection, failed: list[FailedBuild], now: datetime) -> SweepResult:
    """Retry failed deletions and claim hooks. The new builds never return a claimed workspace to its pool."""
    builds: list[NewBuild] = []
    for row in failed:
        is_claim = row.transition is Transition.START
        builds += repeat_failed(
            connection,
            row,
            reason=CLAIM_REASON if is_claim else "retry",
            initiator=RECONCILER,
            now=now,
            priority=BuildPriority.PERSON_WAITS if is_claim else BuildPriority.DELETE,
        )
    return SweepResult(retried=len(builds), follow_up=FollowUp.of(builds))


def _clean_failed(connection: Connection, spent: Sequence[str], now: datetime) -> SweepResult:
    """Begin deleting spent prebuilds."""
    only = [m.Workspace.owner == PREBUILDS_OWNER]
    builds = delete_workspaces(connection, spent, reason="clean_up", initiator=RECONCILER, now=now, only=only)
    return SweepResult(cleaned=len(builds), follow_up=FollowUp.of(builds))


def _past_their_time(connection: Connection, now: datetime) -> Sequence[str]:
    """Read the claimed workspaces that are past their `claimed_ttl`."""
    query = select(m.Workspace.id).where(
        m.Workspace.owner != PREBUILDS_OWNER,
        m.Workspace.deleted_at.is_(None),
        m.Workspace.claimed_until < now,
        m.Workspace.transition != Transition.DELETE,
    )
    return connection.execute(query.limit(BATCH)).scalars().all()


def _end_claims(connection: Connection, ids: Sequence[str], now: datetime) -> SweepResult:
    """Begin deleting claimed workspaces that are past their time. No other one is deleted without a request."""
    # Checked again under the row's lock, because the owner may have extended it meanwhile.
    past = m.Workspace.claimed_until < now
    builds = delete_workspaces(connection, ids, reason=CLAIMED_TTL, initiator=RECONCILER, now=now, only=[past])
    record_deletions(connection, builds, event=CLAIMED_TTL, now=now)
    return SweepResult(cleaned=len(builds), follow_up=FollowUp.of(builds))
