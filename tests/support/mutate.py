"""Apply each mutation to a copy of the release before and of this tree, and run the tests that should notice it.

`python -m tests.support.mutate [NAME]`: the mutations whose names contain NAME. Prints a table; exits with 1 if one
that the old tests notice is not noticed by the new ones, or if tests fail without a mutation.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.support.mutations import MUTATIONS, Change, Mutation
from tests.support.old_tree import ROOT, NoHistoryError, install, unpack

PATIENCE = 900
"""Seconds for one run, because a mutation may make a test wait forever."""
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".prebuild", "__pycache__", ".*_cache", ".hypothesis")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+::\w+(?:\[.*?\])?)(?= - |$)", re.MULTILINE)


class Outcome(StrEnum):
    """The result of the tests of one mutation."""

    CAUGHT = "caught"
    HUNG = "caught (hung)"
    SURVIVED = "not caught"
    BROKEN = "the tests do not run"
    FAILS_ANYWAY = "the tests fail without it"

    @property
    def is_caught(self) -> bool:
        """Tell whether a test noticed the mutation."""
        return self in (Outcome.CAUGHT, Outcome.HUNG)


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a pytest run: the exit code, None if it did not end, and the failed tests."""

    code: int | None
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tree:
    """A copy of a release, with the Python that runs its tests."""

    directory: Path
    python: Path

    def run(self, tests: Iterable[str], *options: str) -> Run:
        """Run tests, named from the tree's root."""
        command = [
            str(self.python), "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", *options,
            "-m", "not faults and not docker and not deploys and not monitoring and not browser and not nginx", *tests,
        ]  # fmt: skip
        # Without bytecode, because a file that is changed twice within a second would not be compiled again.
        environment = os.environ | {"PYTHONPATH": str(self.directory), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                command, cwd=self.directory, env=environment, capture_output=True, text=True, timeout=PATIENCE,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Run(None)
        return Run(done.returncode, tuple(_FAILED.findall(done.stdout)))

    def try_out(self, change: Change) -> Run:
        """Make the change, run its tests up to the first that fails, and take the change back."""
        file = self.directory / "prebuild_tasks" / change.path
        original = file.read_text()
        if original.count(change.text) != 1:
            raise SystemExit(f"{change.path}: stands there {original.count(change.text)} times: {change.text}")
        file.write_text(original.replace(change.text, change.replacement))
        try:
            return self.run((f"tests/{test}" for test in change.tests), "-x")
        finally:
            file.write_text(original)

    def outcomes(self, changes: Sequence[Change]) -> list[Outcome]:
        """Try the changes out; then run the tests that failed without any, which must pass."""
        runs = []
        for change in changes:
            run = self.try_out(change)
            print(f"{change.path}: {run.code} {' '.join(run.failed)}", file=sys.stderr, flush=True)
            runs.append(run)
        failed = sorted({test for run in runs for test in run.failed})
        anyway = set(self.run(failed).failed) if failed else set()
        return [_outcome(run, anyway) for run in runs]


def _outcome(run: Run, anyway: Collection[str]) -> Outcome:
    if run.code == 1:
        return Outcome.FAILS_ANYWAY if anyway & set(run.failed) else Outcome.CAUGHT
    return {0: Outcome.SURVIVED, None: Outcome.HUNG}.get(run.code, Outcome.BROKEN)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="", help="part of a mutation's name")
    parser.add_argument("--before", type=Path, help="a copy of v0.1.0 with its .venv, instead of a new one")
    given = parser.parse_args()
    chosen = [item for item in MUTATIONS if given.name in item.name]
    with tempfile.TemporaryDirectory(prefix="mutations-") as place:
        try:
            trees = _before(given.before, Path(place)), Tree(_copy(ROOT, Path(place, "after")), Path(sys.executable))
        except NoHistoryError as error:
            raise SystemExit(str(error)) from None
        changes = [item.before for item in chosen], [item.after for item in chosen]
        with ThreadPoolExecutor(len(trees)) as pool:
            results = list(pool.map(Tree.outcomes, trees, changes))
    rows = list(zip(chosen, *results, strict=True))
    print(table(rows))
    sys.exit(any(old.is_caught > new.is_caught or Outcome.FAILS_ANYWAY in (old, new) for _, old, new in rows))


def _before(given: Path | None, place: Path) -> Tree:
    if given:
        return Tree(_copy(given, place / "before"), given / ".venv" / "bin" / "python")
    tree = unpack(place / "before")
    return Tree(tree, install(tree))


def _copy(tree: Path, to: Path) -> Path:
    return Path(shutil.copytree(tree, to, ignore=_LEFT_OUT, symlinks=True))


def table(rows: Sequence[tuple[Mutation, Outcome, Outcome]]) -> str:
    """Lay the results out in columns."""
    width = max((len(item.name) for item, *_ in rows), default=0)
    lines = [f"{'mutation':{width}}  {'0.1.0':26}  now"]
    lines += [f"{item.name:{width}}  {old:26}  {new}" for item, old, new in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
