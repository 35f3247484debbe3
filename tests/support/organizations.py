"""Pools of two organizations, to show who sees which of them."""

from __future__ import annotations

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from tests.support.builders import fill
from tests.support.pool_files import load_text

POOLS = """
schema: 1
organizations: [{name: acme}, {name: umbrella}]
templates:
  - name: dev
    organization: acme
    config: {start: 'true'}
    presets: [{name: small, desired: 2}, {name: large, desired: 1}]
  - {name: ops, organization: umbrella, config: {start: 'true'}, presets: [{name: small, desired: 1}]}
"""


def fill_organizations(database: Database, settings: Settings) -> None:
    """Declare the pools, and fill them."""
    apply(database, settings, load_text(POOLS), ApplyOptions(actor="test"))
    for name in ("dev/small", "dev/large", "ops/small"):
        fill(database, settings, name)
