"""The process provisioner's served processes: port, probe, rest, and restart."""

from __future__ import annotations

import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings
from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.provisioners import RestsWithHost, WorkspaceSpec
from prebuild_tasks.provisioners.process import ProcessProvisioner
from prebuild_tasks.provisioners.process.directory import WorkspaceDirectory
from prebuild_tasks.provisioners.shared import processes as tree
from tests.provisioners.context import Context
from tests.provisioners.process_workspace import SERVE
from tests.support.wait import wait_until


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


@pytest.mark.parametrize("ready", ["until test -e never; do sleep 0.1; done", "sleep 1000 & wait"])
def test_a_served_process_that_dies_while_ready_runs_is_noticed_at_once(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, ready: str
) -> None:
    """Whoever waits in `ready` for a server that had crashed was told after 30 s."""
    serve = "until test -e asked; do sleep 0.05; done; echo no module named flask; exit 1"
    serving = replace(spec, config={"start": "true", "serve": serve, "ready": f"touch asked; {ready}"})
    provisioner.start(serving, Context())
    began = monotonic()
    probe = provisioner.probe(serving)
    assert (probe.gone, probe.message) == (True, "the served process ended: no module named flask")
    assert monotonic() - began < 15
    assert tree.marked([spec.workspace_id]) == [], "ready is ended, too"


def test_what_crashes_after_a_ready_that_does_not_ask_it_is_not_ready(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec
) -> None:
    """A pool became full of dead workspaces: `ready` passed before the server had the time to fail."""
    crashing = replace(
        spec, config={"start": "true", "serve": "sleep 0.4; echo no module >&2; exit 1", "ready": "true"}
    )
    provisioner.start(crashing, Context())
    probe = provisioner.probe(crashing)
    assert (probe.ready, probe.gone, probe.message) == (False, True, "the served process ended: no module")


def test_ports_are_never_shared(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    urls = set()
    for _ in range(5):
        one = replace(spec, workspace_id=str(uuid.uuid4()), config={"start": "true", "serve": "exec sleep 1000"})
        urls.add(provisioner.start(one, Context()).url)
    assert len(urls) == 5


def test_what_is_served_can_be_interrupted(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    """A served editor's terminals inherit its signal handling; with SIGINT ignored, Ctrl-C never worked in them."""
    handler = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    serving = replace(spec, config={"start": "true", "serve": [sys.executable, "-c", handler]})
    provisioner.start(serving, Context())
    log = WorkspaceDirectory(provisioner.root, spec.workspace_id).serve_log
    assert wait_until(log.read_text, what="its output") == "True\n"


def test_what_cant_be_served_says_so_at_once(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    with pytest.raises(ProvisionerError, match="/no/such-server cannot be started: No such file"):
        provisioner.start(replace(spec, config={"start": "true", "serve": ["/no/such-server"]}), Context())


def test_a_probe_that_hangs_is_ended(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prebuild_tasks.provisioners.process.probe.PROBE_TIMEOUT", 0.3)
    hanging = replace(spec, config={"start": "true", "ready": "sleep 1000 & wait"})
    provisioner.start(hanging, Context())
    assert provisioner.probe(hanging).message == "ready did not end within 0.3 s"
    assert tree.marked([spec.workspace_id]) == []


def test_a_probe_says_how_it_failed(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    failing = replace(spec, config={"start": "true", "ready": "echo warming up; exit 4"})
    provisioner.start(failing, Context())
    assert provisioner.probe(failing).message == "ready exited with 4: warming up"


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


def test_after_a_rest_it_is_served_for_its_owner(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    serving = replace(spec, config={"start": "true", "serve": 'echo "for $PREBUILD_OWNER"; exec sleep 1000'})
    provisioner.start(serving, Context())
    provisioner.claim(replace(serving, owner="ada"), Context())
    provisioner.rest()
    provisioner.serve_again()
    log = WorkspaceDirectory(provisioner.root, spec.workspace_id).serve_log
    wait_until(lambda: log.read_text() == "for prebuilds\nfor ada\n", what="both owners")


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
