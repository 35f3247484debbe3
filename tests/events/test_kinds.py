"""Each kind of event is written by the service that makes the change."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest
from sqlalchemy import update

from prebuild_tasks.access import NewTokenRequest, Scope, create_token, revoke_token
from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.events import Event
from prebuild_tasks.model.event_kinds import EventKind
from prebuild_tasks.pools import operations
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.lost_hosts import give_up_lost
from prebuild_tasks.upkeep.sweep import sweep
from prebuild_tasks.workspaces.release import end_workspace
from tests.support.builders import PRESET, build_all, declare, fill_really, jump, turn
from tests.support.event_log import read_all
from tests.support.hosts import be_silent_for_long, place_on, report_presence

PREBUILDS, NOBODY = "prebuilds", None


@dataclass(frozen=True, slots=True)
class Service:
    """What the services work with."""

    database: Database
    settings: Settings
    runner: BuildRunner

    def claim(self, owner: str = "ada", *, wait: bool = False) -> str:
        claimed = claim(self.database, ClaimRequest(owner, [PRESET], wait=wait))
        return claimed.reserved.workspace_id if isinstance(claimed, BeingBuilt) else claimed.answer.workspace_id

    def empty(self) -> None:
        """Leave a pool that has no prebuild, and builds none before its next turn."""
        declare(self.database, self.settings, 0)

    def filled(self, desired: int = 1, extra: str = "", organizations: str = "[]") -> None:
        declare(self.database, self.settings, desired, extra=extra, organizations=organizations, yes=True)
        fill_really(self.database, self.settings, self.runner)


def claims(service: Service) -> None:
    service.filled()
    service.claim()


def misses(service: Service) -> None:
    service.empty()
    with suppress(ClaimMissError):
        service.claim()


def waits(service: Service) -> None:
    service.empty()
    service.claim(wait=True)


def hands_over(service: Service) -> None:
    waits(service)
    build_all(service.database, service.runner)


def releases(service: Service) -> None:
    service.filled()
    end_workspace(service.database, service.claim(), actor="ada")


def deletes(service: Service) -> None:
    service.filled()
    end_workspace(service.database, service.claim(), actor="root", operator=True)


def lets_time_run_out(service: Service) -> None:
    service.filled(extra="claimed_ttl: 1h")
    service.claim()
    build_all(service.database, service.runner)
    jump(service.database, 3700)
    sweep(service.database, service.settings, lambda _: 0)


def builds(service: Service) -> None:
    service.filled()


def cancels(service: Service) -> None:
    declare(service.database, service.settings, 1)
    turn(service.database, service.settings)
    declare(service.database, service.settings, 0, yes=True)
    turn(service.database, service.settings)


def falls_short(service: Service) -> None:
    service.filled()
    service.claim()
    turn(service.database, service.settings)


def pauses(service: Service) -> None:
    service.empty()
    operations.pause(service.database, PRESET, actor="root")


def resumes(service: Service) -> None:
    pauses(service)
    operations.resume(service.database, PRESET, actor="root")


def promotes_by_file(service: Service) -> None:
    service.empty()
    declare(service.database, service.settings, 0, start="true; true", yes=True)


def promotes(service: Service) -> None:
    service.empty()
    declare(service.database, service.settings, 0, start="true; true", promote=False)
    with service.database.read() as connection:
        versions = m.TemplateVersion
        newest = connection.execute(versions.__table__.select().order_by(versions.id.desc()).limit(1)).one()
    operations.promote(service.database, "dev", newest.name, actor="root")


def replaces(service: Service) -> None:
    service.filled()
    operations.invalidate(service.database, PRESET, actor="root")
    jump(service.database, 1)
    operations.invalidate(service.database, PRESET, actor="root")
    turn(service.database, service.settings)


def loses_a_host(service: Service) -> None:
    service.filled()
    place_on(service.database, "old")
    with service.database.write() as connection:
        connection.execute(update(m.Workspace).values(host="old"))
    _, new = report_presence(service.database, service.settings, "old", "new")
    be_silent_for_long(service.database, service.settings, new)
    give_up_lost(service.database, service.settings)


def reaches_its_quota(service: Service) -> None:
    service.filled(2, organizations="[{name: default, max_workspaces: 1}]")


def creates_a_token(service: Service) -> None:
    create_token(service.database, NewTokenRequest(name="portal", scope=Scope.READ), actor="root")


def revokes_a_token(service: Service) -> None:
    creates_a_token(service)
    revoke_token(service.database, "portal", actor="root")


WRITERS: list[tuple[EventKind, Callable[[Service], None], str | None]] = [
    (EventKind.CLAIM, claims, "ada"),
    (EventKind.MISS, misses, "ada"),
    (EventKind.MISS, waits, "ada"),
    (EventKind.HANDED_OVER, hands_over, "ada"),
    (EventKind.RELEASED, releases, "ada"),
    (EventKind.ENDED, deletes, "ada"),
    (EventKind.ENDED, lets_time_run_out, "ada"),
    (EventKind.BUILD_ENDED, builds, PREBUILDS),
    (EventKind.BUILD_ENDED, cancels, PREBUILDS),
    (EventKind.POOL_SHORT, falls_short, NOBODY),
    (EventKind.POOL_FULL, builds, NOBODY),
    (EventKind.PAUSED, pauses, NOBODY),
    (EventKind.RESUMED, resumes, NOBODY),
    (EventKind.VERSION_PROMOTED, promotes_by_file, NOBODY),
    (EventKind.VERSION_PROMOTED, promotes, NOBODY),
    (EventKind.PREBUILD_REPLACED, replaces, PREBUILDS),
    (EventKind.HOST_LOST, loses_a_host, PREBUILDS),
    (EventKind.LIMITS_REACHED, reaches_its_quota, NOBODY),
    (EventKind.TOKEN_CREATED, creates_a_token, NOBODY),
    (EventKind.TOKEN_REVOKED, revokes_a_token, NOBODY),
]
"""Each kind with what lets a service write it, and the owner whom it concerns."""


def test_every_kind_has_a_writer() -> None:
    assert {kind for kind, *_ in WRITERS} == set(EventKind)


@pytest.mark.parametrize(("kind", "write", "owner"), WRITERS, ids=[f"{row[0]}-{row[1].__name__}" for row in WRITERS])
def test_it_is_written(  # the services' arguments, and a row of the table
    database: Database,
    settings: Settings,
    runner: BuildRunner,
    kind: EventKind,
    write: Callable[[Service], None],
    owner: str | None,
) -> None:
    write(Service(database, settings, runner))
    events = read_all(database)
    assert [event.id for event in events] == sorted({event.id for event in events})
    last = [event for event in events if event.kind is kind][-1:]
    assert [event.owner for event in last] == [owner], [event.kind for event in events]
    for event in last:
        is_about_pool = kind not in (EventKind.TOKEN_CREATED, EventKind.TOKEN_REVOKED)
        assert str(event.pool) == (PRESET if is_about_pool else "None")
        assert (event.workspace is None) == (owner is NOBODY or write is misses)


def test_a_build_tells_its_id_and_its_end(database: Database, settings: Settings, runner: BuildRunner) -> None:
    claims(Service(database, settings, runner))
    build_all(database, runner)
    ended = [event.data for event in read_all(database) if event.kind is EventKind.BUILD_ENDED]
    assert [(data["transition"], data["status"]) for data in ended] == [("start", "succeeded"), ("claim", "succeeded")]
    assert all(data["build"] for data in ended)


def sizes(events: list[Event]) -> list[tuple[EventKind, object, object]]:
    """Return the events about the size of a pool."""
    about_size = (EventKind.POOL_SHORT, EventKind.POOL_FULL)
    return [(event.kind, event.data["eligible"], event.data["desired"]) for event in events if event.kind in about_size]


def test_only_a_change_of_the_size_is_told(database: Database, settings: Settings, runner: BuildRunner) -> None:
    """A turn with nothing to tell writes nothing, and one with only an event to write changes no prebuild."""
    service = Service(database, settings, runner)
    service.filled(2)
    filled = [(EventKind.POOL_SHORT, 0, 2), (EventKind.POOL_FULL, 2, 2)]
    assert sizes(read_all(database)) == filled
    for _ in range(2):
        service.claim()
        turn(database, settings)
    assert sizes(read_all(database)) == [*filled, (EventKind.POOL_SHORT, 1, 2)]
    assert turn(database, settings).outcome == "steady"
    assert fill_really(database, settings, runner) == 2
    number = len(read_all(database))
    assert sizes(read_all(database))[3:] == [(EventKind.POOL_FULL, 2, 2)]
    assert turn(database, settings).outcome == "steady"
    assert len(read_all(database)) == number
