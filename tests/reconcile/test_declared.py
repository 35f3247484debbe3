"""Presets as they are stored: rows that are read by the names of their columns."""

from __future__ import annotations

import pytest
from sqlalchemy import Select

from prebuild_tasks.reconcile.store.declared import DeclaredRow, PresetRow, counted_query, presets_query


@pytest.mark.parametrize("query", [counted_query(), presets_query()], ids=["counted_query", "presets_query"])
def test_a_declared_row_has_the_first_columns_of_its_queries(query: Select[object]) -> None:
    names = [column.key for column in query.selected_columns]
    assert names[: len(DeclaredRow._fields)] == list(DeclaredRow._fields)


def test_each_field_of_a_preset_row_is_the_name_of_one_column() -> None:
    names = [column.key for column in presets_query().selected_columns]
    assert len(names) == len(set(names))
    assert [*DeclaredRow._fields, *PresetRow._fields] == names
