"""Send the follow-ups of commits, and record in the database which builds have a message."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Connection, Update, any_, bindparam, literal_column, null, update
from sqlalchemy.dialects.postgresql import psycopg

from prebuild_tasks.db.base import UuidText, is_one_of
from prebuild_tasks.db.connections import one_line
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.logs import get_logger
from prebuild_tasks.messaging import NOTHING_SHOWN, Publisher
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import constant
from prebuild_tasks.schema.lookup import read_names
from prebuild_tasks.schema.row_locks import in_key_order
from prebuild_tasks.workspaces.follow_ups import DeadlinePublisher, FollowUp, publish_builds, send_in_time

log = get_logger(__name__)


def send(database: Database, publisher: Publisher, follow_up: FollowUp) -> int:
    """Send a follow-up, builds first, and return the number of builds sent. Call it after the commit.

    If messages are lost, the sweep sends the builds again, and the tick gives the presets their turn.
    """
    sent = publish_builds(_Marks(database), publisher, follow_up)
    if follow_up.wake:
        publisher.reconcile([str(preset_id) for preset_id in follow_up.wake], shown=_names(database, follow_up.wake))
    return sent


def send_within(database: Database, publisher: DeadlinePublisher, follow_up: FollowUp, deadline: float) -> None:
    """Send as much of a follow-up as `deadline` seconds allow, turns first, and log what was not sent.

    For callers whose answer must not wait for Redis. An unreachable database raises nothing, because the commit has to
    be answered; the sweep and the tick make up for what was not sent.
    """
    send_in_time(_Marks(database), publisher, follow_up, deadline, partial(_names, database))


def send_turns_first(database: Database, publisher: Publisher, follow_up: FollowUp) -> None:
    """Send a follow-up, builds only if the turns could be sent: if not, Redis is away, and the sweep sends them.

    For a thread that nobody waits for. The publisher bounds how long Redis is waited for.
    """
    ids = [str(preset_id) for preset_id in follow_up.wake]
    if not ids or publisher.reconcile(ids, shown=_names(database, follow_up.wake)):
        publish_builds(_Marks(database), publisher, follow_up)


def leave_to_upkeep(follow_up: FollowUp) -> None:
    """Send nothing. For callers that cannot send, and for which the sweep and the tick are soon enough."""
    log.debug("follow_up_left", builds=len(follow_up.builds), presets=len(follow_up.wake))


@dataclass(frozen=True, slots=True)
class _Marks:
    """The marks of builds in a database, each made in a transaction."""

    database: Database

    def published(self, build_ids: Collection[str]) -> None:
        if self.database.dialect == "postgresql":
            now, clock = self.database.now_sql()
            ids = [UUID(build_id) for build_id in build_ids]
            self.database.change(_published_text(now), clock | {"build_ids": ids})
            return
        with self.database.write() as connection:
            mark_published(connection, build_ids, self.database.now(connection))

    def unpublished(self, build_ids: Collection[str]) -> None:
        with self.database.write() as connection:
            mark_unpublished(connection, build_ids)


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


def mark_published(connection: Connection, build_ids: Collection[str], now: datetime) -> None:
    """Record that messages of these builds are sent, so that the sweep sends again only what may have been lost."""
    connection.execute(published_statement(is_one_of(connection, m.Build.id, build_ids), now))


def mark_unpublished(connection: Connection, build_ids: Collection[str]) -> None:
    """Record that the messages of these builds could not be sent."""
    connection.execute(unpublished_statement(is_one_of(connection, m.Build.id, build_ids)))


def published_statement(chosen: ColumnElement[bool], now: datetime | ColumnElement[datetime]) -> Update:
    """Build the statement of `mark_published` for the builds that a condition chooses."""
    counted = m.Build.publications + literal_column("1")
    return update(m.Build).where(_are_pending(chosen)).values(published_at=now, publications=counted)


@cache
def _published_text(now: ColumnElement[datetime]) -> str:
    """Compile `mark_published` for psycopg: one statement that is a transaction by itself."""
    chosen = m.Build.id == any_(bindparam("build_ids", type_=ARRAY(UuidText)))
    return one_line(published_statement(chosen, now).compile(dialect=psycopg.dialect()))  # type: ignore[no-untyped-call]


def unpublished_statement(chosen: ColumnElement[bool]) -> Update:
    """Build the statement of `mark_unpublished` for the builds that a condition chooses."""
    return update(m.Build).where(_are_pending(chosen)).values(published_at=null())


def _are_pending(chosen: ColumnElement[bool]) -> ColumnElement[bool]:
    """Build the condition for those of the chosen builds that are pending, which the sweep may be sending, too."""
    return in_key_order(m.Build.id, chosen, m.Build.status == constant(BuildStatus.PENDING))
