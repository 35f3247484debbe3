"""Send what a commit leaves to do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import ARRAY, ColumnElement, Connection, any_, literal, update

from prebuild_tasks.db.base import UuidText
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.faultpoints import step
from prebuild_tasks.messaging import NOTHING_SHOWN, Publisher
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.lookup import read_names
from prebuild_tasks.workspaces.new_builds import NewBuild


def by_host(builds: Iterable[NewBuild]) -> dict[str, list[NewBuild]]:
    """Builds by the host whose queue they belong to, in the order they came."""
    found: dict[str, list[NewBuild]] = {}
    for build in builds:
        found.setdefault(build.queue, []).append(build)
    return found


def publish(database: Database, publisher: Publisher, builds: Sequence[NewBuild]) -> int:
    """Send one token per build, after the commit. What is lost here the sweep sends again.

    Remembered before it is sent: a builds worker that gets the token at once must not find the row locked by us, pass
    over it, and leave the build without a token.
    """
    if not builds:
        return 0
    ids = [build.id for build in builds]
    step("publish.after_commit")
    with database.write() as connection:
        mark_published(connection, ids, database.now(connection))
    step("publish.before")
    sent = publisher.builds(
        {host: [build.id for build in items] for host, items in by_host(builds).items()},
        shown={build.id: f"{build.id}: {build.work}" for build in builds if build.work},
    )
    step("publish.after")
    if not sent:
        with database.write() as connection:
            mark_unpublished(connection, ids)
    return sent


def follow_up(
    database: Database,
    publisher: Publisher,
    builds: Sequence[NewBuild],
    preset_ids: Iterable[int] = (),
    *,
    ref: str = "",
) -> None:
    """What every change ends with, after its commit: its builds are sent, and the pools it touched get their turn.

    `ref`: the name of the one pool, for people, where it is known; else it is asked for.
    """
    publish(database, publisher, builds)
    if ids := [str(preset_id) for preset_id in sorted(preset_ids)]:
        publisher.reconcile(ids, shown=dict.fromkeys(ids, ref) if ref else names_of(database, ids))


def names_of(database: Database, preset_ids: Sequence[str]) -> Mapping[str, str]:
    """What people are shown in place of ids, in one statement; nothing when the database has no time for it."""
    try:
        with database.read() as connection:
            return read_names(connection, preset_ids)
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
