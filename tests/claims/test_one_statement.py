"""The claim in one statement is equivalent to the claim in steps. PostgreSQL only: SQLite always claims in steps."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from psycopg._queries import MAX_CACHED_STATEMENT_LENGTH
from sqlalchemy import literal, select, update

from prebuild_tasks.claims import take as claims
from prebuild_tasks.claims.one_statement import statement_text
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import Claimed, ClaimRequest
from prebuild_tasks.clock import utcnow
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.db.types import UtcDateTime
from prebuild_tasks.errors import ClaimMissError, RefusedError
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.reconcile.store.expiry import fresh_since_sql, is_expired_sql
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.rules import has_hook
from prebuild_tasks.workspaces.store import has_hook_sql
from tests.support.builders import PRESET, declare, fill, preset_id, workspaces
from tests.support.roundtrips import asked_of_postgresql

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def take(database: Database, owner: str, **request: Any) -> Claimed:
    return claim(database, ClaimRequest(owner=owner, presets=[PRESET], **request))


def test_a_claim_is_one_round_trip(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    with asked_of_postgresql() as asked:
        take(database, "ada")
    assert len(asked) == 1
    assert "SKIP LOCKED" in asked[0]


def test_its_words_are_short_enough_for_the_drivers_cache(database_url: str) -> None:
    for clock in (None, utcnow):
        database = Database(database_url, clock)
        for versioned, restricted in product((False, True), repeat=2):
            text = statement_text(database.now_sql()[0], versioned=versioned, restricted=restricted)
            assert len(text) <= MAX_CACHED_STATEMENT_LENGTH
        database.close()


def test_it_writes_what_the_claim_in_steps_writes(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(database, settings, 2, config="claim: 'true'", extra="claimed_ttl: 1h")
    fill(database, settings)
    first = take(database, "ada")
    monkeypatch.setattr(claims, "claim_in_one_statement", lambda *_args, **_kwargs: None)
    second = take(database, "bob")
    told = [{**claimed.answer.report(), "builds": len(claimed.follow_up.builds)} for claimed in (first, second)]
    assert told[0].keys() == told[1].keys()
    assert [claimed.answer.claimed_until - claimed.answer.claimed_at for claimed in (first, second)] == [
        timedelta(hours=1)
    ] * 2
    one, other = (_written(database, owner) for owner in ("ada", "bob"))
    assert [kind for kind, _ in one] == ["workspaces", "builds", "claim_events", "claim_requests", "history"]
    assert one == other
    with database.read() as connection:
        latency = connection.execute(select(m.ClaimEvent.latency_ms)).scalars().all()
    assert all(0 < ms < 10_000 for ms in latency)


_OWN = {"id", "name", "created_at", "ready_at", "claimed_at", "claimed_until", "workspace_id", "at", "request_id"}
_OWN |= {"owner", "workspace", "initiator", "actor", "latency_ms", "resource_id", "key", "body_digest", "actor_name"}


def _written(database: Database, owner: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the rows of the owner's claim, without ids and times."""
    found = []
    with database.read() as connection:
        for table, who in (
            (m.Workspace, m.Workspace.owner),
            (m.Build, m.Build.initiator),
            (m.ClaimEvent, m.ClaimEvent.owner),
            (m.BoundRequest, m.BoundRequest.owner),
            (m.History, m.History.actor),
        ):
            row = connection.execute(select(table.__table__).where(who == owner)).one()
            found.append((table.__tablename__, {k: v for k, v in row._mapping.items() if k not in _OWN}))
    return found


def test_a_recipe_personalises_in_sql_as_in_python(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    hooks: list[Any] = ["", "true", "false", ["sh", "-c", "x"], [], {}, True, False, 0, None]
    with database.write() as connection:
        for config in [{"start": "true"}, *({"start": "true", "claim": hook} for hook in hooks)]:
            connection.execute(update(m.TemplateVersion).values(config=config))
            told = connection.execute(select(has_hook_sql()).select_from(m.TemplateVersion)).scalar_one()
            assert told is has_hook(config), config


def test_fresh_is_what_is_not_expired_to_the_microsecond(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    micro = timedelta(microseconds=1)
    with database.write() as connection:
        now = database.now(connection)
        fresh = m.Workspace.created_at >= fresh_since_sql(literal(now, UtcDateTime()))
        query = select(is_expired_sql(now), fresh).join(m.Preset, m.Preset.id == m.Workspace.preset_id)
        for ttl, off, invalidated in product((None, 0.0, 0.1, 3600.0, 86_400.123457), (-1, 0, 1), (None, -1, 0, 1)):
            created = now - timedelta(seconds=ttl or 5) + off * micro
            at = None if invalidated is None else created + invalidated * micro
            connection.execute(update(m.Preset).values(ttl_s=ttl, last_invalidated_at=at))
            connection.execute(update(m.Workspace).values(created_at=created))
            is_expired, is_fresh = connection.execute(query).one()
            assert is_fresh is not is_expired, (ttl, off, invalidated)


def test_a_full_owner_is_refused_and_one_below_the_limit_is_not(database: Database, settings: Settings) -> None:
    declare(database, settings, 4, organizations="[{name: default, max_per_owner: 2}]")
    fill(database, settings)
    with asked_of_postgresql() as asked:
        take(database, "ada")
    assert [statement.split()[0] for statement in asked] == ["WITH", "BEGIN", "SELECT", "SELECT", "WITH", "COMMIT"]
    take(database, "ada")
    with pytest.raises(RefusedError, match="the limit is 2"):
        take(database, "ada")
    assert len(workspaces(database, m.Workspace.owner == "ada")) == 2


def test_a_repeated_request_changes_no_further_workspace(database: Database, settings: Settings) -> None:
    declare(database, settings, 3)
    fill(database, settings)
    first = take(database, "ada", request_id="r")
    assert take(database, "ada", request_id="r").answer == first.answer
    with pytest.raises(RefusedError, match="another owner"):
        take(database, "bob", request_id="r")
    assert len(workspaces(database, m.Workspace.owner == "prebuilds")) == 2


def test_a_version_that_is_named_and_one_that_is_deleted(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    with database.read() as connection:
        version = connection.execute(select(m.TemplateVersion.name)).scalar_one()
    assert claim(database, ClaimRequest(owner="ada", presets=[f"{PRESET}@{version}"])).answer.preset == PRESET
    with database.write() as connection:
        connection.execute(update(m.Template).values(deleted_at=database.now(connection)))
    with pytest.raises(ClaimMissError):
        claim(database, ClaimRequest(owner="ada", presets=[str(preset_id(database))]))


def test_one_whose_build_is_not_done_is_left(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    with database.write() as connection:
        connection.execute(update(m.Workspace).values(status=BuildStatus.RUNNING))
    with pytest.raises(ClaimMissError):
        take(database, "ada")
