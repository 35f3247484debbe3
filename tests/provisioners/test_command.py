"""The command provisioner's protocol."""

from __future__ import annotations

import errno
import json
import os
import threading
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import BuildStoppedError, CannotAskError, CannotBuildError, NeverReadyError, ProvisionerError
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.command import CommandProvisioner
from prebuild_tasks.provisioners.command.call import ANSWER_LIMIT
from prebuild_tasks.provisioners.shared import processes as tree
from prebuild_tasks.provisioners.shared.run import NoAnswerError
from tests.provisioners.context import Context
from tests.support.wait import wait_until

SECRET = "s3cr3t-value"


@pytest.fixture
def provisioner(settings: Settings) -> CommandProvisioner:
    return CommandProvisioner(settings)


@pytest.fixture
def spec() -> WorkspaceSpec:
    return WorkspaceSpec(
        installation="i", workspace_id=str(uuid.uuid4()), attempt=1, name="n", owner="prebuilds", template="t",
        version="v", preset="p", config={"start": "true", "delete": "true"}, parameters={"TOKEN": SECRET},
    )  # fmt: skip


def having(spec: WorkspaceSpec, **config: Any) -> WorkspaceSpec:
    return replace(spec, config={**spec.config, **config})


def test_the_question_is_one_json_object(provisioner: CommandProvisioner, spec: WorkspaceSpec, tmp_path: Path) -> None:
    asked = having(spec, start=f"cat > {tmp_path}/question", settings={"region": "eu"})
    made = provisioner.start(asked, Context())
    assert (made.workspace_id, made.resource_id) == (spec.workspace_id, spec.workspace_id), "nothing printed: by its id"
    assert json.loads((tmp_path / "question").read_text()) == {
        "operation": "start", "installation": "i", "workspace_id": spec.workspace_id, "attempt": 1, "name": "n",
        "owner": "prebuilds", "template": "t", "version": "v", "preset": "p", "config": {"region": "eu"},
        "parameters": {"TOKEN": SECRET},
    }  # fmt: skip


def test_a_probe_can_be_ended(provisioner: CommandProvisioner, spec: WorkspaceSpec) -> None:
    def stop() -> None:
        raise NeverReadyError("not ready within 3 s: no answer yet")

    with pytest.raises(NeverReadyError):
        provisioner.probe_interruptibly(having(spec, probe="sleep 1000"), stop)
    assert tree.marked([spec.workspace_id]) == []
    assert provisioner.probe_interruptibly(having(spec, probe="exit 1"), lambda: None).ready is False


def test_a_long_question_is_heard_whole(provisioner: CommandProvisioner, spec: WorkspaceSpec, tmp_path: Path) -> None:
    long = replace(having(spec, start=f"cat > {tmp_path}/question"), parameters={"A": "x" * 1_000_000})
    provisioner.start(long, Context())
    assert json.loads((tmp_path / "question").read_text())["parameters"] == long.parameters


def test_a_long_question_that_nobody_reads_blocks_nobody(provisioner: CommandProvisioner, spec: WorkspaceSpec) -> None:
    for script in ("true", "exec <&-; sleep 0.3"):
        provisioner.start(replace(having(spec, start=script), parameters={"A": "x" * 1_000_000}), Context())


def test_who_closes_its_outputs_first_still_hears_all(
    provisioner: CommandProvisioner, spec: WorkspaceSpec, tmp_path: Path
) -> None:
    script = f"exec >&- 2>&-; cat > {tmp_path}/question"
    long = replace(having(spec, start=script, timeout="20s"), parameters={"A": "x" * 1_000_000})
    provisioner.start(long, Context())
    assert json.loads((tmp_path / "question").read_text())["parameters"] == long.parameters


def test_a_start_says_neither_which_workspace_it_is_nor_whose(
    provisioner: CommandProvisioner, spec: WorkspaceSpec
) -> None:
    made = provisioner.start(having(spec, start='echo \'{"workspace_id": "w", "claimed": true}\''), Context())
    assert (made.workspace_id, made.resource_id, made.claimed) == (spec.workspace_id, spec.workspace_id, False)


def test_the_answer_of_start(provisioner: CommandProvisioner, spec: WorkspaceSpec) -> None:
    made = provisioner.start(having(spec, start='echo \'{"url": "http://x", "resource_id": "r1"}\''), Context())
    assert (made.url, made.resource_id, made.directory, made.installation) == ("http://x", "r1", "", "i")


