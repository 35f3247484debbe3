"""What only the process provisioner promises: the environment, the port, the processes, the directory."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import CannotBuildError, NotFoundError, ProvisionerError
from prebuild_tasks.ports import Suspendable, WorkspaceSpec
from prebuild_tasks.provisioners import Provisioners, names
from prebuild_tasks.provisioners import process_tree as tree
from prebuild_tasks.provisioners.process import ProcessProvisioner
from tests.provisioners.context import Context
from tests.wait import wait_until

SERVE = 'exec "$PYTHON" -m http.server --bind "$PREBUILD_WORKSPACE_BIND" "$PORT"'


@pytest.fixture
def provisioner(settings: Settings) -> Iterator[ProcessProvisioner]:
    adapter = ProcessProvisioner(settings)
    yield adapter
    adapter.suspend()


@pytest.fixture
def spec() -> WorkspaceSpec:
    return WorkspaceSpec(
        installation="i", workspace_id=str(uuid.uuid4()), attempt=1, name="n", owner="prebuilds", template="t",
        version="v", preset="p", config={"start": "true"}, parameters={"PYTHON": sys.executable},
    )  # fmt: skip


def run(provisioner: ProcessProvisioner, spec: WorkspaceSpec, start: object, **parameters: str) -> str:
    context = Context()
    provisioner.start(replace(spec, config={"start": start}, parameters=parameters), context)
    return context.text


def test_the_environment_is_built_from_nothing(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = {
        "PREBUILD_DATABASE_URL": "postgresql://u:pw@h/d", "PREBUILD_REDIS_URL": "redis://:pw@h", "DATABASE_URL": "x",
        "PREBUILD_DATABASE_URL_FILE": "x", "REDIS_URL": "x", "CELERY_BROKER_URL": "x", "PGPASSWORD": "x", "MINE": "x",
        "FLOWER_BASIC_AUTH": "x",
    }  # fmt: skip
    for name, value in {**secret, "HTTPS_PROXY": "http://proxy", "PIP_INDEX_URL": "https://index"}.items():
        monkeypatch.setenv(name, value)
    seen = dict(line.split("=", 1) for line in run(provisioner, spec, "env", A="1").splitlines())
    assert not secret.keys() & seen.keys()
    assert seen["HTTPS_PROXY"] == "http://proxy"
    assert seen["PIP_INDEX_URL"] == "https://index"
    assert seen["A"] == "1"
    directory = seen["PREBUILD_WORKSPACE_DIRECTORY"]
    assert (seen["HOME"], seen["TMPDIR"], seen["LANG"]) == (directory, f"{directory}/.tmp", "C.UTF-8")
    assert seen["PREBUILD_WORKSPACE_ID"] == spec.workspace_id


def test_even_a_pattern_that_matches_them_passes_no_addresses(
    settings: Settings, spec: WorkspaceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREBUILD_DATABASE_URL", "x")
    monkeypatch.setenv("REDIS_URL", "x")
    monkeypatch.setenv("MINE", "yes")
    open_handed = ProcessProvisioner(settings.model_copy(update={"provisioner_pass_env": ("*",)}))
    text = run(open_handed, spec, "env")
    assert "MINE=yes" in text
    assert "DATABASE_URL" not in text
    assert "REDIS_URL" not in text


@pytest.mark.parametrize("value", ["a;b", "$(touch pwned)", "`touch pwned`", "'\"\\", "two\nlines", "ü€\t*?", "-n", ""])
def test_parameters_arrive_verbatim_and_run_nothing(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, value: str
) -> None:
    assert run(provisioner, spec, 'printf %s "$A"; test ! -e pwned', A=value) == value


def test_a_list_is_argv(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    assert run(provisioner, spec, ["printf", "%s", "$A ; echo"], A="1") == "$A ; echo"


def test_a_command_that_does_not_exist_is_a_sentence(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    with pytest.raises(ProvisionerError, match="no-such-command"):
        run(provisioner, spec, ["no-such-command"])


@pytest.mark.parametrize("bad", ["../../etc", "x", "", "a" * 32 + "/.."])
def test_an_id_that_is_none_makes_no_path(provisioner: ProcessProvisioner, spec: WorkspaceSpec, bad: str) -> None:
    with pytest.raises(ValueError, match="UUID"):
        provisioner.start(replace(spec, workspace_id=bad), Context())


def test_parameters_that_can_be_no_variables_are_refused(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    with pytest.raises(CannotBuildError, match="environment variable"):
        run(provisioner, spec, "true", **{"A-B": "1"})


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


def test_serve_answers_on_its_port_and_survives_the_death_of_its_worker(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, settings: Settings
) -> None:
    """Started by another process, which is then killed with -9."""
    script = f"""
