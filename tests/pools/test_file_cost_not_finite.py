"""`cost_per_hour: .inf` and `1e400` were accepted, so that `plan --json` and `report --json` printed Infinity and NaN,
which JSON readers reject; `true` was read as 1.0."""

from __future__ import annotations

import math

import pytest

from prebuild_tasks.cli.output import write_json
from prebuild_tasks.errors import PoolsFileError
from tests.support.pool_files import load_text

FILE = "schema: 1\ntemplates: [{{name: dev, presets: [{{name: small, cost_per_hour: {}}}]}}]\n"


@pytest.mark.parametrize("cost", [".inf", "-.inf", ".nan", "1e400", "true", "-1", "1000001", "'inf'"])
def test_it_is_refused_in_its_place(cost: str) -> None:
    with pytest.raises(PoolsFileError) as caught:
        load_text(FILE.format(cost))
    [problem] = caught.value.problems
    assert (problem.line, problem.column) == (2, 64)
    assert "cost_per_hour" in problem.message


@pytest.mark.parametrize("cost", [0, 0.12, 1_000_000])
def test_a_number_is_taken(cost: float) -> None:
    [template] = load_text(FILE.format(cost)).templates
    assert template.versions[0].presets[0].cost_per_hour == cost


def test_what_json_has_no_words_for_is_not_printed() -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json({"cost": math.inf})
