"""The command in CONTRIBUTING.md that writes a migration."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from prebuild_tasks.db.base import Base
from tests.support.new_migration import new_migration


def test_a_new_column_gets_a_numbered_migration(tmp_path: Path) -> None:
    column: sa.Column[str] = sa.Column("mood", sa.String(), server_default="", nullable=False)
    table = Base.metadata.tables["workspaces"]
    table.append_column(column)
    try:
        path = new_migration("add a mood", tmp_path)
    finally:
        table._columns.remove(column)
    assert path.name[0] == "v"
    assert path.name.endswith("_add_a_mood.py")
    assert "batch_op.add_column(sa.Column('mood', sa.String(), server_default='', nullable=False))" in path.read_text()