import os, signal
from dataclasses import replace
from pathlib import Path
from prebuild_tasks.config import Settings
from prebuild_tasks.ports import WorkspaceSpec
from prebuild_tasks.provisioners.process import ProcessProvisioner
from tests.provisioners.context import Context
settings = Settings(data_dir=Path({str(settings.data_dir)!r}))
ProcessProvisioner(settings).start({replace(spec, config={"start": "true", "serve": SERVE})!r}, Context())
os.kill(os.getpid(), signal.SIGKILL)
""".replace("parameters=<hidden>", "")
    # repr leaves the parameters out, on purpose; they are put in again here.
    script = script.replace("ready_timeout=", f"parameters={dict(spec.parameters)!r}, ready_timeout=")
    ended = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False)
    assert ended.returncode == -9
    serving = replace(spec, config={"start": "true", "serve": SERVE})
    wait_until(lambda: provisioner.probe(serving).ready, what="the served process")
    resource = provisioner.start(serving, Context())
    with urlopen(resource.url, timeout=5) as answer:
        assert answer.status == 200


def test_suspend_leaves_no_process_and_resume_serves_the_same_again(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec
) -> None:
    assert isinstance(provisioner, Suspendable)
    serving = replace(spec, config={"start": "echo once >> starts", "serve": SERVE})
    before = provisioner.start(serving, Context())
    wait_until(lambda: provisioner.probe(serving).ready, what="the served process")
    assert provisioner.suspend() >= 1
    assert tree.marked([spec.workspace_id]) == []
    assert not provisioner.probe(serving).ready
    assert provisioner.resume() == 1
    wait_until(lambda: provisioner.probe(serving).ready, what="the served process")
    assert provisioner.start(serving, Context()) == before
    assert (Path(before.directory) / "starts").read_text() == "once\n"


def test_a_served_process_that_dies_is_not_ready_and_says_why(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec
) -> None:
    serving = replace(spec, config={"start": "true", "serve": "echo out of memory; exit 1"})
    provisioner.start(serving, Context())
    probe = wait_until(
        lambda: (p := provisioner.probe(serving)).message.startswith("the served process ended") and p, what="its end"
    )
    assert "out of memory" in probe.message


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
    assert not tree.is_running(os.getpid(), spec.workspace_id)
    assert not tree.is_running(psutil.pids()[-1] + 100_000, spec.workspace_id)


def test_delete_removes_read_only_trees(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    run(provisioner, spec, "mkdir -p a/b && touch a/b/c && chmod -R a-w a")
    provisioner.delete(spec, Context())
    assert list(provisioner.list("i")) == []


def test_the_claim_hook_sees_its_owner(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    hooked = replace(spec, config={"start": "true", "claim": "echo for $PREBUILD_OWNER"}, owner="ada")
    provisioner.start(hooked, Context())
    context = Context()
    provisioner.claim(hooked, context)
    assert context.text == "for ada\n"


def test_ports_are_never_shared(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    urls = set()
    for _ in range(5):
        one = replace(spec, workspace_id=str(uuid.uuid4()), config={"start": "true", "serve": "exec sleep 1000"})
        urls.add(provisioner.start(one, Context()).url)
    assert len(urls) == 5


def test_parameters_are_not_in_the_specs_repr(spec: WorkspaceSpec) -> None:
    assert "s3cret" not in repr(replace(spec, parameters={"T": "s3cret"}))


def test_provisioners_are_found_by_name(settings: Settings) -> None:
    assert "process" in names()
    assert isinstance(Provisioners(settings).get("process"), ProcessProvisioner)
    with pytest.raises(NotFoundError, match="did you mean process"):
        Provisioners(settings).get("proces")
