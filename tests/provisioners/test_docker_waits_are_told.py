"""While a container became ready, nobody was told what `ready` answered; its output could not be seen afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import MagicMock

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import NeverReadyError
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.docker import DockerProvisioner, engine, names, ready
from prebuild_tasks.provisioners.docker.config import parse
from tests.provisioners.context import Context
from tests.provisioners.docker_workspace import IDLE, provisioner, recipe, spec

__all__ = ["provisioner", "spec"]


class Impatient(Context):
    """A context whose time is over at the third answer, whatever the specification says."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[str] = []

    def not_ready(self, answer: str | None = None) -> None:
        self.answers += [] if answer is None else [answer]
        if len(self.answers) == 3:
            raise NeverReadyError("not ready within 7 s: cold")


@pytest.mark.docker
def test_answers_are_reported_and_the_context_ends_the_wait(
    provisioner: DockerProvisioner, spec: WorkspaceSpec
) -> None:
    context = Impatient()
    with pytest.raises(NeverReadyError, match="not ready within 7 s"):
        provisioner.start(replace(spec, config=recipe(ready="echo cold; exit 4"), ready_timeout=3600), context)
    assert context.answers == ["ready exited with 4: cold"] * 3


@pytest.mark.docker
def test_a_ready_that_hangs_is_ended_with_the_wait(provisioner: DockerProvisioner, spec: WorkspaceSpec) -> None:
    class OutOfTime(Context):
        asked = 0

        def not_ready(self, answer: str | None = None) -> None:
            assert answer is None, "the first answer is a timeout"
            self.asked += 1
            if self.asked == 5:
                raise NeverReadyError("not ready within 2 s: no answer yet")

    with pytest.raises(NeverReadyError):
        provisioner.start(replace(spec, config=recipe(ready="sleep 1000"), ready_timeout=3600), OutOfTime())


class Attempts:
    """An engine with containers of one workspace: the end of each name, and whether it runs."""

    def __init__(self, installation: str, runs: Mapping[str, bool]) -> None:
        self._installation, self._runs = installation, runs

    def containers(self, *, all: bool, filters: Mapping[str, list[str]]) -> list[dict[str, Any]]:  # noqa: A002
        workspace = filters["label"][0].partition("=")[2]
        labels = {names.INSTALLATION: self._installation, names.WORKSPACE: workspace}
        return [
            {
                "Id": end,
                "Names": [f"/prebuild-{workspace}{end}"],
                "Labels": {**labels, names.ATTEMPT: end.removeprefix("-a") or "1"},
                "State": "running" if runs else "exited",
            }
            for end, runs in self._runs.items()
        ]

    def inspect_container(self, end: str) -> dict[str, Any]:
        return {"State": {"Running": self._runs[end]}, "Config": {"Env": ["TOKEN=s3cret"]}}

    def logs(self, end: str, *, tail: int) -> bytes:
        return f"output of {end}".encode()


@pytest.mark.parametrize(
    ("runs", "shown"),
    [
        ({"-a1": False}, "-a1"),
        ({"-a1": True}, "-a1"),
        ({"-a2": True, "-a1": False}, "-a2"),
        ({"-a2": False, "": True}, ""),
    ],
    ids=["crashed", "waits", "second attempt", "published"],
)
def test_the_output_of_a_container_that_was_not_ready_yet_can_be_read(
    settings: Settings, spec: WorkspaceSpec, monkeypatch: pytest.MonkeyPatch, runs: dict[str, bool], shown: str
) -> None:
    """Only that of a published container could."""

    @contextmanager
    def connect(_: float = 0) -> Iterator[Attempts]:
        yield Attempts(spec.installation, runs)

    monkeypatch.setattr(engine, "connect", connect)
    output = DockerProvisioner(settings).served_output(spec)
    assert (output.text, output.running) == (f"output of {shown}", runs[shown])
    assert output.parameters == {"TOKEN": "s3cret"}


def test_a_container_that_waits_is_probed_more_and_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cold(Context):
        now = 0.0

        def __init__(self) -> None:
            super().__init__()
            self.probed: list[float] = []

        def wait(self, seconds: float) -> None:
            self.now += seconds

        def not_ready(self, answer: str | None = None) -> None:
            self.probed += [] if answer is None else [self.now]
            if self.now > 300:
                raise NeverReadyError("not ready within 5 min: cold")

    context, api, spec = Cold(), MagicMock(), MagicMock(attempt=1)
    api.inspect_container.return_value = {"State": {"Running": True, "Health": {"Status": "starting", "Log": []}}}
    monkeypatch.setattr(ready, "monotonic", lambda: context.now)
    with pytest.raises(NeverReadyError):
        ready.until_ready(api, "c", spec, parse({"image": "debian"}), context, copy_output=False)
    pauses = [later - earlier for earlier, later in zip(context.probed, context.probed[1:], strict=False)]
    assert pauses[0] == pytest.approx(0.1)
    assert pauses[-2] == pytest.approx(5)
    assert len(context.probed) < 110


@pytest.mark.docker
def test_the_output_can_be_read(provisioner: DockerProvisioner, spec: WorkspaceSpec) -> None:
    talks = replace(spec, config=recipe(command=f"echo listening; {IDLE}"), parameters={"TOKEN": "s3cret"})
    assert provisioner.served_output(talks).text == ""
    provisioner.start(talks, Context())
    output = provisioner.served_output(replace(talks, parameters={}))
    assert (output.text, output.running) == ("listening\n", True)
    assert output.parameters["TOKEN"] == "s3cret"
    provisioner.delete(talks, Context())
