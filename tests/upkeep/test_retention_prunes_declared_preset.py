"""A preset that is declared again just when it would be pruned is kept.

Previously, on PostgreSQL, pruning held only the preset's lock, which a declaration that does not change the preset does
not take: the preset of a version that had just become active again could be deleted.
"""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select, text, update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.row_locks import lock_declaration
from prebuild_tasks.upkeep.retention.run import prune
from tests.support.builders import declare
from tests.support.wait import wait_until

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_it_is_asked_again_when_the_declaration_is_done(database: Database, settings: Settings) -> None:
    declare(database, settings, 0, start="true")
    declare(database, settings, 0, start="echo another")
    settings = settings.model_copy(update={"retention_builds": 0.0})
    with database.read() as connection:
        first, second = connection.execute(select(m.TemplateVersion.id).order_by(m.TemplateVersion.id)).scalars()
    pruner = threading.Thread(target=prune, args=(database, settings))
    with database.write() as connection:
        lock_declaration(connection)
        pruner.start()
        with database.read() as other:
            wait_until(lambda: other.execute(text(WAITING)).scalar_one(), what="pruning, at the declaration's lock")
        connection.execute(update(m.Template).values(active_version_id=first))
    pruner.join(60)
    with database.read() as connection:
        kept = connection.execute(select(m.Preset.template_version_id)).scalars().all()
    assert first in kept
    assert second in kept, "younger than the retention by now"
