"""A warning of workers and beat about a connection pooler that the settings do not name."""

from __future__ import annotations

import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from prebuild_tasks.config import load_settings

if TYPE_CHECKING:
    from prebuild_tasks.db.engine import Database


def name_pooler(database: Database) -> None:
    """Say on standard error that a pooler in transaction mode is in between, which the settings do not name."""
    from prebuild_tasks.db.pooler import pooler_problem, shares_connections
    from prebuild_tasks.worker.config import sentence

    if shares_connections(database):
        sys.stderr.write(sentence(pooler_problem(database)))


def name_pooler_of_beat() -> None:
    """Say the same when beat starts."""
    from prebuild_tasks.db.engine import Database
    from prebuild_tasks.errors import PrebuildError

    # A database that cannot be reached does not end beat, which waits for it.
    with suppress(PrebuildError), closing(Database.of(load_settings())) as database:
        name_pooler(database)
