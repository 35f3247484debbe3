"""The results of `make faults`: one per test in faults.json, written as soon as the test has ended."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "faults.json"
CHANGED = "+changes"
"""Follows the commit of a result that was made while files under prebuild_tasks/ differed from that commit."""
UNKNOWN = "unknown"
"""The commit where there is no Git repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one test ended."""

    commit: str
    """Of the code under test."""
    outcome: str
    """`passed` or `failed`."""
    seconds: float
    """How long it took, without what its fixtures did before and after."""
    seed: int | None = None
    """Repeats it: `--fault-seed`. None: nothing in it is left to chance."""
    said: Sequence[str] = ()
    """What was measured, in words."""


def load(file: Path) -> dict[str, Result]:
    """Read the results by the tests' names; none where there is no file."""
    if not file.exists():
        return {}
    return {
        name: Result(**{**values, "said": tuple(values["said"])})
        for name, values in json.loads(file.read_text()).items()
    }


def save(file: Path, results: Mapping[str, Result]) -> None:
    """Write all results at once: whoever is interrupted leaves the old file or the new one."""
    written = file.with_suffix(".new")
    text = json.dumps({name: asdict(results[name]) for name in sorted(results)}, indent=1, ensure_ascii=False)
    written.write_text(text + "\n")
    written.rename(file)


def commit_of(root: Path = ROOT) -> str:
    """Name the code under test: its commit, and whether files under prebuild_tasks/ differ from that."""
    head = _git(root, "rev-parse", "--short=10", "HEAD")
    if head is None:
        return UNKNOWN
    return head + (CHANGED if _git(root, "status", "--porcelain", "--", "prebuild_tasks") else "")


def is_current(result: Result, root: Path = ROOT) -> bool:
    """Tell whether a test passed with the code that is here now."""
    if result.outcome != "passed" or result.commit == UNKNOWN or result.commit.endswith(CHANGED):
        return False
    return _unchanged_since(result.commit, root)


@cache
def _unchanged_since(commit: str, root: Path) -> bool:
    if _git(root, "status", "--porcelain", "--", "prebuild_tasks"):
        return False
    return _git(root, "diff", "--name-only", commit, "--", "prebuild_tasks") == ""


class Missing:
    """A pytest plugin: leave out the tests that have a current result. Every test process needs it."""

    def __init__(self, file: Path, root: Path = ROOT) -> None:
        self._file, self._root = file, root

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Deselect them, after the tests were chosen by marker."""
        if commit_of(self._root) == UNKNOWN:
            raise pytest.UsageError("--missing asks Git what has changed since a result, and this is not a repository")
        seen = {name for name, result in load(self._file).items() if is_current(result, self._root)}
        left_out = [item for item in items if item.nodeid in seen]
        items[:] = [item for item in items if item.nodeid not in seen]
        config.hook.pytest_deselected(items=left_out)


class Recorder:
    """A pytest plugin: write the result of each test. Of several test processes only the controlling one needs it."""

    def __init__(self, file: Path, root: Path = ROOT) -> None:
        self._file = file
        self._commit = commit_of(root)
        self._terminal: pytest.TerminalReporter | None = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Find the terminal, on which failures are shown at once."""
        self._terminal = session.config.pluginmanager.get_plugin("terminalreporter")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write the result of a test that has run, or whose fixtures failed."""
        if report.skipped or (report.when != "call" and report.passed):
            return
        noted = dict(report.user_properties)
        seed = noted.get("seed")
        results = load(self._file)
        results[report.nodeid] = Result(
            commit=self._commit,
            outcome=report.outcome,
            seconds=round(report.duration, 1),
            seed=seed if isinstance(seed, int) else None,
            said=tuple(str(words) for name, words in report.user_properties if name == "said"),
        )
        save(self._file, results)
        if report.failed and self._terminal:  # now: pytest itself prints it when all tests have ended
            self._terminal.write_line(f"\n{report.nodeid} failed:\n{report.longreprtext}")


def _git(root: Path, *arguments: str) -> str | None:
    """Ask Git; None where there is no repository, or no such commit."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
