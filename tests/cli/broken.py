"""A pool that is well until a test breaks something, and what must then be said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.fleet.liveness import note_tick
from prebuild_tasks.fleet.presence import Role
from prebuild_tasks.provisioners import Provisioners
from tests.support.builders import build_all, declare, fill, jump, turn
from tests.support.command_line import Here

ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For tests that do not depend on the kind of database."""


@pytest.fixture
def well(here: Here) -> Here:
    """Set up a full pool, live processes and a recent tick; each test breaks one thing."""
    here.settings.data_dir.mkdir(exist_ok=True)
    declare(here.database, here.settings, 1)
    fill(here.database, here.settings)
    here.alive()
    ticked(here)
    assert here.run("doctor").endswith("nothing is wrong\n")
    return here


def ticked(here: Here) -> None:
    with here.database.read() as connection:
        note_tick(here.database, here.database.now(connection), {"tick": 1}, 0.1)


def silent(here: Here, role: Role) -> None:
    """Make a role's process last seen some minutes ago, while the others are alive."""
    jump(here.database, 200)
    here.alive_still(but=role)
    if role == "builds":
        ticked(here)


class Built(Protocol):
    """Declare a pool and really run its builds, `rounds` times; then run a turn, and report all processes as alive."""

    def __call__(
        self, start: str = "true", *, rounds: int = 1, workspace_ports: str = "", declared: bool = False, **options: Any
    ) -> None: ...


@pytest.fixture
def built(here: Here) -> Iterator[Built]:
    runners: list[BuildRunner] = []

    def run(
        start: str = "true", *, rounds: int = 1, workspace_ports: str = "", declared: bool = False, **options: Any
    ) -> None:
        ports = workspace_ports or here.settings.workspace_ports
        settings = here.settings.model_copy(update={"workspace_ports": ports})
        if not declared:
            declare(here.database, settings, 1, start=start, **options)
        runners.append(BuildRunner(here.database, settings, Provisioners(settings)))
        for round_ in range(rounds):
            if round_:
                jump(here.database, 400)  # past the backoff
            turn(here.database, settings)
            build_all(here.database, runners[-1])
        turn(here.database, settings)
        here.alive()
        ticked(here)

    yield run
    for runner in runners:
        runner.close()


def told(said: str, cause: str, then: str) -> None:
    """Assert that one sentence, on one line, names the cause, and that a command follows it."""
    lines = said.splitlines()
    found = [position for position, line in enumerate(lines) if cause in line]
    assert found, f"nobody says {cause!r}:\n{said}"
    assert then
    following = "\n".join(lines[found[0] :])
    assert then in following, f"no {then!r} after it:\n{said}"
