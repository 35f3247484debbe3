"""The ways out of what the audit finds. Pure."""

from __future__ import annotations

from prebuild_tasks.insight.explain.remedies import Step
from prebuild_tasks.model.names import unambiguous_name
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER
from prebuild_tasks.provisioners import Resource
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.upkeep import StrayState


def of_unknown_resource(resource: Resource, state: StrayState | None) -> tuple[Step, ...]:
    """Return the steps for a resource that no workspace knows of. `state` None: no sweep has found it yet."""
    workspace_id, sweep = resource.workspace_id, RemedyKind.SWEEP
    adopt, remove = RemedyKind.ADOPT_STRAY, RemedyKind.REMOVE_STRAY
    if resource.claimed and not resource.owner:
        adopt, remove = RemedyKind.ADOPT_STRAY_AS_OWNER, RemedyKind.REMOVE_STRAY_AS_OWNER
    owner = resource.owner or "its owner, whom its claim marker does not tell"
    find = () if state else (Step(Remedy(sweep), "have it found by a sweep first"),)
    if resource.claimed:
        give_back = Step(Remedy(adopt, workspace_id), f"give it back to {owner}")
        return (*find, give_back, Step(Remedy(remove, workspace_id), "or have it removed, although it was claimed"))
    match state:
        case StrayState.WAITING:
            steps = (Step(Remedy(RemedyKind.CONFIRM_LOSS), "remove it with all that wait for a confirmation"),)
        case StrayState.CONFIRMED:
            steps = (Step(Remedy(sweep), "have it removed now, instead of by the next sweep"),)
        case _:
            steps = (Step(Remedy(sweep), "see since when it is known; it is removed after a while by itself"),)
    return (*steps, Step(Remedy(remove, workspace_id), "or have this one removed now")) if state else steps


def of_missing_resource(owner: str, name: str) -> tuple[Step, ...]:
    """Return the steps for a running workspace without a resource."""
    if owner == PREBUILDS_OWNER:
        return (Step(Remedy(RemedyKind.SWEEP), "it is replaced once sweeps have found that its resource is gone"),)
    release = Remedy(RemedyKind.RELEASE_WORKSPACE, unambiguous_name(owner, name))
    return (Step(release, "its resource is gone: end it, and claim another one"),)


def of_surplus(pool: str) -> tuple[Step, ...]:
    """Return the steps for a pool with more prebuilds than it may have."""
    return (Step(Remedy(RemedyKind.EXPLAIN_POOL, pool), "see what its next turn deletes"),)


def of_contradiction(workspace_id: str) -> tuple[Step, ...]:
    """Return the steps for rows that contradict each other: no command makes such rows, so a person must look."""
    return (Step(Remedy(RemedyKind.SHOW_HISTORY, workspace_id), "see what happened to it, for a bug report"),)


def of_silent_build() -> tuple[Step, ...]:
    """Return the steps for a build whose worker is silent, and that nothing has taken back."""
    return (Step(Remedy(RemedyKind.DIAGNOSE), "see whether workers and beat run, which take such builds back"),)
