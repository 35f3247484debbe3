"""Machines with a builds worker whose engine may be away."""

from __future__ import annotations

from typing import ClassVar

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import CannotAskError, InterruptedStartError
from prebuild_tasks.provisioners import BuildContext, Resource, WorkspaceSpec
from prebuild_tasks.provisioners.simulated.adapter import SimulatedProvisioner


class Engine(SimulatedProvisioner):
    """The engine of one machine."""

    local: ClassVar[bool] = True
    away = throttled = False

    def start(self, spec: WorkspaceSpec, context: BuildContext) -> Resource:
        self._answer()
        if self.throttled:
            raise InterruptedStartError("429 Too Many Requests")
        return super().start(spec, context)

    def delete(self, spec: WorkspaceSpec, context: BuildContext) -> None:
        self._answer()
        super().delete(spec, context)

    def _answer(self) -> None:
        if self.away:
            raise CannotAskError("no engine")


class Api(Engine):
    """The way from one machine to what all machines use."""

    local: ClassVar[bool] = False


class Machine:
    """A builds worker with an engine of its own, or its own way to a common one."""

    def __init__(self, database: Database, settings: Settings, host: str, kind: type[Engine] = Engine) -> None:
        here = settings.model_copy(update={"host": host})
        self.engine = kind(here)
        self.runner = BuildRunner(database, here, self)  # type: ignore[arg-type]

    def get_or_missing(self, _name: str) -> Engine:
        return self.engine
