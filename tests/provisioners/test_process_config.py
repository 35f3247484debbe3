"""The process provisioner's config, limits, environment and parameters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import CannotBuildError
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.process import ProcessProvisioner
from prebuild_tasks.provisioners.process.directory import WorkspaceDirectory
from prebuild_tasks.provisioners.shared.config import BadConfigError
from tests.provisioners.context import Context
from tests.provisioners.process_workspace import run
from tests.support.wait import wait_until


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


def test_the_repository_of_the_example_is_passed_whatever_the_patterns_are(
    settings: Settings, spec: WorkspaceSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREBUILD_EXAMPLE_REPO", "/a/checkout")
    tight = ProcessProvisioner(settings.model_copy(update={"provisioner_pass_env": ()}))
    assert run(tight, spec, 'echo "${REPO:-$PREBUILD_EXAMPLE_REPO}"', REPO="") == "/a/checkout\n"


@pytest.mark.parametrize("value", ["a;b", "$(touch pwned)", "`touch pwned`", "'\"\\", "two\nlines", "ü€\t*?", "-n", ""])
def test_parameters_arrive_verbatim_and_run_nothing(
    provisioner: ProcessProvisioner, spec: WorkspaceSpec, value: str
) -> None:
    assert run(provisioner, spec, 'printf %s "$A"; test ! -e pwned', A=value) == value


def test_a_list_is_argv(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    assert run(provisioner, spec, ["printf", "%s", "$A ; echo"], A="1") == "$A ; echo"


def test_parameters_that_can_be_no_variables_are_refused(provisioner: ProcessProvisioner, spec: WorkspaceSpec) -> None:
    with pytest.raises(CannotBuildError, match="environment variable"):
        run(provisioner, spec, "true", **{"A-B": "1"})


def test_parameters_are_not_in_the_specs_repr(spec: WorkspaceSpec) -> None:
    assert "s3cret" not in repr(replace(spec, parameters={"T": "s3cret"}))


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