def test_secrets_are_neither_arguments_nor_environment_nor_output(
    provisioner: CommandProvisioner, spec: WorkspaceSpec, tmp_path: Path
) -> None:
    context = Context()
    look = f"cat /proc/$$/cmdline /proc/$$/environ | tr '\\0' '\\n' > {tmp_path}/seen; env >> {tmp_path}/seen"
    provisioner.start(having(spec, start=look), context)
    seen = (tmp_path / "seen").read_text()
    assert SECRET not in seen + context.text
    assert f"PREBUILD_WORKSPACE_ID={spec.workspace_id}" in seen
    assert "PREBUILD_WORKSPACE_PRESET=p" in seen
    assert "PREBUILD_DATABASE_URL" not in seen


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ("echo no quota >&2; exit 1", ProvisionerError, "start exited with 1: no quota"),
        ("echo no quota >&2; exit 77", ProvisionerError, "start exited with 77: no quota"),
        ("echo no such flavour >&2; exit 2", CannotBuildError, "no such flavour"),
        ("echo later >&2; exit 3", BuildStoppedError, "later"),
        ("kill -9 $$", NoAnswerError, "start was ended by signal 9"),
        ("echo '{'", NoAnswerError, "start must print JSON"),
        ("echo '[1]'", NoAnswerError, "start must print a JSON object, not list"),
        ("echo '{\"url\": 1}'", ProvisionerError, "url must be a string"),
        ('printf %s \'{"url": "a\\u0000b"}\'', ProvisionerError, "url contains a character that cannot be stored"),
        (
            'printf %s \'{"directory": "\\ud800"}\'',
            ProvisionerError,
            "directory contains a character that cannot be stored",
        ),
        (f"head -c {ANSWER_LIMIT + 10} /dev/zero", ProvisionerError, "longer than"),
        (f"head -c {ANSWER_LIMIT} /dev/zero | tr '\\0' '['", NoAnswerError, "start must print JSON"),
        ("echo away >&2; exit 4", CannotAskError, "start: away"),
        ("exec /nowhere/at/all", ProvisionerError, "start cannot be executed: it exited with 127: .*not found"),
        ("exec /etc", ProvisionerError, "start cannot be executed: it exited with 126"),
    ],
)
def test_how_a_start_ends(
    provisioner: CommandProvisioner, spec: WorkspaceSpec, script: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        provisioner.start(having(spec, start=script), Context())
    assert type(caught.value) is error
    assert SECRET not in str(caught.value)


def test_a_flood_of_answers_is_ended(provisioner: CommandProvisioner, spec: WorkspaceSpec) -> None:
    with pytest.raises(ProvisionerError, match="longer than"):
        provisioner.start(having(spec, start="exec cat /dev/zero"), Context())
    assert tree.marked([spec.workspace_id]) == []


def test_who_takes_longer_than_declared_is_ended(provisioner: CommandProvisioner, spec: WorkspaceSpec) -> None:
    slow = having(spec, start="sleep 1000 & sleep 1000", probe="exec sleep 1000", timeout="200ms")
    with pytest.raises(ProvisionerError, match=r"start did not end within 0\.2 s"):
        provisioner.start(slow, Context())
    assert provisioner.probe(slow).message == "probe did not end within 0.2 s"
    assert tree.marked([spec.workspace_id]) == []


def test_an_executable_that_is_not_there(provisioner: CommandProvisioner, spec: WorkspaceSpec) -> None:
    """A probe without it is not a verdict, but a start fails, and leads to the hard limit."""
    away = having(spec, start=["/nowhere/start"], probe=["/nowhere/probe"], list=["/etc"])
    for operation, kind in (
        (lambda: provisioner.start(away, Context()), ProvisionerError),
        (lambda: provisioner.probe(away), CannotAskError),
        (lambda: list(provisioner.list("i", [away.config])), CannotAskError),
    ):
        with pytest.raises(
            kind, match=r"cannot be executed: (/nowhere/\w+: No such file|/etc: Permission denied)"
        ) as caught:
            operation()
        assert type(caught.value) is kind


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
def test_a_start_is_held_while_the_machine_can_start_nothing(
    provisioner: CommandProvisioner, spec: WorkspaceSpec, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def no_room(*_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("subprocess.Popen", no_room)
    with pytest.raises(CannotAskError, match=r"start cannot be executed: .*sh: "):
        provisioner.start(spec, Context())


def test_a_probe_that_was_killed_decides_nothing(provisioner: CommandProvisioner, spec: WorkspaceSpec) -> None:
    probe = provisioner.probe(having(spec, probe="kill -9 $$"))
    assert (probe.ready, probe.unknown, probe.message) == (False, True, "probe was ended by signal 9: no output")


@pytest.mark.parametrize("script", ["exec /nowhere/at/all", "no-such-command"])
def test_a_probe_whose_command_is_not_there_raises(
    provisioner: CommandProvisioner, spec: WorkspaceSpec, script: str
) -> None:
    with pytest.raises(CannotAskError, match="probe cannot be executed: it exited with 127"):
        provisioner.probe(having(spec, probe=script))


@pytest.mark.parametrize(
    ("script", "ready", "gone", "message"),
    [
        ("true", True, False, ""),
        ("echo '{\"ready\": true}'", True, False, ""),
        ('echo \'{"ready": false, "message": "booting"}\'', False, False, "booting"),
        ('echo \'{"ready": false, "gone": true}\'', False, True, ""),
        ("echo no route >&2; exit 1", False, False, "probe exited with 1: no route"),
        ("echo '{\"message\": [1]}'", False, False, "probe: message must be a string"),
        (
            'printf %s \'{"message": "\\ud800"}\'',
            False,
            False,
            "probe: message contains a character that cannot be stored",
        ),
    ],
)
def test_probes(
    provisioner: CommandProvisioner, spec: WorkspaceSpec, script: str, ready: bool, gone: bool, message: str
) -> None:
    probe = provisioner.probe(having(spec, probe=script))
    assert (probe.ready, probe.gone, probe.message) == (ready, gone, message)


def test_without_a_probe_it_is_ready(provisioner: CommandProvisioner, spec: WorkspaceSpec) -> None:
    assert provisioner.probe(spec).ready


def test_list_is_asked_once_per_different_command(
    provisioner: CommandProvisioner, spec: WorkspaceSpec, tmp_path: Path
) -> None:
    script = f'echo x >> {tmp_path}/asked; echo \'[{{"workspace_id": "w", "claimed": true}}]\''
    configs = [dict(having(spec, list=script).config)] * 3 + [dict(spec.config)]
    found = list(provisioner.list("i", configs))
    assert [(item.workspace_id, item.claimed, item.installation) for item in found] == [("w", True, "i")]
    assert (tmp_path / "asked").read_text() == "x\n"
    with pytest.raises(ProvisionerError, match="list must print a JSON array, not dict"):
        list(provisioner.list("i", [having(spec, list="echo '{}'").config]))


def test_a_canceled_start_ends_all_that_it_started(provisioner: CommandProvisioner, spec: WorkspaceSpec) -> None:
    context, caught = Context(), list[Exception]()

    def start() -> None:
        try:
            provisioner.start(having(spec, start="echo begun >&2; sleep 1000 & sleep 1000"), context)
        except BuildStoppedError as error:
            caught.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    wait_until(lambda: "begun" in context.text, what="the start")
    context.stop()
    thread.join(60)
    assert caught
    assert tree.marked([spec.workspace_id]) == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"start": "true"}, r"config\.delete is required"),
        (
            {"start": "true", "delete": "true", "strat": "x"},
            r"config\.strat is not a known key; .*did you mean start\?",
        ),
        ({"start": "", "delete": "true"}, "config.start must be a script"),
        ({"start": "true", "delete": "true", "timeout": 0}, "config.timeout must be a duration longer than 0"),
        ({"start": "true", "delete": "true", "timeout": "soon"}, "config.timeout must be a duration longer than 0"),
        ({"start": "true", "delete": "true", "settings": []}, "config.settings must be a mapping"),
        ({"start": "true", "delete": "true", "list": "true"}, "a list but no claim"),
    ],
)
def test_configs_that_are_refused(provisioner: CommandProvisioner, config: dict[str, Any], words: str) -> None:
    with pytest.raises(CannotBuildError, match=words):
        provisioner.check_config(config)
