"""`plan` and `apply --if-revision` at the command line: exit codes, the printed lines, JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from tests.support.builders import fill

FILE = """
schema: 1
templates:
  - name: dev
    config: {start: "%s"}
    presets:
      - {name: small, desired: %d, cost_per_hour: 0.1}
"""


@pytest.fixture
def pools(tmp_path: Path) -> Any:
    path = tmp_path / "pools.yaml"

    def write(desired: int, start: str = "true") -> str:
        path.write_text(FILE % (start, desired))
        return str(path)

    return write


def test_a_plan_and_applying_exactly_it(cli: Any, pools: Any, database: Database, settings: Settings) -> None:
    file = pools(2)
    text = cli("plan", file)
    assert "+ template dev\n" in text
    assert "+ dev/small  create 2, but held back: no worker (new); 0.00 -> 0.20 an hour\n" in text
    command = text.splitlines()[-1].removeprefix("to apply exactly this: prebuild ").split()
    assert command == ["apply", file, "--if-revision", "0"]
    assert "revision 1" in cli(*command)
    assert "is at revision 1, not at 0" in cli(*command, expect=5)
    assert cli("plan", file) == "no changes at revision 1\n"
    fill(database, settings)
    text = cli("plan", pools(2, start="false"))
    assert "~ dev/small  replace 2, but held back: no worker (version auto-" in text
    assert "apply requires --yes, because it deletes 2 of all 2 eligible prebuilds" in text
    assert text.rstrip().endswith("--if-revision 1 --yes")


def test_the_json_of_a_plan(cli: Any, pools: Any) -> None:
    made = json.loads(cli("plan", pools(2), "--json"))
    assert made.keys() == {"revision", "changed", "changes", "recipes", "drift", "pools", "cost", "needs_yes"}
    [pool] = made["pools"]
    assert pool == {
        "preset": "dev/small", "create": 2, "delete": 0, "replace": 0, "why": "new", "waits": "no_worker", "sign": "+",
        "cost": {"before": 0.0, "after": 0.2, "peak_before": 0.0, "peak_after": 0.2},
    }  # fmt: skip


def test_the_json_of_a_changed_recipe(cli: Any, pools: Any) -> None:
    cli("apply", pools(2))
    made = json.loads(cli("plan", pools(2, start="make all"), "--json"))
    [recipe] = made["recipes"]
    before, after = recipe.pop("before"), recipe.pop("after")
    assert before != after
    assert f"~ template dev: {before} -> {after}" in cli("plan", pools(2, start="make all"))
    assert recipe == {
        "template": "dev",
        "changes": [{"key": "config.start", "before": "true", "after": "make all"}],
    }


def test_exit_codes_as_terraforms(cli: Any, pools: Any, tmp_path: Path) -> None:
    file = pools(2)
    cli("plan", file)
    cli("plan", file, "--detailed-exitcode", expect=2)
    cli("apply", file)
    cli("plan", file, "--detailed-exitcode")
    bad = tmp_path / "bad.yaml"
    bad.write_text("schema: 1\ntemplates:\n  - name: t\n    config: {strat: x}\n    presets: []\n")
    assert f"{bad}:4:" in cli("plan", str(bad), expect=2)
    assert f"{bad}:4:" in cli("plan", str(bad), "--detailed-exitcode", expect=1)
    assert "No such option" in cli("plan", file, "--nonsense", expect=2)
    assert "No such option" in cli("plan", file, "--nonsense", "--detailed-exitcode", expect=1)
    assert "Missing argument" in cli("plan", "--detailed-exitcode", expect=1)


def test_plan_imports_no_celery() -> None:
    commands = "prebuild_tasks.cli.commands.plan, prebuild_tasks.cli.commands.explain"
    script = f"import sys, {commands}; sys.exit('celery' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_plan_warns_of_what_apply_warns_of(cli: Any, pools: Any, database: Database) -> None:
    """Only `apply` did, after the change was made."""
    file = pools(2)
    Path(file).write_text(Path(file).read_text().replace("desired: 2", "desired: 2, ttl: 5s"))
    planned = json.loads(cli("plan", file, "--json"))
    assert planned["warnings"] == json.loads(cli("apply", file, "--json"))["warnings"]
    assert planned["warnings"] == json.loads(cli("plan", file, "--json"))["warnings"], "without changes, too"
    [warning] = planned["warnings"]
    assert warning.startswith("dev/small: its ttl is 5 s")
    assert "warnings" not in json.loads(cli("plan", pools(3), "--json"))
