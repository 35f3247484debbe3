"""Send what a commit leaves to do."""

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
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.lookup import read_names
from prebuild_tasks.workspaces.new_builds import NewBuild

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What a commit leaves to do. Falsy when there is nothing; `|` joins two.

    A service that writes returns one, alone or in its result, and its caller sends it after the commit. It must not be
    dropped: until the sweep or the tick finds what was lost, nobody builds and no pool is refilled.
    """

    builds: tuple[NewBuild, ...] = ()
    """Pending builds that have no message yet, in the order in which they are to be sent."""
    wake: Mapping[int, str] = field(default_factory=dict)
    """Presets that are to get a turn: the name that people are shown by id, empty where it was not read."""

    @classmethod
    def of(cls, builds: Iterable[NewBuild] = (), wake: Iterable[int] = (), *, ref: str = "") -> FollowUp:
        """Make one of builds and preset ids. `ref`: the presets' name, where it is known."""
        return cls(tuple(builds), dict.fromkeys(wake, ref))

    def __bool__(self) -> bool:
        """Return whether there is anything to send."""
        return bool(self.builds or self.wake)

    def __or__(self, other: FollowUp) -> FollowUp:
        """Join two, the builds in order; a preset's name is kept where either has it."""
        named = {preset_id: ref for preset_id, ref in other.wake.items() if ref or preset_id not in self.wake}
        return FollowUp(self.builds + other.builds, {**self.wake, **named})

    def builds_by_host(self) -> dict[str, list[NewBuild]]:
        """Group the builds by the host whose queue they belong to, in their order."""
        found: dict[str, list[NewBuild]] = {}
        for build in self.builds:
            found.setdefault(build.queue, []).append(build)
        return found


class DeadlinePublisher(Publisher, Protocol):
    """A publisher that can also give up in time."""

    def wake(self, preset_ids: Sequence[str], deadline: float, *, shown: Mapping[str, str] = NOTHING_SHOWN) -> bool:
        """Enqueue one reconcile per preset within `deadline` seconds or not at all; whether they were sent."""


def send(database: Database, publisher: Publisher, follow_up: FollowUp) -> int:
    """Send the builds, then the turns; return how many builds were sent. Call it after the commit.

    The sweep sends again what is lost of the builds, and the tick sees to the presets.
    """
    sent = _publish(database, publisher, follow_up)
    if follow_up.wake:
        publisher.reconcile([str(preset_id) for preset_id in follow_up.wake], shown=_names(database, follow_up.wake))
    return sent


def send_within(database: Database, publisher: DeadlinePublisher, follow_up: FollowUp, deadline: float) -> None:
    """Send what `deadline` seconds allow, the turns first, and give up the rest with a warning.

    For callers whose answer must not wait for Redis. Raises nothing for a database that is away: what was committed is
    answered, and the sweep and the tick see to the rest.
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
    """Send nothing, on purpose: for callers that can't, and for which the sweep and the tick are soon enough."""
    log.debug("follow_up_left", builds=len(follow_up.builds), presets=len(follow_up.wake))


def _publish(database: Database, publisher: Publisher, follow_up: FollowUp) -> int:
    """Send one token per build, remembered before it is sent.

    Else a builds worker that gets the token at once could find the row locked by us, pass over it, and leave the build
    without a token.
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
    """Names by id; in one statement if any is unknown, and none when the database has no time for it."""
    known = {str(preset_id): ref for preset_id, ref in wake.items()}
    if all(known.values()):
        return known
    try:
        with database.read() as connection:
            return read_names(connection, list(known))
    except PrebuildError:
        return NOTHING_SHOWN


def _is_one_of(connection: Connection, column: Any, ids: Collection[str]) -> ColumnElement[bool]:
    """One value for all on PostgreSQL: a hundred parameters take longer to convert than a hundred rows to write."""
    if connection.dialect.name != "postgresql":
        return cast("ColumnElement[bool]", column.in_(list(ids)))
    return cast("ColumnElement[bool]", column == any_(literal(list(ids), ARRAY(UuidText))))


def mark_published(connection: Connection, build_ids: Collection[str], now: datetime) -> None:
    """Remember that the builds were sent, so that the sweep sends only what may have been lost."""
    connection.execute(
        update(m.Build)
        .where(_is_one_of(connection, m.Build.id, build_ids), m.Build.status == BuildStatus.PENDING)
        .values(published_at=now, publications=m.Build.publications + 1)
    )


def mark_unpublished(connection: Connection, build_ids: Collection[str]) -> None:
    """They could not be sent after all."""
    connection.execute(
        update(m.Build)
        .where(_is_one_of(connection, m.Build.id, build_ids), m.Build.status == BuildStatus.PENDING)
        .values(published_at=None)
    )
