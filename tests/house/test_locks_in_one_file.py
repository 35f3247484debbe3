"""Every lock is a function or clause of `schema/row_locks.py`, which lists the order of all locks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import prebuild_tasks
from prebuild_tasks.db.base import Base
from prebuild_tasks.schema import tables
from prebuild_tasks.schema.row_locks import GUARDED, LAST, ORDER

PACKAGE = Path(prebuild_tasks.__file__).parent
GENERATED = PACKAGE / "claims" / "quick" / "texts.py"
"""Texts of statements that `row_locks.py` has a part in."""
ADVISORY = {"migration", "declaration", "owner"}
LOCKS = re.compile(
    r"pg_(try_)?advisory|\bfor (no key )?update\b|\bfor (key )?share\b|\block table\b|\block [\w, ]+ in [\w ]+ mode\b"
    r"|^lock (only )?\w+( nowait)?;?$",
    re.IGNORECASE,
)
ADVISORY_CALL = re.compile(r"pg_\w*advisory", re.IGNORECASE)


def locking(tree: ast.AST) -> Iterator[int]:
    """Yield lines that lock rows or tables, or call one of PostgreSQL's advisory locks, also in a statement's text."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                if name == "with_for_update" or ADVISORY_CALL.match(name):
                    yield node.lineno
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and LOCKS.search(" ".join(text.split())):
            yield node.lineno


def test_no_other_module_locks() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path not in (PACKAGE / "schema" / "row_locks.py", GENERATED)
        for line in locking(ast.parse(path.read_text()))
    ]
    assert found == []


def test_every_kind_of_lock_is_found() -> None:
    """The search finds what it should."""
    code = 'query.with_for_update()\ntext("SELECT pg_advisory_xact_lock(1)")\ntext("SELECT id FROM x FOR UPDATE")\n'
    assert list(locking(ast.parse(code))) == [1, 2, 3]


@pytest.mark.parametrize(
    "code",
    [
        "select(func.pg_advisory_xact_lock(1))",
        "select(func.pg_try_advisory_lock_shared(1))",
        "session.get(Workspace, 1, with_for_update=True)",
        "session.refresh(found, with_for_update={'nowait': True})",
    ],
)
def test_every_locking_call_is_found(code: str) -> None:
    assert list(locking(ast.parse(code))) == [1]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pg_try_advisory_lock(1)",
        "SELECT pg_advisory_lock_shared(1)",
        "SELECT id FROM x FOR NO KEY UPDATE",
        "SELECT id FROM x\nFOR  UPDATE OF x",
        "SELECT id FROM x for share",
        "SELECT id FROM x FOR KEY SHARE NOWAIT",
        "LOCK TABLE x",
        "LOCK x",
        "LOCK ONLY x NOWAIT;",
        "LOCK x IN SHARE MODE",
    ],
)
def test_every_locking_statement_is_found(statement: str) -> None:
    assert list(locking(ast.parse(f"text({statement!r})"))) == [1]


def test_every_table_has_its_place() -> None:
    assert tables.Preset.metadata is Base.metadata
    known = (set(ORDER) - ADVISORY) | set(GUARDED) | set(LAST)
    assert known == set(Base.metadata.tables) | {"alembic_version"}
    assert {mapper.class_.__name__ for mapper in Base.registry.mappers} <= set(tables.__all__)
