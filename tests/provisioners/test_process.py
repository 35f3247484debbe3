"""The process provisioner's environment, ports, processes and directories."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import BuildStoppedError, CannotBuildError, ProvisionerError
from prebuild_tasks.provisioners import RestsWithHost, WorkspaceSpec
from prebuild_tasks.provisioners.process import ProcessProvisioner
from prebuild_tasks.provisioners.process.directory import Published, WorkspaceDirectory
from prebuild_tasks.provisioners.shared import processes as tree
from prebuild_tasks.provisioners.shared.config import BadConfigError
from prebuild_tasks.provisioners.shared.disk import disk_use
from tests.provisioners.context import Context
from tests.support.wait import wait_until

SERVE = 'exec "$PYTHON" -m http.server --bind "$PREBUILD_WORKSPACE_BIND" "$PORT"'


@pytest.fixture
def provisioner(settings: Settings) -> Iterator[ProcessProvisioner]:
    adapter = ProcessProvisioner(settings)
    yield adapter
    adapter.rest()


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


@pytest.mark.parametrize(
    "bad", ["../../etc", "x", "", "a" * 32 + "/..", "A" * 32, "{12345678-1234-4234-8234-123456789012}"]
)
def test_an_id_that_is_none_makes_no_path(provisioner: ProcessProvisioner, spec: WorkspaceSpec, bad: str) -> None:
    hostile = replace(spec, workspace_id=bad)
    for operation in (provisioner.start, provisioner.claim, provisioner.stop, provisioner.delete):
        with pytest.raises(CannotBuildError, match="UUID"):
            operation(hostile, Context())


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
    """It is started by another process, which is then killed with SIGKILL."""
    script = f"""
import os, signal
from dataclasses import replace
from pathlib import Path
from prebuild_tasks.config import Settings
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.process import ProcessProvisioner
from tests.provisioners.context import Context
settings = Settings(data_dir=Path({str(settings.data_dir)!r}))
ProcessProvisioner(settings).start({replace(spec, config={"start": "true", "serve": SERVE})!r}, Context())
os.kill(os.getpid(), signal.SIGKILL)
""".replace("parameters=<hidden>", "")
    # repr omits the parameters on purpose; add them again.
    script = script.replace("ready_timeout=", f"parameters={dict(spec.parameters)!r}, ready_timeout=")
    ended = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False)
    assert ended.returncode == -9
    serving = replace(spec, config={"start": "true", "serve": SERVE})
    wait_until(lambda: provisioner.probe(serving).ready, what="the served process")
    resource = provisioner.start(serving, Context())
    with urlopen(resource.url, timeout=60) as answer:
        assert answer.status == 200


def test_rest_leaves_no_process_and_serve_again_serves_the_same_again(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec
) -> None:
    assert isinstance(provisioner, RestsWithHost)
    serving = replace(spec, config={"start": "echo once >> starts", "serve": SERVE})
    before = provisioner.start(serving, Context())
    wait_until(lambda: provisioner.probe(serving).ready, what="the served process")
    assert provisioner.rest() == 1
    assert tree.marked([spec.workspace_id]) == []
    assert not provisioner.probe(serving).ready
    assert provisioner.serve_again() == 1
    wait_until(lambda: provisioner.probe(serving).ready, what="the served process")
    assert provisioner.serve_again() == 1, "what runs is left alone"
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


def test_what_is_served_can_be_interrupted(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    """A served editor's terminals inherit its signal handling; with SIGINT ignored, Ctrl-C never worked in them."""
    handler = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    serving = replace(spec, config={"start": "true", "serve": [sys.executable, "-c", handler]})
    provisioner.start(serving, Context())
    log = WorkspaceDirectory(provisioner.root, spec.workspace_id).serve_log
    assert wait_until(log.read_text, what="its output") == "True\n"


def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen(["true"])
    born = tree.start_marker(process.pid)
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE, what="its end")
    assert not tree.still_runs(process.pid, born)
    process.wait()


