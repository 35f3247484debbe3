"""Whatever is wrong with a recipe or a pool, the user is told why, and which command to run next."""

from __future__ import annotations

import gc
import json
import sys
import warnings
from pathlib import Path

import pytest
from sqlalchemy import update

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.schema import tables as m
from tests.cli.broken import ONE_DATABASE, Built, built, ticked, told, well
from tests.support.builders import PRESET, declare, jump, turn
from tests.support.command_line import Here

__all__ = ["built", "well"]


@ONE_DATABASE
def test_a_failing_template(here: Here, built: Built) -> None:
    built("echo cannot clone >&2; exit 3")
    told(here.run("explain", PRESET), "failed: ", "prebuild logs ")
    [row] = json.loads(here.run("status", "--json"))
    assert (row["reason"], "cannot clone" in row["last_error"]) == ("backoff", True)
    [build] = json.loads(here.run("builds", "--status", "failed", "--json"))
    assert "cannot clone" in here.run("logs", build["build"][:8])


@ONE_DATABASE
def test_hard_limited(here: Here, built: Built) -> None:
    built("exit 3", rounds=3)
    told(
        here.run("explain", PRESET),
        "hard-limited: 3 starts of this version failed in a row",
        f"prebuild unblock {PRESET}",
    )
    told(
        here.run("doctor", expect=8),
        f"pool_blocked: nothing is built for {PRESET}: hard limited; 3 builds of this version failed in a row",
        f"next: see: prebuild explain {PRESET}",
    )
    here.run("unblock", PRESET)
    assert "hard-limited" not in here.run("explain", PRESET)


def test_never_ready(here: Here, built: Built) -> None:
    built(config="ready: 'false'", extra="ready_timeout: 200ms")
    told(here.run("explain", PRESET), "ran, but never became ready: not ready within 0.2 s", "prebuild logs ")


def test_a_secret_that_is_not_there(here: Here, built: Built) -> None:
    built(extra="parameters: {TOKEN: {from_env: GIT_TOKEN}}")
    cause = "parameter TOKEN: GIT_TOKEN is not set where builds run"
    told(here.run("explain", PRESET), cause, f"prebuild unblock {PRESET}")


def test_paused(well: Here) -> None:
    well.run("pause", PRESET, "--for", "2h", "--reason", "new cluster", "--actor", "ada")
    claim(well.database, ClaimRequest("bob", [PRESET]))
    told(well.run("explain", PRESET), "paused by ada since ", f"prebuild resume {PRESET}")
    well.run("pause", "--actor", "eve")
    told(well.run("explain", PRESET), "everything is paused by eve since ", "prebuild resume ")
    told(well.run("doctor"), "paused    everything, by eve; to end the pause: prebuild resume", "nothing is wrong")


def test_quota(well: Here) -> None:
    declare(well.database, well.settings, 3, organizations="[{name: default, max_workspaces: 1, max_per_owner: 1}]")
    turn(well.database, well.settings)
    cause = "quota: 1 of 1 allowed workspaces of the organization default exist"
    told(well.run("explain", PRESET), cause, "prebuild apply FILE")
    well.run("claim", PRESET, "--owner", "ada")
    told(well.run("claim", PRESET, "--owner", "ada", expect=5), "ada has 1 workspace, the limit is 1", "next: ")


def test_a_wrong_timezone(well: Here, tmp_path: Path) -> None:
    pools = POOLS.replace("desired: 1", "desired: 1, timezone: Europe/Berlim")
    cause = "pools.yaml:6:45: unknown timezone Europe/Berlim"
    told(apply(well, tmp_path, pools, expect=2), cause, "Fix: did you mean Europe/Berlin?")
    with well.database.write() as connection:  # as after a downgrade of the time zone package
        connection.execute(update(m.Preset).values(timezone="Mars/Olympus"))
    told(
        well.run("doctor", expect=8),
        "the timezone Mars/Olympus of dev/small is unknown on this machine",
        "prebuild apply FILE",
    )


