"""A container that ended after its start had found it ready, and before the build's own probe, blocked its build for
the whole `ready_timeout`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import MagicMock

import pytest

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.insight.status.listings import build_log
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.provisioners.docker import engine, names, ready
from prebuild_tasks.provisioners.docker.config import parse
from prebuild_tasks.schema.conditions import installation_id
from tests.builds.running import pending, runner, settings
from tests.support.builders import turn, workspaces
from tests.support.pool_files import load_text

__all__ = ["runner", "settings"]

POOLS = """
schema: 1
templates:
  - name: dev
    provisioner: docker
    config: {image: debian, ready: "false"}
    presets: [{name: small, desired: 1, ready_timeout: 1h, parameters: {TOKEN: {from_env: TEST_TOKEN}}}]
"""


class Engine:
    """An engine with one container, which has published its workspace, and ends as soon as it has been listed."""

    def __init__(self, installation: str = "", status: str = "exited") -> None:
        self._installation, self._status = installation, status
        self.looks = 0

    def containers(self, *, all: bool, filters: dict[str, list[str]]) -> list[dict[str, Any]]:  # noqa: A002
        workspace = filters["label"][0].partition("=")[2]
        labels = {names.INSTALLATION: self._installation, names.WORKSPACE: workspace, names.ATTEMPT: "1"}
        return [{"Id": "c", "Names": [f"/prebuild-{workspace}"], "Labels": labels, "State": "running"}]

    def inspect_container(self, _: str) -> dict[str, Any]:
        self.looks += 1
        state = {"Running": False, "Status": self._status, "ExitCode": 3}
        return {"State": state, "Config": {"Env": ["TOKEN=s3cret-one"]}}

    def logs(self, _: str, *, tail: int) -> bytes:
        return b"listening\nno such module: s3cret-one\n"


def test_the_start_fails_at_once_with_its_output_and_is_kept(
    database: Database, settings: Settings, runner: BuildRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_TOKEN", "s3cret-one")
    apply(database, settings, load_text(POOLS), ApplyOptions(actor="test"))
    turn(database, settings)
    with database.read() as connection:
        there = Engine(installation_id(connection))

    @contextmanager
    def connect(_: float = 0) -> Iterator[Engine]:
        yield there

    monkeypatch.setattr(engine, "connect", connect)
    [build] = pending(database)
    result = runner.run(build)
    assert result.outcome == "failed"
    assert result.error == "the container exited with 3: listening / no such module: ***"
    [row] = workspaces(database)
    assert (row.transition, row.status, row.slot) == (Transition.START, BuildStatus.FAILED, None), "kept for diagnosis"
    said = build_log(database, row.name).text
    assert "output of the served process:\nlistening\nno such module: ***\n" in said
    assert there.looks < 8, "two probes and their output"


@pytest.mark.parametrize(
    ("status", "gone"), [("exited", True), ("dead", True), ("created", False), ("stopping", False)]
)
def test_only_a_container_that_has_ended_is_gone(status: str, gone: bool) -> None:
    api: Any = Engine(status=status)
    probe, runs = ready.probe(api, "c", parse({"image": "debian"}))
    assert (probe.ready, probe.gone, runs) == (False, gone, False)


def test_a_stopped_container_that_is_started_again_and_ends_leaves_its_output() -> None:
    context = MagicMock()
    api: Any = Engine()
    spec: Any = MagicMock(attempt=1)
    with pytest.raises(ProvisionerError, match="exited with 3"):
        ready.until_ready(api, "c", spec, parse({"image": "debian"}), context, copy_output=False)
    [logged] = context.log.call_args_list
    assert logged.args[0].startswith("output of the container:\nlistening\n")
