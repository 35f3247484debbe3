"""Routine statements read only live rows, however long the history is; checked by EXPLAIN of the real statements."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event

from prebuild_tasks.claims.one_statement import statement_text
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.reconcile.store.preset_view import read_preset
from prebuild_tasks.reconcile.store.snapshots import read_global
from prebuild_tasks.upkeep import sweep
from tests.support import bulk

EACH = 10
Work = Callable[[Database, Settings], None]
Statement = tuple[str, dict[str, Any]]


def _snapshot(database: Database, settings: Settings) -> None:
    with database.snapshot() as connection:
        assert len(read_global(database, connection, settings.backoff_lookback).presets) > 1


def _turn(database: Database, settings: Settings) -> None:
    with database.read() as connection:
        assert read_preset(database, connection, 7, settings.backoff_lookback)


def _sweep(database: Database, settings: Settings) -> None:
    sweep.sweep(database, settings, lambda _: 0)


def _claim(database: Database) -> Statement:
    now, values = database.now_sql()
    named = {"template": "template-7", "preset": "preset-7", "version": None, "owner": "ada", "name": ""}
    ids = {"request_id": "r", "build_id": uuid.uuid4(), "elapsed_ms": 1.0, "below_limit": False, "alive_s": 30.0}
    bound = {"principal": "local", "key": "r", "claim_id": uuid.uuid4(), "body_digest": "0" * 64}
    actor = {"actor": "ada", "actor_kind": "local", "actor_name": "ada", "actor_subject": ""}
    return statement_text(now, versioned=False), {**values, **named, **ids, **bound, **actor}


def statements(database: Database, settings: Settings, work: Work) -> list[Statement]:
    """Record the statements that the product sends, with their values."""
    found: list[Statement] = []

    def note(_connection: Any, _cursor: Any, words: str, values: Any, _context: Any, many: bool) -> None:
        if not many:
            found.append((words, dict(values or {})))

    event.listen(database.engine, "before_cursor_execute", note)
    work(database, settings)
    event.remove(database.engine, "before_cursor_execute", note)
    return found


def plans(database: Database, sent: list[Statement]) -> Iterator[dict[str, Any]]:
    """Return each statement's plan with its actual costs; its writes are rolled back."""
    for words, values in sent:
        with database.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute("BEGIN")
            found = driver.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {words}", values).fetchone()[0]
            driver.execute("ROLLBACK")
            yield (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield every table or index that a plan reads, with the number of pages."""
    children = [scan for child in plan.get("Plans", ()) for scan in scans(child)]
    yield from children
    if "Scan" in plan["Node Type"] and ("Relation Name" in plan or "Index Name" in plan):
        below = sum(_pages(child) for child in plan.get("Plans", ()))
        name = f"{plan['Node Type']} {plan.get('Index Name') or plan['Relation Name']}"
        yield name, _pages(plan) - below


def _pages(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def pages(database: Database, settings: Settings) -> dict[str, int]:
    """Return the pages that each kind of work reads, not counting those of the indexes that an insert updates."""
    sent = {name: statements(database, settings, work) for name, work in WORKS.items()}
    sent["claim"] = [_claim(database)]
    return {
        name: sum(number for plan in plans(database, found) for _, number in scans(plan))
        for name, found in sent.items()
    }


WORKS: dict[str, Work] = {"snapshot": _snapshot, "turn": _turn, "sweep": _sweep}
LONG = [pytest.mark.faults, pytest.mark.timeout(3600)]


@pytest.mark.parametrize(
    ("presets", "buried"),
    [pytest.param(200, 200, marks=pytest.mark.thorough), pytest.param(10_000, 100, marks=LONG)],
    ids=["small", "a million"],
)
def test_history_costs_what_lives_nothing(postgres_url: str, settings: Settings, presets: int, buried: int) -> None:
    """200 x 10 live and 40,000 deleted workspaces; in the long form 100,000 live and 1,000,000 deleted."""
    database = Database(postgres_url)
    bulk.pools(database, presets, EACH)
    bulk.stock(database, EACH)
    _sweep(database, settings)  # claims the occasional run of pruning, which reads history
    before = pages(database, settings)
    bulk.bury(database, buried)
    after = pages(database, settings)
    database.close()
    print(before, after)
    assert before.keys() == after.keys() == {"snapshot", "turn", "sweep", "claim"}
    assert all(number > 0 for number in before.values())
    assert {name: after[name] / before[name] for name in before if after[name] > 1.1 * before[name]} == {}


def test_a_plan_that_is_kept_uses_the_partial_indexes_too(postgres_url: str) -> None:
    """If the owner `prebuilds` were a parameter, a cached plan could not use the partial index on that owner."""
    database = Database(postgres_url)
    bulk.pools(database, 50, EACH)
    bulk.stock(database, EACH)
    words, values = _claim(database)
    names: list[str] = []

    def numbered(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    words = re.sub(r"%\((\w+)\)s", numbered, words)
    given = ", ".join(f"'{values[name]}'" for name in names)
    with database.write() as connection:
        connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
        connection.exec_driver_sql(f"PREPARE claim AS {words}")
        plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) EXECUTE claim({given})").scalar_one()
        connection.exec_driver_sql("DEALLOCATE claim")
    database.close()
    assert "ix_workspaces_claimable" in json.dumps(plan)
