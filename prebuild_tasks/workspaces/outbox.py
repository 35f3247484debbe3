"""Follow-ups of commits: the messages that remain to be sent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, cast

import structlog
from sqlalchemy import ARRAY, ColumnElement, Connection, any_, literal, update

from prebuild_tasks.clock import monotonic
from prebuild_tasks.db.base import UuidText
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.faultpoints import step
from prebuild_tasks.messaging import NOTHING_SHOWN, Publisher
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.lookup import read_names
from prebuild_tasks.schema.row_locks import in_key_order
from prebuild_tasks.workspaces.new_builds import NewBuild

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FollowUp:
    """The messages that remain to be sent after a commit. False if there are none; `|` joins two.

    A service that writes returns one, alone or in its result, and its caller sends it after the commit. Do not drop it:
    nothing is built and no pool is refilled until the sweep or the tick makes up for it.
    """

    builds: tuple[NewBuild, ...] = ()
    """Pending builds that have no message yet, in the order in which they are sent."""
    wake: Mapping[int, str] = field(default_factory=dict)
    """Presets that get a turn: the name for people by id, empty if it was not read."""

    @classmethod
    def of(cls, builds: Iterable[NewBuild] = (), wake: Iterable[int] = (), *, ref: PresetRef | None = None) -> FollowUp:
        """Make a follow-up.

        Args:
            builds: Builds to send.
            wake: Ids of presets that get a turn.
            ref: The presets' name; None: it was not read.
        """
        return cls(tuple(builds), dict.fromkeys(wake, str(ref or "")))

    def __bool__(self) -> bool:
        """Return whether there is anything to send."""
        return bool(self.builds or self.wake)

    def __or__(self, other: FollowUp) -> FollowUp:
        """Join two, the builds in order; a preset's name is kept where either has it."""
        named = {preset_id: ref for preset_id, ref in other.wake.items() if ref or preset_id not in self.wake}
        return FollowUp(self.builds + other.builds, {**self.wake, **named})

    def builds_by_host(self) -> dict[str, list[NewBuild]]:
        """Return the builds by the host whose queue they are in, in their order."""
        by_host: dict[str, list[NewBuild]] = {}
        for build in self.builds:
            by_host.setdefault(build.queue, []).append(build)
        return by_host


class DeadlinePublisher(Publisher, Protocol):
    """A publisher that can also send within a deadline."""

    def wake(self, preset_ids: Sequence[str], deadline: float, *, shown: Mapping[str, str] = NOTHING_SHOWN) -> bool:
        """Enqueue a turn per preset within `deadline` seconds, and return whether that succeeded."""


def send(database: Database, publisher: Publisher, follow_up: FollowUp) -> int:
    """Send a follow-up, builds first, and return the number of builds sent. Call it after the commit.

    If messages are lost, the sweep sends the builds again, and the tick gives the presets their turn.
    """
    sent = _publish(database, publisher, follow_up)
    if follow_up.wake:
        publisher.reconcile([str(preset_id) for preset_id in follow_up.wake], shown=_names(database, follow_up.wake))
    return sent


def send_within(database: Database, publisher: DeadlinePublisher, follow_up: FollowUp, deadline: float) -> None:
    """Send as much of a follow-up as `deadline` seconds allow, turns first, and log what was not sent.

    For callers whose answer must not wait for Redis. An unreachable database raises nothing, because the commit has to
    be answered; the sweep and the tick make up for what was not sent.
    """
    if not follow_up:
        return
    ends = monotonic() + deadline
    ids = [str(preset_id) for preset_id in follow_up.wake]
    woken = not ids or publisher.wake(ids, deadline, shown=_names(database, follow_up.wake))
    if woken and follow_up.builds and monotonic() < ends:
        try:
            _publish(database, publisher, follow_up)
        except PrebuildError as error:
            log.warning("builds_not_published", builds=len(follow_up.builds), error=str(error))


def leave_to_upkeep(follow_up: FollowUp) -> None:
    """Send nothing. For callers that cannot send, and for which the sweep and the tick are soon enough."""
    log.debug("follow_up_left", builds=len(follow_up.builds), presets=len(follow_up.wake))


def _publish(database: Database, publisher: Publisher, follow_up: FollowUp) -> int:
    """Send one message per build, after marking the builds as published.

    If the builds were marked afterwards, a builds worker that receives a message at once could find the row locked by
    that, skip it, and leave the build without a message.
    """
    if not follow_up.builds:
        return 0
    ids = [build.id for build in follow_up.builds]
    step("publish.after_commit")
    with database.write() as connection:
        mark_published(connection, ids, database.now(connection))
    step("publish.before")
    sent = publisher.builds(
        {host: [build.id for build in builds] for host, builds in follow_up.builds_by_host().items()},
        shown={build.id: f"{build.id}: {build.work}" for build in follow_up.builds if build.work},
    )
    step("publish.after")
    if not sent:
        with database.write() as connection:
            mark_unpublished(connection, ids)
    return sent


def _names(database: Database, wake: Mapping[int, str]) -> Mapping[str, str]:
    """Return the presets' names by id. They are read if one is missing; if that fails, no name is returned."""
    names = {str(preset_id): ref for preset_id, ref in wake.items()}
    if all(names.values()):
        return names
    try:
        with database.read() as connection:
            return {preset_id: str(ref) for preset_id, ref in read_names(connection, list(names)).items()}
    except PrebuildError:
        return NOTHING_SHOWN


def _is_one_of(connection: Connection, column: Any, ids: Collection[str]) -> ColumnElement[bool]:
    """Build the condition that the column has one of these ids.

    On PostgreSQL they are one parameter: converting a hundred parameters takes longer than writing a hundred rows.
    """
    if connection.dialect.name != "postgresql":
        return cast("ColumnElement[bool]", column.in_(list(ids)))
    return cast("ColumnElement[bool]", column == any_(literal(list(ids), ARRAY(UuidText))))


def mark_published(connection: Connection, build_ids: Collection[str], now: datetime) -> None:
    """Record that messages of these builds are sent, so that the sweep sends again only what may have been lost."""
    connection.execute(
        update(m.Build)
        .where(_are_pending(connection, build_ids))
        .values(published_at=now, publications=m.Build.publications + 1)
    )


def mark_unpublished(connection: Connection, build_ids: Collection[str]) -> None:
    """Record that the messages of these builds could not be sent."""
    connection.execute(update(m.Build).where(_are_pending(connection, build_ids)).values(published_at=None))


def _are_pending(connection: Connection, build_ids: Collection[str]) -> ColumnElement[bool]:
    """Build the condition for those of these builds that are pending, which the sweep may be sending, too."""
    return in_key_order(
        m.Build.id, _is_one_of(connection, m.Build.id, build_ids), m.Build.status == BuildStatus.PENDING
    )
