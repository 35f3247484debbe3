"""The result of one build's run."""

from __future__ import annotations

from dataclasses import dataclass, field

from prebuild_tasks.model.records import part_of
from prebuild_tasks.workspaces import FollowUp


@dataclass(frozen=True, slots=True)
class BuildReport:
    """The result of one build's run, as Flower shows it."""

    outcome: str
    """`succeeded`, `failed`, `canceled`, `held` (its provisioner could not be asked; it is pending again), `lost`
    (another runner has the build), `apart` (run in an isolated process,
    which also sends its follow-up), or `idle` (no build was pending)."""
    build: str = ""
    workspace: str = ""
    preset: str = ""
    transition: str = ""
    attempt: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class BuildResult(BuildReport):
    """The result of one build's run, and what it leaves to do."""

    follow_up: FollowUp = field(kw_only=True)
    """Builds that follow from it, and its pool's turn; empty when another runner has the build."""

    def report(self) -> BuildReport:
        """Return the result without the follow-up."""
        return part_of(self, BuildReport)