def test_what_cant_be_served_says_so_at_once(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    with pytest.raises(ProvisionerError, match="/no/such-server cannot be started: No such file"):
        provisioner.start(replace(spec, config={"start": "true", "serve": ["/no/such-server"]}), Context())


def test_what_ignores_the_request_to_end_is_killed(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = replace(spec, config={"start": "true", "serve": "trap '' TERM; echo deaf; while :; do sleep 0.1; done"})
    provisioner.start(serving, Context())
    log = WorkspaceDirectory(provisioner.root, spec.workspace_id).serve_log
    wait_until(log.read_text, what="its output")
    assert tree.end(lambda: tree.marked([spec.workspace_id]), grace=0.2) >= 1
    assert tree.marked([spec.workspace_id]) == []


def test_a_probe_that_hangs_is_ended(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prebuild_tasks.provisioners.process.adapter.PROBE_TIMEOUT", 0.3)
    hanging = replace(spec, config={"start": "true", "ready": "sleep 1000 & wait"})
    provisioner.start(hanging, Context())
    assert provisioner.probe(hanging).message == "ready did not end within 0.3 s"
    assert tree.marked([spec.workspace_id]) == []


def test_a_probe_says_how_it_failed(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    failing = replace(spec, config={"start": "true", "ready": "echo warming up; exit 4"})
    provisioner.start(failing, Context())
    assert provisioner.probe(failing).message == "ready exited with 4: warming up"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo one; echo two; echo; echo three; exit 3", "start exited with 3: two / three"),
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
    ("config", "key", "words"),
    [
        ({}, "start", "config.start is required"),
        (
            {"start": "true", "strat": "x"},
            "strat",
            "config.strat is not a known key; the keys are start, serve, ready, claim",
        ),
        ({"start": ""}, "start", "not empty"),
        ({"start": " \n"}, "start", "not empty"),
        ({"start": []}, "start", "not empty"),
        ({"start": [""]}, "start", "not empty"),
        ({"start": "true", "serve": ""}, "serve", "not empty"),
        ({"start": "true", "ready": 5}, "ready", "must be a script or a list of strings"),
        ({"start": ["sleep", 5]}, "start", "must be a script or a list of strings"),
        ({"start": "echo \0"}, "start", "must be a script or a list of strings"),
    ],
)
def test_a_bad_config_is_refused_in_words(
    provisioner: ProcessProvisioner, config: dict[str, Any], key: str, words: str
) -> None:
    with pytest.raises(BadConfigError, match=words) as caught:
        provisioner.check_config(config)
    assert caught.value.key == key


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


def test_one_that_cant_be_read_stops_no_other(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, caplog: pytest.LogCaptureFixture
) -> None:
    serving = [
        replace(spec, workspace_id=str(uuid.uuid4()), config={"start": "true", "serve": "exec sleep 1000"})
        for _ in range(3)
    ]
    made = [provisioner.start(one, Context()) for one in serving]
    provisioner.rest()
    (Path(made[0].resource_id) / "state.json").write_text("{")
    state = Path(made[1].resource_id) / "state.json"
    state.write_text(state.read_text().replace('"sh"', '"no-such-shell"'))
    assert provisioner.serve_again() == 1
    assert "cannot be served again: no-such-shell" in caplog.text
    assert {resource.workspace_id for resource in provisioner.list("i")} == {one.workspace_id for one in serving}


def test_what_was_stopped_on_purpose_is_not_resumed(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    serving = replace(spec, config={"start": "true", "serve": "exec sleep 1000"})
    provisioner.start(serving, Context())
    provisioner.stop(serving, Context())
    assert provisioner.serve_again() == 0
    provisioner.start(serving, Context())
    provisioner.rest()
    assert provisioner.serve_again() == 1


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


def test_after_a_rest_it_is_served_for_its_owner(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    serving = replace(spec, config={"start": "true", "serve": 'echo "for $PREBUILD_OWNER"; exec sleep 1000'})
    provisioner.start(serving, Context())
    provisioner.claim(replace(serving, owner="ada"), Context())
    provisioner.rest()
    provisioner.serve_again()
    log = WorkspaceDirectory(provisioner.root, spec.workspace_id).serve_log
    wait_until(lambda: log.read_text() == "for prebuilds\nfor ada\n", what="both owners")


def test_no_secret_is_in_a_repr_or_a_log(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    secret = replace(spec, parameters={"T": "s3cret"}, config={"start": "true", "serve": "exec sleep 1000"})
    provisioner.start(secret, Context())
    provisioner.rest()
    provisioner.serve_again()
    state = WorkspaceDirectory(provisioner.root, spec.workspace_id).published()
    assert state is not None
    assert state.env["T"] == "s3cret"
    assert "s3cret" not in caplog.text + repr(state)


@pytest.mark.parametrize(
    ("host", "bind", "told"),
    [
        ("127.0.0.1", "", "127.0.0.1"), ("localhost", "", "127.0.0.1"), ("127.1.2.3", "", "127.0.0.1"),
        ("dev.example.org", "", "0.0.0.0"), ("dev.example.org", "10.0.0.5", "10.0.0.5"),
    ],
)  # fmt: skip
def test_what_is_served_is_told_where_to_listen(
    settings: Settings, spec: WorkspaceSpec, host: str, bind: str, told: str
) -> None:
    public = ProcessProvisioner(settings.model_copy(update={"public_host": host, "workspace_bind": bind}))
    context = Context()
    serving = replace(spec, config={"start": 'echo "$PREBUILD_WORKSPACE_BIND"', "serve": "exec sleep 1000"})
    url = public.start(serving, context).url
    public.rest()
    assert context.text == f"{told}\n"
    assert url.startswith(f"http://{host}:")


def test_many_starts_at_once_share_no_port_and_leave_no_zombie(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec
) -> None:
    many = [
        replace(spec, workspace_id=str(uuid.uuid4()), config={"start": "echo a; true", "serve": "exec sleep 1000"})
        for _ in range(12)
    ]
    with ThreadPoolExecutor(12) as pool:
        made = list(pool.map(lambda one: provisioner.start(one, Context()), many))
    assert len({resource.url for resource in made}) == 12
    assert [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE] == []


@pytest.mark.parametrize(
    ("limits", "script", "words"),
    [
        ({"files": 12}, "ulimit -n", "12"),
        ({"file_size": "1m"}, "head -c 2000000 /dev/zero > big && echo written", ""),
        ({"memory": "1g"}, "ulimit -v", str(1024 * 1024)),
        ({"cpu_seconds": 7}, "ulimit -t", "7"),
        ({}, "ulimit -t", "unlimited"),
    ],
)
def test_limits_hold(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, limits: dict[str, Any], script: str, words: str
) -> None:
    context = Context()
    config = {"start": f"{script} || true", "limits": limits}
    provisioner.start(replace(spec, config=config), context)
    assert words in context.text
    assert "written" not in context.text


def test_what_is_served_is_limited_too(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, settings: Settings
) -> None:
    serve = "ulimit -n > limit; ulimit -t >> limit; exec sleep 1000"
    config = {"start": "true", "serve": serve, "ready": "test -s limit", "limits": {"files": 99, "cpu_seconds": 5}}
    made = provisioner.start(replace(spec, config=config), Context())
    limit = Path(made.directory) / "limit"
    wait_until(lambda: limit.exists() and len(limit.read_text().split()) == 2, what="its limits")
    assert limit.read_text().split() == ["99", "unlimited"]


@pytest.mark.parametrize("limits", [{"memory": "lots"}, {"files": 0}, {"file": 3}, {"files": "many"}, {"memory": True}])
def test_limits_that_are_refused(provisioner: ProcessProvisioner, limits: dict[str, Any]) -> None:
    with pytest.raises(BadConfigError, match=r"config\.limits takes memory"):
        provisioner.check_config({"start": "true", "limits": limits})


def test_disk_use(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 3_000_000)
    found = disk_use(tmp_path)
    assert found is not None
    assert 2_900_000 < found < 4_000_000
    assert disk_use(tmp_path / "nowhere") is None
