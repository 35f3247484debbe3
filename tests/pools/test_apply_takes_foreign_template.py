"""A template belongs to the source that declared it, until that source drops it.

Previously, another source's `apply` silently changed it, though it still belonged to the first: the first one's next
`--prune` deleted the pool, the other's next `apply` recreated it, and so on.
"""

from __future__ import annotations

from typing import Any

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import RefusedError
from prebuild_tasks.insight.plan.make import make_plan
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.remedy_commands import next_step_of
from tests.support.builders import preset_id
from tests.support.pool_files import load_text

DEV, WEB = (
    f"  - {{name: {name}, config: {{start: 'true'}}, presets: [{{name: small, desired: 2}}]}}\n"
    for name in ("dev", "web")
)


def put(database: Database, settings: Settings, templates: str, source: str, **options: Any) -> list[str]:
    """Apply and return the changes in words; assert that `plan` announces or refuses them alike."""
    declared = load_text(f"schema: 1\ntemplates:\n{templates}")
    chosen = ApplyOptions(actor="ada", source=source, **options)
    try:
        planned = make_plan(database, settings, declared, chosen).report.changes
    except RefusedError as error:
        with pytest.raises(RefusedError, match=error.message):
            apply(database, settings, declared, chosen)
        raise
    report = apply(database, settings, declared, chosen)
    assert report.changes == planned
    return [str(change) for change in report.changes]


def test_it_is_taken_over_when_it_was_dropped(database: Database, settings: Settings) -> None:
    put(database, settings, DEV + WEB, "one")
    for _ in range(2):
        with pytest.raises(RefusedError, match="template web is declared by source one") as refused:
            put(database, settings, WEB.replace("desired: 2", "desired: 6"), "two")
        assert "--source one" in next_step_of(refused.value)
        assert "--prune" in next_step_of(refused.value)
        assert "apply as source one" in str(refused.value)
        put(database, settings, DEV, "one")  # without --prune it still belongs to it
    before = preset_id(database, "web/small")
    assert put(database, settings, DEV, "one", prune=True) == ["- template web"]
    [change] = put(database, settings, WEB, "two")
    assert change.startswith("~ template web: ")
    assert change.endswith("source one -> two")
    assert preset_id(database, "web/small") == before
    assert put(database, settings, DEV, "one", prune=True) == []
    with pytest.raises(RefusedError, match="declared by source two"):
        put(database, settings, DEV + WEB, "one")