@ONE_DATABASE
def test_an_unknown_provisioner(well: Here, tmp_path: Path) -> None:
    pools = POOLS.replace("config:", "provisioner: proces\n    config:")
    cause = "pools.yaml:4:18: there is no provisioner 'proces'"
    told(apply(well, tmp_path, pools, expect=2), cause, "did you mean process?")


@ONE_DATABASE
def test_a_provisioner_without_its_package(here: Here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    apply(here, tmp_path, POOLS.replace("{start: 'true'}", "{image: x}\n    provisioner: docker"))
    for command in ("apply", "plan"):
        [warning] = json.loads(here.run(command, str(tmp_path / "pools.yaml"), "--json"))["warnings"]
        told(warning, "the docker provisioner needs the Python package docker", "install 'prebuild-tasks[docker]'")


def test_a_provisioner_that_was_there_once(here: Here, built: Built) -> None:
    declare(here.database, here.settings, 1)
    with here.database.write() as connection:
        connection.execute(update(m.TemplateVersion).values(provisioner="k8s"))
    built(declared=True)
    told(here.run("doctor", expect=8), "there is no provisioner 'k8s', which dev needs", "next: install k8s where")
    told(here.run("explain", PRESET), "there is no provisioner 'k8s' on here", "prebuild logs ")


@ONE_DATABASE
def test_a_container_engine_that_does_not_answer(here: Here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("docker")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'docker.sock'}")
    pools = POOLS.replace("{start: 'true'}", "{image: 'busybox'}").replace(
        "config:", "provisioner: docker\n    config:"
    )
    cause = "the provisioner docker of dev fails: the container engine at unix://"
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        apply(here, tmp_path, pools)
        for command in ("apply", "plan"):
            [warning] = json.loads(here.run(command, str(tmp_path / "pools.yaml"), "--json"))["warnings"]
            told(warning, "the container engine at unix://", "start it, or set DOCKER_HOST to its address")
        assert "warning: the container engine at unix://" in here.run("plan", str(tmp_path / "pools.yaml"))
        here.alive()
        told(here.run("doctor", expect=8), cause, "next: start it, or set DOCKER_HOST to its address")
        gc.collect()  # the docker package leaves the socket of a failed connection to the garbage collector


@ONE_DATABASE
@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("desired: 1", "desired: one", "pools.yaml:6:32: desired: Input should be a valid integer"),
        ("start:", "strat:", "pools.yaml:4:13: config.start is required"),
        ("desired", "desirde", "pools.yaml:6:23: unknown key desirde"),
        ("templates:", "\ttemplates:", "pools.yaml:2:1: bad YAML: found "),
    ],
)
def test_a_broken_pools_file(well: Here, tmp_path: Path, old: str, new: str, cause: str) -> None:
    said = apply(well, tmp_path, POOLS.replace(old, new), expect=2)
    told(said, cause, "next: correct it and try again")


@ONE_DATABASE
def test_no_pools_file(here: Here) -> None:
    told(
        here.run("apply", "/nowhere.yaml", expect=2),
        "/nowhere.yaml: cannot be read: No such file",
        "Fix: check the path",
    )


def test_nothing_is_declared(here: Here) -> None:
    told(here.run("status"), "nothing is declared yet", "run: prebuild apply FILE")
    told(here.run("claim", PRESET, "--owner", "ada", expect=3), "there is no preset dev/small", "next: ")


def test_an_empty_pool(well: Here) -> None:
    well.run("claim", PRESET, "--owner", "ada")
    told(well.run("claim", PRESET, "--owner", "bob", expect=4), "is empty", "add --wait")
    jump(well.database, 3600)
    well.alive_still()
    ticked(well)
    said = well.run("doctor", expect=8)
    told(said, f"pool_empty: {PRESET} has been empty for more than ", f"next: see: prebuild explain {PRESET}")


POOLS = """\
schema: 1
templates:
  - name: dev
    config: {start: 'true'}
    presets:
      - {name: small, desired: 1}
"""


def apply(here: Here, place: Path, pools: str, *, expect: int = 0) -> str:
    (place / "pools.yaml").write_text(pools)
    return here.run("apply", str(place / "pools.yaml"), expect=expect)
