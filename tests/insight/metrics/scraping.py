"""An exporter, and what it answers on a database that has seen some life."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.insight.metrics.catalog import METRICS
from prebuild_tasks.insight.metrics.exporter import Exporter, render
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.schema import tables as m
from prebuild_tasks.upkeep.lost_prebuilds import take_out
from tests.support.builders import PRESET, declare, fill, finish_builds, preset_id, turn, workspaces

DAY = 86400.0
POOL = "template=dev,preset=small,organization=default"
Scrape = dict[str, float]


@pytest.fixture
def exporter(database_url: str, settings: Settings) -> Iterator[Exporter]:
    exporter = Exporter(settings.model_copy(update={"database_url": database_url}), "0")
    yield exporter
    exporter.close()


@pytest.fixture
def scrape(exporter: Exporter) -> Callable[[], Scrape]:
    """Scrape, and return values by `name{label=value,…}`, with labels in their declared order."""

    def now() -> Scrape:
        found: Scrape = {}
        for family in text_string_to_metric_families(render(exporter.families(exporter.read_or_raise()))):
            names = [*METRICS[family.name].labels, "le"]
            for sample in family.samples:
                labels = ",".join(f"{name}={sample.labels[name]}" for name in names if name in sample.labels)
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found

    return now


def miss(database: Database) -> None:
    with pytest.raises(ClaimMissError):
        claim(database, ClaimRequest("ada", [PRESET]))


def live_a_little(database: Database, settings: Settings) -> None:
    """Make starts that succeed and fail, claims that hit and miss, and a prebuild that becomes unhealthy."""
    declare(database, settings, 4)
    turn(database, settings)
    finish_builds(database, status=BuildStatus.FAILED, limit=1, error="no disk")
    fill(database, settings)
    for _ in range(2):
        claim(database, ClaimRequest("ada", [PRESET]))
    finish_builds(database)
    [ill, *_] = workspaces(database, m.Workspace.owner == "prebuilds", m.Workspace.status == BuildStatus.SUCCEEDED)
    with database.write() as connection:
        take_out(connection, preset_id(database), {ill.id: "it does not answer"}, database.now(connection))
    finish_builds(database)
    with database.write() as connection:
        connection.execute(update(m.Preset).values(desired=0))
    turn(database, settings)
    finish_builds(database)
    miss(database)
    with database.write() as connection:
        released = update(m.Workspace).where(m.Workspace.owner == "ada")
        connection.execute(released.values(deleted_at=database.now(connection)))


def counted(scraped: Scrape) -> Scrape:
    """Return the counters and histograms."""
    return {name: value for name, value in scraped.items() if re.match(r"\w+_(total|bucket|count|sum)\b", name)}
