"""Steps against a shortage: by reason, the last step being the one that ends it."""

from __future__ import annotations

from dataclasses import dataclass

from prebuild_tasks.insight.explain.facts import Facts
from prebuild_tasks.model.text import listed
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.reconcile import Reason
from prebuild_tasks.remedies import Remedy, RemedyKind

_UP = Remedy(RemedyKind.START_EVERYTHING)
"""The other way to start a process: all of them, on one machine."""
_APPLY = Remedy(RemedyKind.APPLY_POOLS_FILE)


@dataclass(frozen=True, slots=True)
class Step:
    """A remedy, and what it is for."""

    remedy: Remedy
    why: str
    instead: Remedy | None = None
    """Another way to the same end."""


def steps(facts: Facts) -> tuple[Step, ...]:
    """Return the steps in their order; empty when nothing is wrong."""
    found = [*_beside(facts), *_by_reason(facts)]
    if facts.lock.unreachable:
        # Last where all it lacks is a message; a worker can't be started without it either.
        redis = Step(Remedy(RemedyKind.DIAGNOSE), "Redis does not answer: until it does, nobody gets a message")
        last = facts.reason in (Reason.TICK_STALE, Reason.NOT_YET)
        found = [*found, redis] if last else [redis, *found]
    return tuple(dict.fromkeys(found))


def _beside(facts: Facts) -> list[Step]:
    """What is wrong beside the shortage, or with a pool that is not short."""
    found = [
        Step(Remedy(RemedyKind.SHOW_LOG, item.build[:8]), f"why {item.workspace} could not be deleted")
        for item in facts.failed_deletions[:1]
    ]
    here = facts.processes
    if not here.workers.control and facts.reason is not Reason.NO_WORKER:
        found.append(Step(Remedy(RemedyKind.START_WORKER), "start a control worker"))
    if not (here.workers.builds or facts.reason is Reason.NO_BUILDS_WORKER):
        found.append(Step(Remedy(RemedyKind.START_BUILDS_WORKER), "start a builds worker"))
    if here.silent_hosts:
        found.append(
            Step(Remedy(RemedyKind.START_BUILDS_WORKER), f"start a builds worker on {listed(list(here.silent_hosts))}")
        )
    if here.workers.control and not here.workers.scheduler and facts.reason is not Reason.TICK_STALE:
        found.append(Step(Remedy(RemedyKind.START_BEAT), "start beat"))
    if facts.pause is not None and facts.reason is not Reason.PAUSED:
        found.append(_resume(facts, "it is paused; until then nothing is created or deleted"))
    blocked = facts.status is not PresetStatus.HEALTHY and facts.counted.preset.active
    if blocked and facts.reason.value != facts.status.value:
        found.append(
            Step(Remedy(RemedyKind.UNBLOCK_POOL, facts.ref), f"it is {facts.status.value.replace('_', ' ')} too")
        )
    return found


def _by_reason(facts: Facts) -> list[Step]:
    ref = facts.ref
    look = [Step(Remedy(RemedyKind.SHOW_LOG, facts.failed[0].short), "what the build said")] if facts.failed else []
    mine, unblock = Remedy(RemedyKind.LIST_BUILDS, ref), Remedy(RemedyKind.UNBLOCK_POOL, ref)
    match facts.reason:
        case Reason.INACTIVE:
            return _inactive(facts)
        case Reason.PAUSED:
            return [_resume(facts, "reconcile it again")]
        case Reason.VALIDATION_FAILED:
            apply = Step(_APPLY, "with a recipe that its provisioner takes; or, mended elsewhere:")
            return [*look, apply, Step(unblock, "try again")]
        case Reason.HARD_LIMITED:
            return [*look, Step(unblock, "once that is mended: build again")]
        case Reason.NO_WORKER:
            return [Step(Remedy(RemedyKind.START_WORKER), "start a control worker", _UP)]
        case Reason.NO_BUILDS_WORKER:
            return [Step(Remedy(RemedyKind.START_BUILDS_WORKER), "start a builds worker", _UP)]
        case Reason.TICK_STALE:
            return [Step(Remedy(RemedyKind.START_BEAT), "start beat", _UP)]
        case Reason.LOST_TURNS:
            return [
                Step(Remedy(RemedyKind.DIAGNOSE), "what may be ending the workers; without that it goes on by itself")
            ]
        case Reason.BACKOFF:
            return [*look, Step(unblock, "don't wait, once that is mended")]
        case Reason.SLOW_START | Reason.NEVER_READY | Reason.FAILING:
            return look or [Step(mine, "how its builds end")]
        case Reason.PRESET_BUILDS | Reason.ORGANIZATION_BUILDS:
            return [Step(mine, "what is in flight"), Step(_APPLY, "with a higher limit")]
        case Reason.GLOBAL_BUILDS:
            return [Step(Remedy(RemedyKind.LIST_RUNNING_BUILDS), "what is in flight everywhere")]
        case Reason.QUOTA:
            release = Step(Remedy(RemedyKind.LIST_WORKSPACES), "who has what, to release")
            return [release, Step(_APPLY, "with a higher max_workspaces")]
        case Reason.STARTING:
            return [Step(mine, "how far they are")]
        case Reason.NOT_YET:
            return [Step(Remedy(RemedyKind.RECONCILE, ref), "have its turn now")]
        case _:
            return []


def _resume(facts: Facts, why: str) -> Step:
    everything = facts.pause is not None and facts.pause.everything
    return Step(Remedy(RemedyKind.RESUME, "" if everything else facts.ref), why)


def _inactive(facts: Facts) -> list[Step]:
    standing = facts.standing
    if standing.template_deleted or standing.removed:
        return [Step(_APPLY, "with it declared again")]
    if standing.deprecated:
        return [Step(_APPLY, "with deprecated: false")]
    promote = Remedy(RemedyKind.PROMOTE_VERSION, standing.template, standing.version)
    return [Step(promote, "if this version is to be the active one")]
