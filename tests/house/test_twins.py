"""Rules that exist in Python and in SQL are in one package under one name, and agree on any row.

`TWINS` lists the pairs. `test_twins_rows.py` and `test_twins_counts.py` compare them.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import prebuild_tasks
from prebuild_tasks.fleet.rules import is_alive
from prebuild_tasks.fleet.store import is_alive_sql
from prebuild_tasks.reconcile.rules.backoff import slow_start_after
from prebuild_tasks.reconcile.rules.rollout import is_second_choice
from prebuild_tasks.reconcile.rules.state import count, is_expired, is_past_half_ttl, is_past_ttl
from prebuild_tasks.reconcile.store.backoff import slow_start_after_sql
from prebuild_tasks.reconcile.store.counts import count_sql
from prebuild_tasks.reconcile.store.expiry import (
    is_expired_sql,
    is_past_half_ttl_sql,
    is_past_ttl_sql,
    is_second_choice_sql,
)
from prebuild_tasks.schema.conditions import is_active_sql
from prebuild_tasks.schema.rules import is_active
from prebuild_tasks.upkeep.rules import stray_state
from prebuild_tasks.upkeep.strays.store import stray_state_sql
from prebuild_tasks.workspaces.rules import (
    handed_over,
    has_hook,
    is_awaited,
    is_pool_start,
    is_usable,
    workspace_state,
)
from prebuild_tasks.workspaces.store import (
    handed_over_sql,
    has_hook_sql,
    is_awaited_sql,
    is_pool_start_sql,
    is_usable_sql,
    workspace_state_sql,
)

TWINS: Mapping[Callable[..., object], Callable[..., object]] = {
    count: count_sql,
    is_active: is_active_sql,
    is_expired: is_expired_sql,
    is_past_ttl: is_past_ttl_sql,
    is_past_half_ttl: is_past_half_ttl_sql,
    is_second_choice: is_second_choice_sql,
    slow_start_after: slow_start_after_sql,
    is_awaited: is_awaited_sql,
    is_usable: is_usable_sql,
    workspace_state: workspace_state_sql,
    has_hook: has_hook_sql,
    is_pool_start: is_pool_start_sql,
    handed_over: handed_over_sql,
    is_alive: is_alive_sql,
    stray_state: stray_state_sql,
}
SINGLE = {
    "fresh_since_sql": "is_expired_sql as an instant, for an index to be read from; compared with is_expired",
    "is_due_sql": "asked by the database alone; no code has a pending build in its hands",
    "is_older_than_sql": "a part of the conditions of expiry",
    "now_sql": "the database's clock",
}
"""Functions in SQL that have no twin, with the reason."""
PACKAGE = Path(prebuild_tasks.__file__).parent


def functions_in_sql() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.endswith("_sql"):
                yield node.name, path


def test_every_function_in_sql_has_its_twin_in_the_table() -> None:
    named = {name for name, _ in functions_in_sql()}
    assert named == {twin.__name__ for twin in TWINS.values()} | set(SINGLE)


def test_twins_share_a_name_and_a_package() -> None:
    for rule, twin in TWINS.items():
        assert twin.__name__ == f"{rule.__name__}_sql"
        assert rule.__module__.split(".")[:2] == twin.__module__.split(".")[:2]


def test_a_rule_stands_in_a_module_of_rules_without_its_twin() -> None:
    for rule, twin in TWINS.items():
        assert "rules" in rule.__module__.split("."), rule
        assert "rules" not in twin.__module__.split("."), twin
        assert twin.__module__ not in Path(inspect.getfile(rule)).read_text(), rule
