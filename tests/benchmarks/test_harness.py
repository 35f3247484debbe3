"""The harness gives known verdicts on known figures, without servers."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from benchmarks import rows
from benchmarks.harness import Absolute, Bound, Row, SelfCheck, absolute, compare, reported
from benchmarks.table import print_head, print_row, write_json

ROOT = Path(__file__).parents[2]


def row(product: list[float], floor: list[float], bound: Bound) -> Row:
    return Row(1, "row", product, floor, bound)


def test_the_ratio_is_of_medians() -> None:
    assert row([2, 4, 100], [1, 2, 3], Bound(3)).ratio == 2


def test_the_interval_is_the_same_every_time_and_holds_the_ratio() -> None:
    figures = row([2.0, 2.2, 2.4, 2.1, 1.9, 2.6, 2.3], [1.0, 1.1, 0.9, 1.05, 1.0, 1.2, 0.95], Bound(3))
    low, high = figures.interval
    assert (low, high) == figures.interval
    assert low < figures.ratio < high


def test_a_ratio_is_judged_on_the_unfavourable_end() -> None:
    figures = ([1.0, 1.0, 1.0, 1.6, 1.0, 1.6, 1.6], [1.0] * 7)
    assert row(*figures, Bound(1.3)).ratio == 1
    assert row(*figures, Bound(1.3)).missed
    assert not row(*figures, Bound(1.7)).missed
    assert row(*figures, Bound(1.2, "higher")).missed
    assert not row(*figures, Bound(0.9, "higher")).missed


@pytest.mark.parametrize(("product", "verdict"), [(1.0, "ok"), (1.01, "ok"), (1.3, "TOO NOISY"), (0.7, "TOO NOISY")])
def test_the_floor_against_itself_must_come_out_at_about_one(product: float, verdict: str) -> None:
    assert SelfCheck(0, "same", [product] * 9, [1.0] * 9, None).verdict == verdict


def test_an_absolute_figure_is_judged_by_itself() -> None:
    assert Absolute(9, "p99", [0.5] * 7, Bound(1)).verdict == "ok"
    assert Absolute(9, "p99", [0.5, 1.5, 1.5, 1.5, 0.5], Bound(1)).missed


def test_pairs_are_interleaved_in_alternating_order() -> None:
    turns: list[str] = []
    compare(
        1,
        "order",
        lambda pair: turns.append(f"product {pair}"),
        lambda pair: turns.append(f"floor {pair}"),
        pairs=7,
        bound=None,
    )
    assert turns[:6] == ["floor -1", "product -1", "product 0", "floor 0", "floor 1", "product 1"]
    assert len(turns) == 16


def test_a_run_may_tell_its_own_figure() -> None:
    measured = compare(1, "own", lambda pair: 2.0 + pair, lambda pair: 1.0, pairs=7, bound=None, unit="/s")
    assert measured.product == [2, 3, 4, 5, 6, 7, 8]
    assert absolute(9, "own", lambda turn: 3.0, times=3, bound=Bound(4)).product == [3, 3, 3]


def test_few_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 7"):
        compare(1, "few", lambda _: 1, lambda _: 1, pairs=6, bound=None)


def test_what_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = [
        row([2.0] * 7, [1.0] * 7, Bound(1.5)),
        Absolute(9, "refill p99", [0.5] * 7, Bound(1), notes={"queued": 10_000}),
        reported(11, "fleet", {"hit rate": 0.99}),
        SelfCheck(0, "same", [1.0] * 7, [1.0] * 7, None),
    ]
    print_head()
    for result in results:
        print_row(result)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["1", "row", "2.00", "s", "1.00", "s", "2.00", "2.00-2.00", "0%", "<=", "1.5", "MISSED"]
    assert [line for line in lines if "queued: 10000" in line or "hit rate: 0.99" in line]
    assert lines[-1].endswith("ok")
    write_json(tmp_path / "out.json", results, {"quick": True})
    stored = json.loads((tmp_path / "out.json").read_text())
    assert [item["verdict"] for item in stored["rows"]] == ["MISSED", "ok", "", "ok"]
    assert stored["rows"][0]["interval"] == [2.0, 2.0]


def test_every_row_has_a_number_of_its_own() -> None:
    numbers = [found.number for found in rows.discover()]
    assert numbers == sorted(set(numbers))
    assert {0, 1, 2, 3, 4} <= set(numbers)


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks" / "floors").glob("*.py")), ids=lambda path: path.name)
def test_floors_are_free_of_the_product(path: Path) -> None:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    assert not [name for name in names if name.split(".")[0] in ("prebuild_tasks", "tests", "sqlalchemy")]
