"""The process provisioner's scripts: their output, their end, and the claim hook."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from prebuild_tasks.errors import BuildStoppedError, CannotBuildError, ProvisionerError
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.process import ProcessProvisioner
from prebuild_tasks.provisioners.process.directory import WorkspaceDirectory
from prebuild_tasks.provisioners.shared import processes as tree
from tests.provisioners.context import Context
from tests.provisioners.process_workspace import run
from tests.support.wait import wait_until


def test_a_command_that_does_not_exist_is_a_sentence(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    with pytest.raises(ProvisionerError, match="no-such-command"):
        run(provisioner, spec, ["no-such-command"])


def test_output_split_inside_a_character_and_without_a_last_newline(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec
) -> None:
    assert run(provisioner, spec, r"printf '\342\202'; sleep 0.3; printf '\254 end'") == "€ end"


def test_much_output_arrives_whole(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    text = run(provisioner, spec, 'i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done')
    assert text.splitlines()[-1] == "line 19999"
    assert len(text.splitlines()) == 20000


def test_what_start_leaves_running_is_ended(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    run(provisioner, spec, "sleep 1000 >/dev/null & echo started")
    wait_until(lambda: not tree.marked([spec.workspace_id]), what="the end of the background process")


def test_descendants_with_sessions_of_their_own_end_with_the_workspace(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec
) -> None:
    child = '"$PYTHON" -c "import os,time; os.setsid(); time.sleep(1000)" & wait'
    serving = replace(spec, config={"start": "true", "serve": child, "ready": "true"})
    provisioner.start(serving, Context())
    wait_until(lambda: len(tree.marked([spec.workspace_id])) >= 2, what="the descendants")
    provisioner.delete(serving, Context())
    assert tree.marked([spec.workspace_id]) == []


def test_a_pid_given_to_somebody_else_is_not_ours(spec: WorkspaceSpec) -> None:
    us = os.getpid()
    assert tree.still_runs(us, tree.start_marker(us))
    assert not tree.still_runs(us, "born at another time")
    assert not tree.still_runs(us, "")
    assert not tree.still_runs(0, "")
    assert not tree.still_runs(psutil.pids()[-1] + 100_000, "")
    # In a new session: the leader of the test's own may be dead, or outside its namespace.
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as leader:
        try:
            ours = tree.Leader(leader.pid, tree.start_marker(leader.pid))
            assert [process.pid for process in tree.marked([], leaders=[ours], within=Path("/"))] == [leader.pid]
            stranger = tree.Leader(leader.pid, "born at another time")
            assert tree.marked([spec.workspace_id], leaders=[stranger], within=Path("/")) == []
        finally:
            leader.kill()


def test_the_claim_hook_sees_its_owner(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    hooked = replace(spec, config={"start": "true", "claim": "echo for $PREBUILD_OWNER"}, owner="ada")
    provisioner.start(hooked, Context())
    context = Context()
    provisioner.claim(hooked, context)
    assert context.text == "for ada\n"


def test_a_background_process_that_writes_for_ever_ends_with_start(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec
) -> None:
    assert run(provisioner, spec, "yes & exit 0") is not None
    assert tree.marked([spec.workspace_id]) == []


def test_a_stop_ends_even_descendants_with_sessions_of_their_own(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec
) -> None:
    child = '"$PYTHON" -c "import os,time; os.setsid(); print(\'begun\', flush=True); time.sleep(1000)" & wait'

    class StopsWhenBegun(Context):
        def log(self, text: str) -> None:
            super().log(text)
            if "begun" in self.text:
                self.stop()

    context = StopsWhenBegun()
    with pytest.raises(BuildStoppedError):
        provisioner.start(replace(spec, config={"start": child}), context)
    assert tree.marked([spec.workspace_id]) == []


def test_what_cleared_its_environment_is_still_ours(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    serving = replace(spec, config={"start": "true", "serve": "exec env -i sleep 1000", "ready": "true"})
    provisioner.start(serving, Context())
    place = WorkspaceDirectory(provisioner.root, spec.workspace_id)
    state = place.published()
    assert state is not None
    wait_until(lambda: tree.marked([spec.workspace_id]) == [], what="the cleared environment")
    assert provisioner.probe(serving).ready
    provisioner.delete(serving, Context())
    wait_until(lambda: not tree.still_runs(state.pid, state.born), what="its end")


def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen(["true"])
    born = tree.start_marker(process.pid)
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE, what="its end")
    assert not tree.still_runs(process.pid, born)
    process.wait()


def test_what_ignores_the_request_to_end_is_killed(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = replace(spec, config={"start": "true", "serve": "trap '' TERM; echo deaf; while :; do sleep 0.1; done"})
    provisioner.start(serving, Context())
    log = WorkspaceDirectory(provisioner.root, spec.workspace_id).serve_log
    wait_until(log.read_text, what="its output")
    assert tree.end(lambda: tree.marked([spec.workspace_id]), grace=0.2) >= 1
    assert tree.marked([spec.workspace_id]) == []


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo one; echo two; echo; echo three; exit 3", "start exited with 3: one / two / three"),
        ("exit 126", "start exited with 126: no output"),
        ("/no/such-tool", "start exited with 127: .*/no/such-tool"),
        ("kill -9 $$", "start was ended by signal 9: no output"),
        ("echo to stderr >&2; false", "start exited with 1: to stderr"),
    ],
)
def test_a_failing_start_is_a_sentence(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, script: str, words: str
) -> None:
    with pytest.raises(ProvisionerError, match=words) as caught:
        run(provisioner, spec, script)
    assert not isinstance(caught.value, CannotBuildError)


@pytest.mark.parametrize(
    ("ready", "message"),
    [("kill -9 $$", "ready was ended by signal 9: no output"), (["/no/such-tool"], "/no/such-tool: No such file or ")],
)
def test_a_ready_that_was_killed_or_cannot_be_started_decides_nothing(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, ready: object, message: str
) -> None:
    asked = replace(spec, config={"start": "true", "ready": ready})
    provisioner.start(asked, Context())
    probe = provisioner.probe(asked)
    assert (probe.ready, probe.unknown, probe.message[: len(message)]) == (False, True, message)


def test_the_claim_hook_runs_until_it_succeeded_once(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    hook = "echo ran >> runs; test -e allowed"
    hooked = replace(spec, config={"start": "true", "claim": hook}, owner="ada")
    directory = Path(provisioner.start(hooked, Context()).directory)
    with pytest.raises(ProvisionerError, match="claim exited with 1"):
        provisioner.claim(hooked, Context())
    assert next(iter(provisioner.list("i"))).claimed, "the mark comes first"
    (directory / "allowed").touch()
    for _ in range(2):
        provisioner.claim(hooked, Context())
    assert (directory / "runs").read_text() == "ran\nran\n"
