"""The history as an audit reads it, on both databases."""

from __future__ import annotations

import pytest

from prebuild_tasks.access import Reach
from prebuild_tasks.access.tokens import create_token
from prebuild_tasks.access.types import NewTokenRequest, Scope
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.events import Listener
from prebuild_tasks.insight.audit_log import AuditFilter, list_audit
from prebuild_tasks.insight.history import read_history
from prebuild_tasks.pools.operations import pause
from tests.support.organizations import fill_organizations

ALL = Listener()


@pytest.fixture(autouse=True)
def past(database: Database, settings: Settings) -> None:
    fill_organizations(database, settings)
    create_token(database, NewTokenRequest(name="ci", scope=Scope.READ), actor="eve")
    pause(database, "ops/small", actor="eve", reason="cost")
    claim(database, ClaimRequest(owner="ada", presets=["dev/small"], name="hers"))


def events(database: Database, listener: Listener = ALL, **wanted: str) -> list[str]:
    return [row.event.event for row in list_audit(database, listener, AuditFilter(**wanted), None, 100)]


def test_it_is_the_history_backwards(database: Database) -> None:
    rows = list_audit(database, ALL, AuditFilter(), None, 100)
    assert [row.event for row in rows] == list(reversed(read_history(database)))
    paged, after = [], None
    while page := list_audit(database, ALL, AuditFilter(), after, 2):
        paged += page
        after = int(page[-1].id)
    assert paged == rows


def test_filters(database: Database) -> None:
    assert events(database, event="paused") == ["paused"]
    assert sorted(events(database, who="eve")) == ["paused", "token_created"]
    assert "claimed" in events(database, workspace="ada/hers")
    assert events(database, workspace="ada/other") == []
    assert events(database, workspace="ada/hers", who="eve") == []
    of_pool = list_audit(database, ALL, AuditFilter(preset="ops/small"), None, 100)
    assert [row.event for row in of_pool] == list(reversed(read_history(database, preset="ops/small")))
    with pytest.raises(NotFoundError):
        events(database, preset="no/such")


def test_who_sees_what(database: Database) -> None:
    assert "token_created" in events(database)
    assert "token_created" not in events(database, Listener(sees_tokens=False))
    acme = events(database, Listener(Reach(organization="acme"), sees_tokens=False))
    assert "claimed" in acme
    assert not {"paused", "applied", "token_created"} & {*acme}
    for owner, sees in (("ada", True), ("bob", False)):
        assert ("claimed" in events(database, Listener(Reach(owner=owner), sees_tokens=False))) is sees
    with pytest.raises(NotFoundError):
        events(database, Listener(Reach(organization="acme")), preset="ops/small")
