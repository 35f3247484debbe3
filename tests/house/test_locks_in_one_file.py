"""Every lock is a function or clause of `schema/row_locks.py`, which lists the order of all locks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import prebuild_tasks
from prebuild_tasks.db.base import Base
from prebuild_tasks.schema import tables
from prebuild_tasks.schema.row_locks import GUARDED, LAST, ORDER

PACKAGE = Path(prebuild_tasks.__file__).parent
ADVISORY = {"migration", "declaration", "owner"}


def locking(tree: ast.AST) -> Iterator[int]:
    """Yield lines that lock rows, or call one of PostgreSQL's advisory locks in a statement's text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "with_for_update":
            yield node.lineno
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = node.value.lower()
            if "pg_advisory" in words or "pg_try_advisory" in words or "for update" in words or "lock table" in words:
                yield node.lineno


def test_no_other_module_locks() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != PACKAGE / "schema" / "row_locks.py"
        for line in locking(ast.parse(path.read_text()))
    ]
    assert found == []


def test_every_kind_of_lock_is_found() -> None:
    """The search finds what it should."""
    code = 'query.with_for_update()\ntext("SELECT pg_advisory_xact_lock(1)")\ntext("SELECT id FROM x FOR UPDATE")\n'
    assert list(locking(ast.parse(code))) == [1, 2, 3]


def test_every_table_has_its_place() -> None:
    assert tables.Preset.metadata is Base.metadata
    known = (set(ORDER) - ADVISORY) | set(GUARDED) | set(LAST)
    assert known == set(Base.metadata.tables) | {"alembic_version"}
    assert {mapper.class_.__name__ for mapper in Base.registry.mappers} <= set(tables.__all__)
