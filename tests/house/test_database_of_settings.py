"""A database is opened by its settings, all of them: the URL alone leaves out the pooler in front of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "prebuild_tasks"
ITS_HOME = PACKAGE / "db"


def opened_by_url(source: str, *, any_url: bool) -> Iterator[str]:
    """Yield each call of `Database` itself; without `any_url`, only those with the URL of the settings."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Database":
            call = ast.unparse(node)
            if any_url or "resolved_database_url" in call or "settings.database_url" in call:
                yield call


@pytest.mark.parametrize(
    ("source", "number"),
    [
        ("Database(settings.resolved_database_url)", 1),
        ("engine.Database(self._settings.resolved_database_url, clock)", 1),
        ("Database(url)", 0),
        ("Database.of(settings)", 0),
    ],
)
def test_which_calls_are_found(source: str, number: int) -> None:
    assert len(list(opened_by_url(source, any_url=False))) == number


def test_the_package_opens_databases_by_their_settings() -> None:
    """`up` read the host's former name past the pooler, with prepared statements that a pooler does not keep."""
    files = [path for path in PACKAGE.rglob("*.py") if not path.is_relative_to(ITS_HOME)]
    found = {path.relative_to(ROOT): [*opened_by_url(path.read_text(), any_url=True)] for path in files}
    assert {place: calls for place, calls in found.items() if calls} == {}


def test_tests_and_benchmarks_do_so_where_they_have_settings() -> None:
    files = [path for name in ("tests", "benchmarks") for path in (ROOT / name).rglob("*.py")]
    found = {path.relative_to(ROOT): [*opened_by_url(path.read_text(), any_url=False)] for path in files}
    assert {place: calls for place, calls in found.items() if calls} == {}
