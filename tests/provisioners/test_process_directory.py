"""The process provisioner's directories: attempts, links, permissions, and deletion."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import BuildStoppedError, CannotBuildError, ProvisionerError
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.process import ProcessProvisioner
from prebuild_tasks.provisioners.process.directory import Published, WorkspaceDirectory
from prebuild_tasks.provisioners.shared.disk import disk_use
from tests.provisioners.context import Context
from tests.provisioners.process_workspace import run


@pytest.mark.parametrize(
    "bad", ["../../etc", "x", "", "a" * 32 + "/..", "A" * 32, "{12345678-1234-4234-8234-123456789012}"]
)
def test_an_id_that_is_none_makes_no_path(provisioner: ProcessProvisioner, spec: WorkspaceSpec, bad: str) -> None:
    hostile = replace(spec, workspace_id=bad)
    for operation in (provisioner.start, provisioner.claim, provisioner.stop, provisioner.delete):
        with pytest.raises(CannotBuildError, match="UUID"):
            operation(hostile, Context())


def test_delete_removes_read_only_trees(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    run(provisioner, spec, "mkdir -p a/b && touch a/b/c && chmod -R a-w a")
    provisioner.delete(spec, Context())
    assert list(provisioner.list("i")) == []


def test_a_lower_attempt_never_removes_a_higher_ones_directory(settings: Settings, spec: WorkspaceSpec) -> None:
    place = WorkspaceDirectory(settings.data_dir / "workspaces", spec.workspace_id)
    assert place.begin("i", 1) is None
    assert place.begin("i", 2) is None
    higher = place.make_attempt_directory(2)
    with pytest.raises(BuildStoppedError) as caught:
        place.make_attempt_directory(1)
    assert caught.value.reason == "lost"
    with pytest.raises(BuildStoppedError):
        place.publish(Published(attempt=1))
    assert higher.is_dir()
    assert not place.attempt_directory(1).exists()


def test_a_late_result_after_the_delete_is_refused(settings: Settings, spec: WorkspaceSpec) -> None:
    place = WorkspaceDirectory(settings.data_dir / "workspaces", spec.workspace_id)
    place.begin("i", 1)
    place.make_attempt_directory(1)
    place.remove(Context())
    with pytest.raises(BuildStoppedError, match="deleted"):
        place.publish(Published(attempt=1))
    assert not place.path.exists()


def test_a_place_that_is_a_link_is_refused(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (settings.data_dir / "workspaces").mkdir(parents=True)
    (settings.data_dir / "workspaces" / spec.workspace_id).symlink_to(tmp_path / "precious")
    with pytest.raises(ProvisionerError, match="link"):
        provisioner.delete(spec, Context())
    assert (tmp_path / "precious" / "file").exists()


def test_delete_follows_no_link_out_of_the_workspace(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, tmp_path: Path
) -> None:
    (tmp_path / "precious").touch()
    run(provisioner, spec, 'ln -s "$OUT" out', OUT=str(tmp_path))
    provisioner.delete(spec, Context())
    assert (tmp_path / "precious").exists()


def test_delete_removes_trees_deeper_than_paths_may_be_long(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec
) -> None:
    deep = "import os\nfor _ in range(1500):\n os.mkdir('d' * 20); os.chdir('d' * 20)"
    run(provisioner, spec, [sys.executable, "-c", deep])
    provisioner.delete(spec, Context())
    assert list(provisioner.list("i")) == []


def test_a_published_directory_that_vanished_is_built_again_but_never_a_claimed_one(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec
) -> None:
    made = provisioner.start(spec, Context())
    shutil.rmtree(made.directory)
    assert not provisioner.probe(spec).ready
    assert provisioner.start(spec, Context()) == made
    assert provisioner.probe(spec).ready
    provisioner.claim(replace(spec, owner="ada"), Context())
    shutil.rmtree(made.directory)
    with pytest.raises(ProvisionerError, match="claimed"):
        provisioner.start(replace(spec, attempt=2), Context())


def test_everything_is_for_its_owner_only(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    made = provisioner.start(replace(spec, config={"start": "true", "serve": "exec sleep 1000"}), Context())
    place = Path(made.resource_id)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in (place.parent, place, Path(made.directory))} == {
        "workspaces": "0o700", place.name: "0o700", "a1": "0o700",
    }  # fmt: skip
    files = [path for path in place.iterdir() if path.is_file()]
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o600"}


def test_disk_use(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 3_000_000)
    found = disk_use(tmp_path)
    assert found is not None
    assert 2_900_000 < found < 4_000_000
    assert disk_use(tmp_path / "nowhere") is None
