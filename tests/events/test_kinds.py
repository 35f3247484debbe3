"""Each kind of event is written by the service that makes the change."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.events import Event
from prebuild_tasks.model.event_kinds import TOKEN_KINDS, EventKind
from tests.events.service import Service
from tests.events.writers import ABOUT_EVERYTHING, NOBODY, WRITERS, claims, misses
from tests.support.builders import PRESET, build_all, fill_really, turn
from tests.support.event_log import read_all


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
        is_about_pool = kind not in TOKEN_KINDS and write not in ABOUT_EVERYTHING
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
