"""A claim that waits for several pools locked an organization after the installation, and in the claim's order."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select, text

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.row_locks import for_no_key_update, skip_locked
from tests.support.pool_files import load_text
from tests.support.wait import wait_until

NAMES = ("one", "two", "three")
LIMIT = 5


@pytest.fixture
def database(patient_database: Database) -> Database:
    return patient_database


def declare_full_but(database: Database, settings: Settings, roomy: str) -> list[str]:
    """Declare a pool for each organization, all of which except `roomy` may have no workspace; return them by id."""
    lines = ["schema: 1", "organizations:"]
    lines += [f"  - {{name: {name}{'' if name == roomy else ', max_workspaces: 0'}}}" for name in NAMES]
    lines.append("templates:")
    for name in NAMES:
        lines.append(f"  - {{name: {name}, organization: {name}, config: {{start: 'true'}}, presets: [{{name: s}}]}}")
    apply(database, settings, load_text("\n".join(lines)), ApplyOptions(actor="test"))
    with database.read() as connection:
        query = select(m.Organization.name).where(m.Organization.name.in_(NAMES)).order_by(m.Organization.id)
        return list(connection.execute(query).scalars())


def is_waiting(database: Database) -> bool:
    with database.read() as connection:
        query = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(connection.execute(query).scalar_one())


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("held", [0, 1, 2])
def test_organizations_are_locked_by_id_and_before_the_installation(
    database: Database, settings: Settings, held: int, backwards: bool
) -> None:
    by_id = declare_full_but(database, settings, roomy="")
    asked = by_id[::-1] if backwards else by_id
    roomy = asked[-1]
    assert declare_full_but(database, settings, roomy) == by_id
    answers: list[object] = []
    request = ClaimRequest("ada", [f"{name}/s" for name in asked], wait=True)
    thread = threading.Thread(target=lambda: answers.append(claim(database, request, max_builds_in_flight=LIMIT)))
    with database.write() as connection:
        one = select(m.Organization.id).where(m.Organization.name == by_id[held])
        connection.execute(for_no_key_update(one)).one()
        thread.start()
        wait_until(lambda: is_waiting(database), timeout=60, what="a claim that waits for the organization")
        with database.write() as other:
            free = other.execute(skip_locked(select(m.Organization.name).where(m.Organization.name.in_(NAMES))))
            free_names = set(free.scalars())
            assert other.execute(skip_locked(select(m.Installation.id))).all(), "the installation comes last"
    thread.join(60)
    assert free_names == set(by_id[held + 1 :]), "only those before it are held"
    [answer] = answers
    assert isinstance(answer, BeingBuilt)
    with database.read() as connection:
        query = select(m.Organization.name).join(m.Workspace, m.Workspace.organization_id == m.Organization.id)
        assert connection.execute(query).scalars().all() == [roomy]
