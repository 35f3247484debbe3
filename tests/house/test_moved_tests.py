"""The table of moved tests and the mutations name existing files and tests."""

from __future__ import annotations

from collections import Counter

from tests.support.moved_tests import FELL, MOST_FALLEN, RENAMED, Moved, compare, moved_files, table
from tests.support.mutations import MUTATIONS
from tests.support.old_tree import ROOT


def test_tests_are_matched_by_name_then_by_place() -> None:
    old = ["tests/a.py::test_b[x]", "tests/a.py::test_b[y]", "tests/a.py::test_c"]
    rows = list(compare(old, ["tests/d/a.py::test_b[x]", "tests/d/a.py::test_b[z]"], {"tests/a.py": "tests/d/a.py"}))
    assert rows == [
        Moved("tests/a.py::test_b[x]", "tests/d/a.py::test_b[x]"),
        Moved("tests/a.py::test_b[y]", "tests/d/a.py::test_b[z]", "reworded parameters"),
        Moved("tests/a.py::test_c", ""),
    ]
    assert table(rows).splitlines()[2:] == [
        "| `tests/a.py::test_b` | 1 | `tests/d/a.py::test_b` |",
        "| `tests/a.py::test_b` | 1 | `tests/d/a.py::test_b` (reworded parameters) |",
        "| `tests/a.py::test_c` | 1 | fell: ? |",
    ]


def test_a_test_is_found_in_a_part_of_its_file() -> None:
    new = ["tests/d/test_a_words.py::test_b[x]", "tests/d/test_a_words.py::test_c", "tests/d/test_a_files.py::test_c"]
    old = ["tests/test_a.py::test_b[x]", "tests/test_a.py::test_c"]
    rows = list(compare(old, new, {"tests/test_a.py": "tests/d/test_a.py"}))
    assert rows == [
        Moved("tests/test_a.py::test_b[x]", "tests/d/test_a_words.py::test_b[x]"),
        Moved("tests/test_a.py::test_c", ""),
    ]


def test_moved_files_are_there() -> None:
    assert [new for new in moved_files().values() if not (ROOT / new).exists()] == []
    for new in RENAMED.values():
        file, _, name = new.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text()
    assert len(FELL) <= MOST_FALLEN


def test_each_mutation_changes_one_place() -> None:
    assert len(MUTATIONS) >= 30
    assert max(Counter(item.name for item in MUTATIONS).values()) == 1
    for mutation in MUTATIONS:
        change = mutation.after
        assert (ROOT / "prebuild_tasks" / change.path).read_text().count(change.text) == 1, mutation.name
        for test in change.tests:
            assert (ROOT / "tests" / test.partition("::")[0]).exists(), test
