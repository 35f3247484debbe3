"""Code written for release 0.1 works for one more release, with warnings that say what to change."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import prebuild_tasks.config
import prebuild_tasks.messaging
import prebuild_tasks.provisioners
import prebuild_tasks.reconcile
from prebuild_tasks.config import Settings
from prebuild_tasks.provisioners import Provisioners, RestsWithHost, parse_duration

ROOT = Path(__file__).parents[2]
COPY = Path(__file__).parent / "release_0_1" / "noop_dir_0_1.py"
NOW_IN = {
    "prebuild_tasks.ports": {
        prebuild_tasks.provisioners: "BuildContext ListsOnce MayNotList Probe Provisioner Resource WorkspaceSpec",
        prebuild_tasks.messaging: "NOTHING_SHOWN Publisher",
        prebuild_tasks.reconcile: "ReconciliationOrchestrator Reconciler",
    },
    "prebuild_tasks.provisioners.marks": {prebuild_tasks.provisioners: "refuse_claimed"},
}
DISTRIBUTION = """
class Old:
    def __init__(self, settings):
        self.calls = []

    def suspend(self):
        self.calls.append("suspend")
        return 2

    def resume(self):
        self.calls.append("resume")
        return 3
"""


@pytest.mark.parametrize("module", NOW_IN)
def test_a_former_module_warns_and_gives_the_same_names(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.warns(DeprecationWarning, match=f"{module} is deprecated") as warned:
        former = import_module(module)
    assert [Path(one.filename).name for one in warned] == ["__init__.py"], "the importer is named"
    for face, names in NOW_IN[module].items():
        for name in names.split():
            assert getattr(former, name) is getattr(face, name)
            assert name in former.__all__
            assert name in face.__all__


def test_parse_duration_warns_where_it_stood() -> None:
    with pytest.warns(
        DeprecationWarning, match="config.parse_duration is deprecated: import it from prebuild_tasks.provisioners"
    ):
        former = getattr(prebuild_tasks.config, "parse_duration")  # noqa: B009 - mypy does not know it
    assert former is parse_duration


@pytest.mark.parametrize("module", NOW_IN)
def test_the_product_imports_no_former_module(module: str) -> None:
    script = f"import sys, prebuild_tasks.cli.main, prebuild_tasks.tasks; sys.exit({module!r} in sys.modules)"
    subprocess.run([sys.executable, "-W", "error::DeprecationWarning:prebuild_tasks", "-c", script], check=True)


def test_suspend_and_resume_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    (tmp_path / "oldstyle.py").write_text(DISTRIBUTION)
    info = tmp_path / "oldstyle-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: oldstyle\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[prebuild_tasks.provisioners]\noldstyle = oldstyle:Old\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    provisioners = Provisioners(settings)
    with pytest.warns(DeprecationWarning, match="Old: rename suspend and resume to rest and serve_again"):
        resting = provisioners.resting_with_host()
    adapters: list[object] = [provisioners.get("process"), provisioners.get("command")]
    [old] = [one for one in resting if one not in adapters]
    assert isinstance(old, RestsWithHost)
    assert (old.rest(), old.serve_again()) == (2, 3)
    assert provisioners.get("oldstyle").calls == ["suspend", "resume"]  # type: ignore[attr-defined]
    assert {type(one).__name__ for one in resting if one is not old} == {"ProcessProvisioner", "CommandProvisioner"}


def test_the_example_of_release_0_1_is_a_true_copy() -> None:
    """tests/provisioners/test_contract.py tests the unchanged copy."""
    path = "3ea5ea6:examples/third-party-provisioner/prebuild_noop_dir.py"
    released = subprocess.run(["git", "show", path], cwd=ROOT, capture_output=True, text=True, check=False)
    if released.returncode:
        pytest.skip("this checkout has no history: commit 3ea5ea6, release 0.1.0, is not in it")
    assert COPY.read_text() == released.stdout
