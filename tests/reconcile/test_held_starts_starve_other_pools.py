"""Starts on hold used to take an organization's and the installation's builds in flight from pools that can build."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import CannotAskError
from prebuild_tasks.insight.assessment import read_context
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.reconcile.rules.limits import Contender, LimitReason, share_limits
from prebuild_tasks.reconcile.rules.model import Usage
from prebuild_tasks.reconcile.store.snapshots import read_pools
from prebuild_tasks.schema import tables as m
from tests.support.builders import turn
from tests.support.pool_files import load_text

TEXT = """
schema: 1
organizations: [{{name: default{organization}}}]
templates:
  - name: away
    config: {{start: "true"}}
    presets: [{{name: small, desired: {held}{own}}}]
  - name: dev
    config: {{start: "true"}}
    presets: [{{name: small, desired: 2}}]
"""
LIMITS = [(", max_builds_in_flight: 3", 0), ("", 3)]


def hold(
    database: Database, settings: Settings, organization: str, everywhere: int, *, own: str = "", held: int = 2
) -> Settings:
    """Declare both pools, with starts of the first on hold, and return the settings."""
    settings = settings.model_copy(update={"max_builds_in_flight": everywhere})
    text = TEXT.format(organization=organization, own=own, held=held)
    apply(database, settings, load_text(text), ApplyOptions(actor="test", yes=True))
    assert turn(database, settings, "away/small").created == held
    with database.write() as connection:
        connection.execute(update(m.Build).values(attempt=1, holds=1, error_code=CannotAskError.code))
    return settings


@pytest.mark.parametrize(("organization", "everywhere"), LIMITS)
def test_a_pool_that_can_build_gets_all_it_lacks(
    database: Database, settings: Settings, organization: str, everywhere: int
) -> None:
    settings = hold(database, settings, organization, everywhere)
    with database.read() as connection:
        now, rows = read_pools(database, connection, settings.backoff_lookback)
        context = read_context(connection, settings, now, rows)
    assert context.everywhere == 0
    assert [usage.builds_in_flight for usage in context.usage.values()] == [0]
    assert turn(database, settings, "dev/small").created == 2


@pytest.mark.parametrize(("organization", "everywhere"), LIMITS)
def test_so_does_a_person_who_waits(database: Database, settings: Settings, organization: str, everywhere: int) -> None:
    settings = hold(database, settings, organization.replace("3", "1"), everywhere and 1, held=1)
    with database.write() as connection:
        connection.execute(update(m.Preset).values(desired=0))
    request = ClaimRequest("ada", ["dev/small"], wait=True)
    assert isinstance(claim(database, request, max_builds_in_flight=everywhere and 1), BeingBuilt)


def test_they_count_for_their_own_pool(database: Database, settings: Settings) -> None:
    hold(database, settings, "", 0, own=", max_builds_in_flight: 2")
    with database.write() as connection:
        connection.execute(update(m.Preset).values(desired=5))
    assert turn(database, settings, "away/small").created == 0
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(m.Build)).scalar_one() == 2


def test_they_keep_their_share_of_the_quota_of_workspaces() -> None:
    usage = {1: Usage("default", max_workspaces=5, max_builds_in_flight=2, workspaces=4, builds_in_flight=0)}
    pools = [Contender("1", 4, 0, organization_id=1, held=4), Contender("2", 0, 3, organization_id=1)]
    builds, quota = share_limits(usage, pools, 0)[1]
    assert (builds.reason, builds.allowance("2", 3)) == (LimitReason.ORGANIZATION_BUILDS, 2)
    assert (quota.reason, quota.allowance("2", 3)) == (LimitReason.QUOTA, 2), "each has about half of five"
