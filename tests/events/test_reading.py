"""Pages, filters, who sees which events, and the beginning of the log."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import ColumnElement, delete, func, select, update

from prebuild_tasks.access import NewTokenRequest, Reach, Scope, create_token
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import EventsGoneError, NotFoundError
from prebuild_tasks.events import (
    EventFilter,
    EventPage,
    Listener,
    PrunedNumbers,
    is_asked_for,
    newest_event,
    note_pruned,
    number_all_events,
    read_events,
    read_log,
    sees_event,
)
from prebuild_tasks.events.reading import is_asked_for_sql, sees_event_sql
from prebuild_tasks.model.event_kinds import CLAIMED, KINDS, EventKind, kind_of
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.pools import operations
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.events import is_in_log, is_of_kinds, number_column
from prebuild_tasks.schema.history import add_history
from prebuild_tasks.upkeep.retention.run import prune
from tests.support.builders import jump
from tests.support.organizations import fill_organizations


@pytest.fixture
def busy(database: Database, settings: Settings) -> Database:
    """A database with events of two organizations, three pools and two owners, and some about no pool."""
    fill_organizations(database, settings)
    claim(database, ClaimRequest("ada", ["dev/small"]))
    claim(database, ClaimRequest("bob", ["ops/small"]))
    operations.pause(database, "dev/large", actor="test")
    operations.pause(database, actor="test")
    create_token(database, NewTokenRequest(name="portal", scope=Scope.READ), actor="test")
    with database.write() as connection:
        # As release 0.1 writes it: whose workspace it is, the row does not tell.
        workspace = connection.execute(select(m.Workspace).where(m.Workspace.owner == "ada")).one()
        add_history(
            connection, "released", now=database.now(connection), actor="ada", workspace_ids=[workspace.id],
            preset_id=workspace.preset_id,
        )  # fmt: skip
        newest = select(func.max(m.History.id)).scalar_subquery()
        connection.execute(update(m.History).where(m.History.id == newest).values(owner="", workspace=""))
    number_all_events(database)
    return database


REACHES = [
    Reach(),
    Reach(organization="acme"),
    Reach(organization="nobody"),
    Reach(presets=("dev/small",)),
    Reach(presets=("dev/small", "ops/small")),
    Reach(organization="acme", presets=("dev/small", "ops/small")),
    Reach(owner="ada"),
    Reach(owner="bob", organization="acme"),
]


def numbers(database: Database, *conditions: ColumnElement[bool]) -> list[int]:
    """Return the numbers of the events of the log that meet conditions on them and their presets."""
    with database.read() as connection:
        number = number_column(connection)
        query = select(number).outerjoin(m.Preset, m.Preset.id == m.History.preset_id).order_by(number)
        is_event = is_of_kinds(frozenset(EventKind))
        return list(connection.execute(query.where(is_in_log(connection), is_event, *conditions)).scalars())


@pytest.mark.parametrize("sees_tokens", [True, False])
@pytest.mark.parametrize("reach", REACHES, ids=str)
def test_a_stream_shows_what_a_query_does(busy: Database, reach: Reach, sees_tokens: bool) -> None:
    """The rule in Python and the conditions in SQL are the same."""
    listener = Listener(reach, sees_tokens)
    shown = [item.event for item in read_log(busy).items if sees_event(listener, item)]
    assert list(read_events(busy, listener=listener).items) == shown
    assert numbers(busy, *sees_event_sql(listener)) == [event.id for event in shown]
    everything = {event.id for event in read_events(busy).items}
    assert {event.id for event in shown} <= everything
    assert (len(shown) == len(everything)) == (reach.is_everything and sees_tokens)


def test_a_kind_is_the_same_in_sql(database: Database) -> None:
    """Of every event that maps to one, of claims by their reasons, and of others."""
    rows = [*((event, "") for event in KINDS), *((CLAIMED, reason) for reason in ("claim", "claim_wait")), ("x", "")]
    with database.write() as connection:
        now = database.now(connection)
        for event, reason in rows:
            add_history(connection, event, now=now, actor="test", reason=reason)
        for kind in EventKind:
            query = select(m.History.event, m.History.reason).where(is_of_kinds([kind])).order_by(m.History.id)
            stored = [tuple(row) for row in connection.execute(query)]
            assert stored == [row for row in rows if kind_of(*row) is kind]


def test_owners_and_organizations_see_their_own(busy: Database) -> None:
    def seen(**reach: str) -> set[tuple[str | None, str | None]]:
        events = read_events(busy, listener=Listener(Reach(**reach), sees_tokens=False)).items
        return {(str(event.pool), event.owner) for event in events}

    everywhere = ("None", None)
    acme = {("dev/small", None), ("dev/small", "ada"), ("dev/small", ""), ("dev/large", None)}
    assert seen(organization="acme") == {*acme, everywhere}
    assert seen(owner="bob") == {
        ("ops/small", "bob"), ("dev/small", None), ("dev/large", None), ("ops/small", None), everywhere,
    }  # fmt: skip


FILTERS = [
    EventFilter(pool=PoolName("dev", "small")),
    EventFilter(owner="ada"),
    EventFilter(kinds=frozenset({EventKind.CLAIM, EventKind.HANDED_OVER})),
    EventFilter(pool=PoolName("ops", "small"), owner="bob", kinds=frozenset({EventKind.CLAIM})),
]


@pytest.mark.parametrize("wanted", FILTERS, ids=["pool", "owner", "kinds", "all"])
def test_only_what_is_asked_for(busy: Database, wanted: EventFilter) -> None:
    shown = read_events(busy, 0, wanted).items
    assert shown
    assert list(shown) == [event for event in read_events(busy).items if is_asked_for(wanted, event)]
    with busy.read() as connection:
        conditions = is_asked_for_sql(connection, wanted, Reach())
    assert numbers(busy, *conditions) == [event.id for event in shown]


def test_a_pool_out_of_reach_does_not_exist(busy: Database) -> None:
    wanted, listener = EventFilter(pool=PoolName("ops", "small")), Listener(Reach(organization="acme"))
    with pytest.raises(NotFoundError):
        read_events(busy, 0, wanted, listener)


def test_an_empty_page_repeats_where_it_began(busy: Database) -> None:
    newest = read_events(busy).next
    assert read_events(busy, newest).next == newest
    assert read_events(busy, newest).items == ()


def test_retention_moves_the_beginning(busy: Database, settings: Settings) -> None:
    """Whoever read up to what was deleted misses nothing; whoever did not is told, and 0 is always the beginning."""
    before = read_events(busy).items
    jump(busy, settings.retention_events + 60)
    with busy.write() as connection:
        connection.execute(delete(m.ClaimEvent))
        connection.execute(update(m.Workspace).values(slot=None, deleted_at=busy.now(connection) - timedelta(days=400)))
    prune(busy, settings)
    kept = read_events(busy).items
    assert 0 < len(kept) < len(before), "the newest row stays"
    last_deleted = before[-len(kept) - 1].id
    assert read_events(busy, last_deleted).items == kept
    with pytest.raises(EventsGoneError) as caught:
        read_events(busy, before[0].id)
    assert (caught.value.oldest, caught.value.exit_code) == (kept[0].id, 5)


def test_a_number_is_never_given_twice(busy: Database, settings: Settings) -> None:
    """SQLite gives the id of its newest row, once that is deleted, to the next one."""
    newest = read_events(busy).next
    jump(busy, settings.retention_events + 60)
    with busy.write() as connection:
        connection.execute(update(m.Workspace).values(slot=None, deleted_at=busy.now(connection) - timedelta(days=400)))
    prune(busy, settings)
    with busy.write() as connection:
        add_history(connection, "resumed", now=busy.now(connection), actor="test")
    number_all_events(busy)
    assert [event.id > newest for event in read_events(busy, newest).items] == [True]


def test_a_number_that_no_event_has_is_told(busy: Database) -> None:
    """It is of a database that was restored since then, or of another one."""
    page = read_events(busy)
    for read in (read_events, read_log):
        with pytest.raises(EventsGoneError) as caught:
            read(busy, page.next + 1)
        assert 0 < caught.value.oldest <= page.items[0].id
        assert caught.value.hint == f"read again what you follow, then go on after {page.next}"
    none = EventFilter(kinds=frozenset({EventKind.HANDED_OVER}))
    assert read_events(busy, page.next, none).next == page.next, "the newest number is known, whatever is asked for"
    assert read_events(busy, 0, none).items == ()


def test_numbers_that_another_process_gives_are_known(busy: Database) -> None:
    """Readers take them to any process."""
    other = Database(busy.url)
    for _ in range(5):
        with other.write() as connection:
            add_history(connection, "resumed", now=other.now(connection), actor="test")
        number_all_events(other)
        newest = read_events(other).next
        assert read_events(busy, newest) == EventPage((), newest)
    other.close()


def test_a_number_that_retention_deleted_is_known(busy: Database) -> None:
    """What is committed late has a high number in an old row, which is deleted before newer rows with lower ones."""
    newest = read_events(busy).next
    with busy.write() as connection:
        note_pruned(connection, PrunedNumbers.up_to(newest + 3), busy.now(connection))
    assert newest_event(busy) == newest + 3
    assert read_events(busy, newest + 3).items == ()
    with pytest.raises(EventsGoneError):
        read_events(busy, newest + 4)
