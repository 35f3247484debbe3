"""An installation that random operations change, with what users were answered, and checks of each single operation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

from hypothesis.stateful import RuleBasedStateMachine
from sqlalchemy import delete, func, select, update

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import BeingBuilt, ClaimAnswer, ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.base import Base
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError, NotFoundError, RefusedError, RequestEndedError
from prebuild_tasks.model.vocabulary import BuildStatus, Transition
from prebuild_tasks.reconcile.rules.schedule import desired_at
from prebuild_tasks.reconcile.store.preset_view import read_preset
from prebuild_tasks.reconcile.turn import PresetResult, reconcile_preset
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.rules import is_active
from prebuild_tasks.workspaces.release import end_workspace
from tests.faults.scripted import Scripted, Shelf

ACTOR = "machine"


class Installation(RuleBasedStateMachine):
    """What the steps share. The test that runs them sets `database` and `settings`."""

    database: ClassVar[Database]
    settings: ClassVar[Settings]

    def __init__(self) -> None:
        super().__init__()
        with self.database.write() as connection:
            connection.execute(update(m.Template).values(active_version_id=None))
            for table in reversed(Base.metadata.sorted_tables):
                if table.name not in ("installation", "alembic_version"):
                    connection.execute(delete(table))
        self.provisioner = Scripted()
        self.runner = BuildRunner(self.database, self.settings, Shelf(self.provisioner))  # type: ignore[arg-type]
        self.answers: dict[str, ClaimAnswer] = {}
        self.may_end: set[str] = set()
        self.requests: list[ClaimRequest] = []
        self.ended: set[str] = set()

    def teardown(self) -> None:
        self.runner.close()

    def _turn(self, preset_id: int) -> PresetResult:
        before = self._live(preset_id)
        result = reconcile_preset(self.database, self.settings, preset_id)
        after = self._live(preset_id)
        with self.database.read() as connection:
            view = read_preset(self.database, connection, preset_id, self.settings.backoff_lookback)
            organization = connection.execute(select(m.Organization)).first()
        assert view is not None
        preset = view.snapshot.preset
        ceiling = desired_at(preset, view.now) if is_active(preset) else 0
        if view.rolling:
            ceiling += view.rolling.max_surge
        if result.created:
            assert after <= ceiling, "more than desired"
        else:
            assert after <= before
        if result.created and organization:
            limits = (organization.max_builds_in_flight, organization.max_workspaces)
            for used, limit in zip(self._used(), limits, strict=True):
                assert limit is None or used <= limit
        assert result.outcome != "held", result.reason
        return result

    def _used(self) -> tuple[int, int]:
        """Count start builds in flight, and workspaces whose resource may exist; all belong to one organization."""
        is_open = m.Build.status.in_([BuildStatus.PENDING, BuildStatus.RUNNING, BuildStatus.CANCELING])
        starts = (m.Build.transition == Transition.START, m.Build.reason != "claim")
        builds = select(func.count()).select_from(m.Build).where(is_open, *starts)
        there = select(func.count()).select_from(m.Workspace).where(m.Workspace.deleted_at.is_(None))
        with self.database.read() as connection:
            return connection.execute(builds).scalar_one(), connection.execute(there).scalar_one()

    def _claim(self, request: ClaimRequest) -> None:
        try:
            claimed = claim(self.database, request)
            if isinstance(claimed, BeingBuilt):
                raise claimed.error()
            answer = claimed.answer
        except RequestEndedError as ended:
            assert self._has_ended(ended.workspace_id), "what was answered is answered until it ends"
            return
        except (ClaimMissError, NotFoundError, RefusedError):
            assert request.request_id not in self.answers, "what was answered once is answered for ever"
            return
        assert not self._has_ended(answer.workspace_id), "what is gone is never answered"
        taken = {other.resource_id for key, other in self.answers.items() if key != request.request_id}
        assert answer.resource_id not in taken, "one workspace, two owners"
        self.answers[request.request_id] = answer

    def _has_ended(self, workspace_id: str) -> bool:
        with self.database.read() as connection:
            row = connection.execute(select(m.Workspace).where(m.Workspace.id == workspace_id)).one_or_none()
        if row is None or row.deleted_at is not None or row.transition is Transition.DELETE:
            return True
        return row.status in (BuildStatus.CANCELING, BuildStatus.CANCELED)

    def _end(self, name: str, *, operator: bool) -> None:
        try:
            workspace_id = end_workspace(self.database, name, actor=ACTOR, operator=operator).workspace_id
        except (NotFoundError, RefusedError):
            return
        self.may_end.add(workspace_id)

    def _operate(self, operation: Callable[[], object]) -> None:
        with suppress(NotFoundError, RefusedError):
            operation()

    def _presets(self) -> list[int]:
        with self.database.read() as connection:
            return list(connection.execute(select(m.Preset.id).order_by(m.Preset.id)).scalars())

    def _builds(self, *statuses: BuildStatus) -> list[str]:
        with self.database.read() as connection:
            query = select(m.Build.id).where(m.Build.status.in_(statuses))
            return list(connection.execute(query.order_by(m.Build.priority, m.Build.created_at, m.Build.id)).scalars())

    def _live(self, preset_id: int) -> int:
        alive = (BuildStatus.PENDING, BuildStatus.RUNNING, BuildStatus.SUCCEEDED)
        with self.database.read() as connection:
            return connection.execute(
                select(func.count())
                .select_from(m.Workspace)
                .where(
                    m.Workspace.preset_id == preset_id,
                    m.Workspace.owner == "prebuilds",
                    m.Workspace.deleted_at.is_(None),
                    m.Workspace.transition == Transition.START,
                    m.Workspace.status.in_(alive),
                )
            ).scalar_one()
