"""Presets as they are stored: rows with names."""

from __future__ import annotations

import pytest
from sqlalchemy import Select

from prebuild_tasks.reconcile.store.declared import DeclaredRow, counted_query, presets_query


@pytest.mark.parametrize("query", [counted_query(), presets_query()], ids=["counted_query", "presets_query"])
def test_a_declared_row_has_the_first_columns_of_its_queries(query: Select[object]) -> None:
    names = [column.key for column in query.selected_columns]
    assert names[: len(DeclaredRow._fields)] == list(DeclaredRow._fields)
