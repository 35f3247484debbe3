"""`prebuild up` declares its pools at the start.

Previously an edited example was ignored without a word, `up --file` ended with the advice to add an option that it did
not have, and `prebuild apply examples/pools.yaml` changed the pools that `up` had declared from that very file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.up import declare as up_declare
from prebuild_tasks.cli.up.declare import Chosen, PoolsAtStart, pool_to_claim
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, PoolsFileError, RefusedError
from prebuild_tasks.insight.status.pools import pools
from prebuild_tasks.insight.status.versions import versions
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.file.load import load_pools
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.reconcile.rules.reasons import Reason
from tests.support.builders import fill
from tests.support.service import ROOT

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

Start = Callable[..., list[str]]


def text(desired: int = 2, start: str = "true") -> str:
    return f"""
schema: 1
templates:
  - name: dev
    config: {{start: "{start}"}}
    presets: [{{name: small, desired: {desired}}}]
"""


@pytest.fixture
def start(database: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Declare as `up` does at its start, with the text `edited` as its example, and return what it says."""
    sample = tmp_path / "example.yaml"
    monkeypatch.setattr(up_declare, "example_file", lambda: sample)
    settings.data_dir.mkdir(exist_ok=True)
    own = settings.model_copy(update={"database_url": database.url})

    def declare(*files: Path, apply: bool = False, yes: bool = False, edited: str = "") -> list[str]:
        sample.write_text(edited or text())
        said: list[str] = []
        runtime = Runtime(own)
        try:
            chosen = Chosen(files, apply=apply, yes=yes)
            PoolsAtStart(runtime, chosen, "prebuild", lambda what, line: said.append(f"{what:<9} {line}")).make()
        finally:
            runtime.close()
        return [line.replace(str(tmp_path), "…").rstrip() for line in said]

    return declare


def sizes(database: Database, settings: Settings) -> list[int]:
    return [row.desired for row in pools(database, settings)]


def test_an_edited_example_is_shown_and_taken_over_when_asked(
    start: Start, database: Database, settings: Settings
) -> None:
    assert start() == ["pools     …/example.yaml, revision 1"]
    assert fill(database, settings) == 2
    assert start() == ["pools     …/example.yaml, revision 1"]
    assert start(edited=text(3)) == [
        "pools     …/example.yaml differs from what is declared, revision 1:",
        "",
        "          ~ preset dev/small: desired 2 -> 3",
        "",
        "          then:",
        "          + dev/small  create 1 (desired 2 -> 3)",
        "",
        "          take it over, in a second terminal:",
        "            prebuild apply …/example.yaml",
        "          or at the next start: prebuild up --apply",
        "pools     as declared, revision 1",
    ]
    assert sizes(database, settings) == [2], "it starts with what is declared"
    assert start(apply=True, edited=text(3)) == ["pools     …/example.yaml, revision 2"]
    assert sizes(database, settings) == [3]


