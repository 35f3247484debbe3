"""Rules that exist in Python and in SQL are in one package under one name, and agree on any row.

`TWINS` lists the pairs, and `QUERIES` those whose SQL is a whole statement. The modules in `COMPARISONS` compare them.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import prebuild_tasks
from prebuild_tasks.access.rules import sees_preset, sees_workspace
from prebuild_tasks.access.store import sees_preset_sql, sees_workspace_sql
from prebuild_tasks.events.reading import is_asked_for_sql, sees_event_sql
from prebuild_tasks.events.rules import is_asked_for, sees_event
from prebuild_tasks.fleet.rules import is_alive
from prebuild_tasks.fleet.store import is_alive_sql
from prebuild_tasks.reconcile.rules.backoff import slow_start_after
from prebuild_tasks.reconcile.rules.rollout import is_second_choice, other_versions
from prebuild_tasks.reconcile.rules.state import count, is_expired, is_past_half_ttl, is_past_ttl
from prebuild_tasks.reconcile.store.backoff import slow_start_after_sql
from prebuild_tasks.reconcile.store.counts import count_sql
from prebuild_tasks.reconcile.store.expiry import (
    is_expired_sql,
    is_past_half_ttl_sql,
    is_past_ttl_sql,
    is_second_choice_sql,
)
from prebuild_tasks.reconcile.store.other_versions import read_other_versions
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
    sees_preset: sees_preset_sql,
    sees_workspace: sees_workspace_sql,
    sees_event: sees_event_sql,
    is_asked_for: is_asked_for_sql,
}
QUERIES: Mapping[Callable[..., object], Callable[..., object]] = {other_versions: read_other_versions}
"""Rules that a turn asks of the database in one statement instead, with the function that reads the answer."""
SINGLE = {
    "asks_sql": "asked by the database alone, of pending builds before one is taken",
    "fresh_since_sql": "is_expired_sql as an instant, for an index to be read from; compared with is_expired",
    "is_due_sql": "asked by the database alone; no code has a pending build in its hands",
    "is_older_than_sql": "a part of the conditions of expiry",
    "is_shared_start_sql": "asked by the database alone, of pending builds before one is taken",
    "now_sql": "the database's clock",
}
"""Functions in SQL that have no twin, with the reason."""
POSTGRESQL_ONLY = {"fresh_since_sql", "handed_over_sql", "has_hook_sql"}
"""Functions in SQL that SQLite does not understand. They serve a claim in one statement, which only PostgreSQL makes.

All others are compared on both databases.
"""
PACKAGE = Path(prebuild_tasks.__file__).parent
COMPARISONS = [
    Path(__file__).with_name("test_twins_rows.py"),
    Path(__file__).with_name("test_twins_counts.py"),
    Path(__file__).parents[1] / "access" / "test_reach.py",
    Path(__file__).parents[1] / "events" / "test_reading.py",
    Path(__file__).parents[1] / "reconcile" / "test_other_versions.py",
]


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            yield node


def is_member_of_protocol(function: ast.FunctionDef) -> bool:
    return ast.unparse(function.body[-1]) == "..."


def names(node: ast.AST) -> set[str]:
    return {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}


def compared(*, everywhere: bool) -> set[str]:
    """Return what the bodies of the comparisons name, or only those of tests on both databases."""
    found: set[str] = set()
    for path in COMPARISONS:
        for test in functions(path):
            on_one = any("on_postgresql" in names(decorator) for decorator in test.decorator_list)
            if test.name.startswith("test_") and not (everywhere and on_one):
                found.update(*map(names, test.body))
    return found


def functions_in_sql() -> Iterator[ast.FunctionDef]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield from (function for function in functions(path) if function.name.endswith("_sql"))


def test_every_function_in_sql_has_its_twin_in_the_table() -> None:
    named = {function.name for function in functions_in_sql()}
    assert named == {twin.__name__ for twin in TWINS.values()} | set(SINGLE)


def test_every_pair_is_compared() -> None:
    tested = compared(everywhere=False)
    assert [rule for rule, twin in TWINS.items() if not {rule.__name__, twin.__name__} & tested] == []
    assert [rule for rule, query in QUERIES.items() if query.__name__ not in tested] == []


def test_only_what_sqlite_does_not_understand_is_compared_on_postgresql_only() -> None:
    """A pair counts as compared on both databases if one such test names the rule or its twin."""
    rules = {twin.__name__: rule.__name__ for rule, twin in TWINS.items()}
    both, one = compared(everywhere=True), compared(everywhere=False)
    named = {function.name for function in functions_in_sql()}
    assert {name for name in named if name in one and not {name, rules.get(name)} & both} == POSTGRESQL_ONLY
    says_so = {item.name for item in functions_in_sql() if "PostgreSQL only" in (ast.get_docstring(item) or "")}
    assert says_so == POSTGRESQL_ONLY


def test_a_query_named_for_a_rule_is_listed_or_calls_it() -> None:
    listed = {query.__name__ for query in QUERIES.values()}
    for package in sorted(path for path in PACKAGE.iterdir() if path.is_dir()):
        rules: set[str] = set()
        queries: dict[str, ast.FunctionDef] = {}
        for path in package.rglob("*.py"):
            if "rules" in (path.stem, path.parent.name):
                rules |= {function.name for function in functions(path) if not is_member_of_protocol(function)}
            else:
                queries |= {item.name: item for item in functions(path) if item.name.startswith("read_")}
        for name, query in queries.items():
            rule = name.removeprefix("read_")
            assert rule not in rules or name in listed or rule in names(query), name
    assert all(query.__name__ == f"read_{rule.__name__}" for rule, query in QUERIES.items())


def test_twins_share_a_name_and_a_package() -> None:
    for rule, twin in TWINS.items():
        assert twin.__name__ == f"{rule.__name__}_sql"
        assert rule.__module__.split(".")[:2] == twin.__module__.split(".")[:2]


def test_a_rule_stands_in_a_module_of_rules_without_its_twin() -> None:
    for rule, twin in (*TWINS.items(), *QUERIES.items()):
        assert "rules" in rule.__module__.split("."), rule
        assert "rules" not in twin.__module__.split("."), twin
        assert twin.__module__ not in Path(inspect.getfile(rule)).read_text(), rule
