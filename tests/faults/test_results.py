"""Each result is written to faults.json, `--missing` continues a run, and the document is printed from the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.table import BEGIN, DOCUMENT, END, ROWS, printed, render, row_of
from tests.support.results import FILE, ROOT, Result, load, save

TESTS = """
import os, pytest

@pytest.fixture
def chance(request):
    request.node.user_properties.append(("seed", 7))

def test_first(chance, request):
    request.node.user_properties.append(("said", "3 killed"))

def test_second():
    assert not os.path.exists("broken")

def test_third():
    if os.path.exists("interrupted"):
        raise KeyboardInterrupt
"""
RUN = """
import sys, pytest
from pathlib import Path
from tests.support.results import Missing, Recorder
file, here = Path("faults.json"), Path.cwd()
plugins = [Recorder(file, here), *([Missing(file, here)] if "missing" in sys.argv else [])]
options = [word for word in sys.argv[1:] if word != "missing"]
sys.exit(pytest.main(["-q", "test_it.py", *options], plugins=[] if options else plugins))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with three tests."""
    (tmp_path / "prebuild_tasks").mkdir()
    (tmp_path / "prebuild_tasks" / "code.py").write_text("ONE = 1\n")
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(place: Path, *arguments: str) -> str:
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *arguments], cwd=place, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(place: Path) -> str:
    git(place, "add", "--all")
    git(place, "commit", "--quiet", "--allow-empty", "--message", "more")
    return git(place, "rev-parse", "--short=10", "HEAD")


def run(place: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments], cwd=place, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1",
             "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.thorough
def test_each_result_is_written_and_missing_goes_on(project: Path) -> None:
    file, head = project / "faults.json", git(project, "rev-parse", "--short=10", "HEAD")
    (project / "broken").touch()
    (project / "interrupted").touch()
    assert run(project)[0] == 2, "interrupted in the third test"
    first, second = load(file)["test_it.py::test_first"], load(file)["test_it.py::test_second"]
    assert (first.commit, first.outcome, first.seed, first.said) == (head, "passed", 7, ("3 killed",))
    assert first.seconds >= 0
    assert (second.commit, second.outcome, second.seed, second.said) == (head, "failed", None, ())
    assert set(load(file)) == {"test_it.py::test_first", "test_it.py::test_second"}

    (project / "broken").unlink()
    (project / "interrupted").unlink()
    commit(project)
    code, said = run(project, "missing")
    assert (code, "2 passed, 1 deselected" in said) == (0, True), "nothing under prebuild_tasks/ has changed"
    assert {result.outcome for result in load(file).values()} == {"passed"}
    assert "3 deselected" in run(project, "missing")[1]


@pytest.mark.thorough
def test_a_change_of_the_code_makes_everything_missing(project: Path) -> None:
    file = project / "faults.json"
    run(project)
    (project / "prebuild_tasks" / "code.py").write_text("ONE = 2\n")
    assert "3 passed" in run(project, "missing")[1]
    assert {result.commit[-8:] for result in load(file).values()} == {"+changes"}, "these tell of no commit"
    head = commit(project)
    assert "3 passed" in run(project, "missing")[1]
    assert {result.commit for result in load(file).values()} == {head}


@pytest.mark.thorough
def test_without_a_repository_nothing_can_be_missing(project: Path) -> None:
    for path in sorted((project / ".git").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (project / ".git").rmdir()
    assert run(project)[0] == 0
    code, said = run(project, "missing")
    assert (code, "not a repository" in said) == (4, True)


def test_the_document_is_printed_from_the_file() -> None:
    text = DOCUMENT.read_text()
    assert printed(text, load(FILE)) == text, "run: python -m tests.faults.table"


def test_every_row_names_tests_and_says_what_they_showed() -> None:
    results = {
        "tests/x.py::test_row_1_killed[300]": Result(
            commit="abc", outcome="passed", seconds=90, seed=5, said=("300 killed",)
        ),
        "tests/x.py::test_row_8_several_beats[50]": Result(
            commit="abc", outcome="passed", seconds=60, said=("50 | 50",)
        ),
        "tests/x.py::test_row_8_a_beat_killed[100]": Result(commit="abd", outcome="passed", seconds=60, seed=6),
        "tests/x.py::test_row_2_frozen[200]": Result(commit="abc", outcome="failed", seconds=6, seed=8),
    }
    lines = {line.split(" | ")[0]: line for line in render(results).splitlines()}
    assert "| 300 killed | abc; 1.5; 5 |" in lines["| 1"]
    assert "**failed**: `test_row_2_frozen[200]`" in lines["| 2"]
    assert "| 50 \\| 50 | abc, abd; 2.0; 6 |" in lines["| 8"]
    assert "| not run yet |" in lines["| 3"]
    assert row_of("tests/x.py::test_row_10_junk[100]").number == "10", "and not row 1"


def test_every_row_can_be_reproduced() -> None:
    for row in ROWS:
        paths = [ROOT / word for word in row.reproduce.split(" ") if word.startswith("tests")]
        assert paths
        text = "".join(
            path.read_text() for place in paths for path in ([place] if place.is_file() else place.rglob("test_*.py"))
        )
        assert [name for name in row.tests if f"def {name.rstrip('[')}" not in text] == []


def test_a_document_without_its_place_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one place"):
        printed(f"{BEGIN}\nbut no end", {})
    assert END in DOCUMENT.read_text()


def test_the_file_is_replaced_at_once(tmp_path: Path) -> None:
    one = {
        "b": Result(commit="c", outcome="passed", seconds=1.0),
        "a": Result(commit="c", outcome="failed", seconds=2.0),
    }
    save(tmp_path / "faults.json", one)
    assert load(tmp_path / "faults.json") == one
    assert [path.name for path in tmp_path.iterdir()] == ["faults.json"]
    assert load(tmp_path / "none.json") == {}


IN_EVERY_PROCESS = """
from pathlib import Path
from tests.support.results import Missing, Recorder

def pytest_configure(config):
    config.pluginmanager.register(Missing(Path("faults.json"), Path.cwd()))
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(Path("faults.json"), Path.cwd()))
"""


@pytest.mark.thorough
def test_several_test_processes_leave_out_the_same_tests(project: Path) -> None:
    (project / "conftest.py").write_text(IN_EVERY_PROCESS)
    (project / "broken").touch()
    commit(project)
    assert "1 failed, 2 passed" in run(project, "-p", "xdist", "-n", "2")[1]
    assert len(load(project / "faults.json")) == 3
    (project / "broken").unlink()
    assert "1 passed" in run(project, "-p", "xdist", "-n", "2")[1]