def test_a_named_file_that_differs_is_shown_and_taken_over_when_asked(
    start: Start, database: Database, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(text())
    assert start(file) == ["pools     …/site.yaml, revision 1"]
    assert fill(database, settings) == 2
    file.write_text(text(start="echo new"))
    said = start(file)
    assert any(line.startswith("          ~ dev/small  replace 2 (version auto-") for line in said)
    assert said[-4:] == [
        "          take it over, which deletes 2 of all 2 eligible prebuilds, in a second terminal:",
        "            prebuild apply …/site.yaml --yes",
        "          or at the next start: prebuild up --file …/site.yaml --apply --yes",
        "pools     as declared, revision 1",
    ]
    with pytest.raises(RefusedError, match="delete 2 of all 2"):
        start(file, apply=True)
    assert start(file, apply=True, yes=True) == ["pools     …/site.yaml, revision 2"]


def test_a_later_start_compares_the_file_of_the_last_one(start: Start, tmp_path: Path) -> None:
    file, overlay = tmp_path / "site.yaml", tmp_path / "production.yaml"
    file.write_text(text(1))
    overlay.write_text("templates: [{name: dev, presets: [{name: small, desired: 2}]}]")
    start(file, overlay)
    assert start(edited=text(9)) == ["pools     …/site.yaml, revision 1"]
    overlay.write_text("templates: [{name: dev, presets: [{name: small, desired: 4}]}]")
    assert "            prebuild apply …/site.yaml …/production.yaml" in start()
    assert start(apply=True) == ["pools     …/site.yaml, revision 2"]


def test_an_example_is_compared_after_another_file_was_declared_if_it_was_edited(
    start: Start, database: Database, settings: Settings, tmp_path: Path, cli: Any
) -> None:
    """Once another file had been declared, later edits of the example were ignored without a word."""
    start()
    file = tmp_path / "site.yaml"
    file.write_text(text().replace("name: dev", "name: site"))
    cli("apply", str(file))
    assert start() == ["pools     …/site.yaml, revision 2"]
    assert start(edited=text(3)) == [
        "pools     …/example.yaml differs from what is declared, revision 2:",
        "",
        "          ~ preset dev/small: desired 2 -> 3",
        "          ! template site: no longer declared; with --prune its prebuilds are deleted",
        "",
        "          then:",
        "          + dev/small  create 3 (desired 2 -> 3)",
        "",
        "          take it over, in a second terminal:",
        "            prebuild apply …/example.yaml",
        "          or at the next start: prebuild up --apply",
        "pools     as declared, revision 2",
    ]
    file.write_text(text(5).replace("name: dev", "name: site"))
    said = start(edited=text(3))
    assert [line for line in said if "next start" in line] == [
        "          or at the next start: prebuild up --file …/site.yaml --apply",
        "          or at the next start: prebuild up --file …/example.yaml --apply",
    ]
    with pytest.raises(InputError, match=r"site.yaml and .*/example.yaml differ from what is declared"):
        start(apply=True, edited=text(3))
    start(file, apply=True, edited=text(3))
    assert start(apply=True, edited=text(3)) == ["pools     …/example.yaml, revision 4"]
    assert sizes(database, settings) == [3, 5]


def test_an_example_that_was_replaced_and_never_edited_is_not_compared(start: Start, tmp_path: Path, cli: Any) -> None:
    start()
    file = tmp_path / "own.yaml"
    file.write_text(text(1))
    cli("apply", str(file))
    assert start() == ["pools     …/own.yaml, revision 2"]
    assert "pools     …/example.yaml differs from what is declared, revision 2:" in start(edited=text(9))
    file.unlink()
    said = start()
    assert said[0].startswith("pools     …/example.yaml was declared as revision 1, and something else has been since")


def test_a_file_is_compared_and_taken_over_after_a_promotion(
    start: Start, database: Database, tmp_path: Path, cli: Any
) -> None:
    """After a promotion `up` printed no plan, and `up --apply` refused to take the file over."""
    start()
    [first] = [row.version for row in versions(database, "dev")]
    new = text(start="echo new")
    assert start(apply=True, edited=new) == ["pools     …/example.yaml, revision 2"]
    cli("promote", "dev", first)
    said = start(edited=new)
    assert said[0] == "pools     …/example.yaml differs from what is declared, revision 3:"
    assert any(line.startswith(f"          ~ template dev: {first} -> ") for line in said)
    assert said[-1] == "pools     as declared, revision 3"
    assert start(apply=True, edited=new) == ["pools     …/example.yaml, revision 4"]


def test_a_file_that_was_applied_as_advised_is_the_one_compared_later(
    start: Start, settings: Settings, database: Database, tmp_path: Path, cli: Any
) -> None:
    """`up` named the example with the other file's revision, and ignored the other file's later edits."""
    start()
    file = tmp_path / "site.yaml"
    file.write_text(text(1))
    assert "            prebuild apply …/site.yaml" in start(file)
    assert start() == ["pools     …/example.yaml, revision 1"]
    cli("apply", str(file))
    assert start() == ["pools     …/site.yaml, revision 2"]
    file.write_text(text(5))
    assert "            prebuild apply …/site.yaml" in start()


def test_an_older_file_is_not_offered_over_a_declaration_from_elsewhere(
    start: Start, database: Database, settings: Settings, tmp_path: Path
) -> None:
    """`up --apply` put the file of the last start back over what had been declared since."""
    start()
    elsewhere = settings.model_copy(update={"database_url": database.url, "data_dir": tmp_path / "elsewhere"})
    file = tmp_path / "site.yaml"
    file.write_text(text(4))
    options = ApplyOptions(actor="grace")
    apply(database, elsewhere, load_pools([file]), options)
    assert start() == [
        (
            "pools     …/example.yaml was declared as revision 1, and something else has been since; "
            "to compare a file: prebuild up --file FILE"
        ),
        "pools     as declared, revision 2",
    ]
    with pytest.raises(InputError, match="something else has been since"):
        start(apply=True)
    assert sizes(database, settings) == [4]
    assert start(file) == ["pools     …/site.yaml, revision 2"]


def test_pools_of_another_file_are_not_compared_with_the_example(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(text().replace("name: dev", "name: site"))
    start(file)
    file.unlink()
    assert start() == ["pools     as declared, revision 1"]
    with pytest.raises(InputError, match="another file than the example"):
        start(apply=True)


def test_an_example_with_errors_stops_nothing_that_is_declared(start: Start, tmp_path: Path) -> None:
    start()
    wrong = text().replace("desired: 2", "desird: 2")
    assert start(edited=wrong) == [
        "pools     …/example.yaml:6:29: unknown key desird. Fix: did you mean desired?",
        "pools     as declared, revision 1",
    ]
    with pytest.raises(PoolsFileError):
        start(apply=True, edited=wrong)
    file = tmp_path / "site.yaml"
    file.write_text(wrong)
    with pytest.raises(PoolsFileError):
        start(file)


def test_the_example_is_applied_as_it_stands(database: Database, settings: Settings) -> None:
    """Applying the file of the checkout changes nothing of what `up` made of it."""
    runtime = Runtime(settings.model_copy(update={"database_url": database.url}))
    file = ROOT / "examples" / "pools.yaml"
    said: list[str] = []
    try:
        for chosen in (Chosen(), Chosen((file,))):
            PoolsAtStart(runtime, chosen, "prebuild", lambda _, line: said.append(line)).make()
    finally:
        runtime.close()
    assert said == [f"{file}, revision 1"] * 2


def test_a_claim_is_suggested_from_a_pool_of_the_file_that_builds(
    start: Start, database: Database, settings: Settings, tmp_path: Path
) -> None:
    """The first pool by name was suggested, which was a blocked one of another file."""
    (file := tmp_path / "web.yaml").write_text(
        "{schema: 1, templates: [{name: web, config: {start: x}, presets: "
        "[{name: a, desired: 1}, {name: b, desired: 1}, {name: none}]}]}"
    )
    start(edited=text())
    runtime = Runtime(settings.model_copy(update={"database_url": database.url}))
    try:
        at_start = PoolsAtStart(runtime, Chosen([file], apply=True), "prebuild", lambda _, line: None)
        at_start.make()
    finally:
        runtime.close()
    rows = [row for row in pools(database, settings) if not row.superseded]
    assert [str(row.preset) for row in rows] == ["dev/small", "web/a", "web/b", "web/none"]

    def suggested(*blocked: str, declared: Collection[PoolName] = at_start.declared) -> str:
        reason = {True: Reason.HARD_LIMITED.value, False: Reason.NO_WORKER.value}
        row = pool_to_claim([replace(row, reason=reason[str(row.preset) in blocked]) for row in rows], declared)
        return str(row.preset) if row else ""

    assert suggested("dev/small") == "web/a"
    assert suggested("web/a") == "web/b"
    assert suggested("web/a", "web/b") == "web/a"
    assert suggested(declared=()) == "dev/small"
    assert suggested("dev/small", declared=()) == "web/a"
