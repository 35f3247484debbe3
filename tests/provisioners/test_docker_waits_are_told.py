"""While a container became ready, nobody was told what `ready` answered; its output could not be seen afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prebuild_tasks.errors import NeverReadyError
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.docker import DockerProvisioner
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


@pytest.mark.docker
def test_the_output_can_be_read(provisioner: DockerProvisioner, spec: WorkspaceSpec) -> None:
    talks = replace(spec, config=recipe(command=f"echo listening; {IDLE}"), parameters={"TOKEN": "s3cret"})
    assert provisioner.served_output(talks).text == ""
    provisioner.start(talks, Context())
    output = provisioner.served_output(replace(talks, parameters={}))
    assert (output.text, output.running) == ("listening\n", True)
    assert output.parameters["TOKEN"] == "s3cret"
    provisioner.delete(talks, Context())
