"""Steps to take against a shortage, by its reason. The last step is the one that ends it."""

from __future__ import annotations

from dataclasses import dataclass

from prebuild_tasks.insight.explain.facts import Facts
from prebuild_tasks.model.text import listed
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.reconcile import Reason
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema.rules import is_active

_UP = Remedy(RemedyKind.START_EVERYTHING)
"""The alternative to starting one process: start all of them on one machine."""
_APPLY = Remedy(RemedyKind.APPLY_POOLS_FILE)


@dataclass(frozen=True, slots=True)
class Step:
    """A remedy, and what it is good for."""

    remedy: Remedy
    why: str
    instead: Remedy | None = None
    """An alternative with the same effect."""


def steps(facts: Facts) -> tuple[Step, ...]:
    """Return the steps in the order in which to take them; empty when nothing is wrong."""
    ordered = [*_other_problems(facts), *_by_reason(facts)]
    if facts.lock.unreachable:
        # Last where only a message is missing; elsewhere first, because no worker starts without Redis.
        slow = "whether Redis answers at all, or is only slow"
        why = "Redis does not answer, so no message is delivered" if facts.lock.waited is None else slow
        redis = Step(Remedy(RemedyKind.DIAGNOSE), why)
        last = facts.reason in (Reason.TICK_STALE, Reason.NOT_YET)
        ordered = [*ordered, redis] if last else [redis, *ordered]
    return tuple(dict.fromkeys(ordered))


def _other_problems(facts: Facts) -> list[Step]:
    """Return steps against problems other than the reason of the shortage, of a full pool too."""
    others = [
        Step(Remedy(RemedyKind.SHOW_LOG, item.build[:8]), f"why {item.workspace} could not be deleted")
        for item in facts.failed_deletions[:1]
    ]
    if facts.doubted.waiting:
        others.append(Step(Remedy(RemedyKind.CONFIRM_LOSS), "replace the missing prebuilds, if they are really lost"))
    processes = facts.processes
    if not processes.workers.control and facts.reason is not Reason.NO_WORKER:
        others.append(Step(Remedy(RemedyKind.START_WORKER), "start a control worker"))
    if not (processes.workers.builds or facts.reason is Reason.NO_BUILDS_WORKER):
        others.append(Step(Remedy(RemedyKind.START_BUILDS_WORKER), "start a builds worker"))
    if silent := sorted({*processes.silent_hosts, *processes.silent_prebuilds}):
        others.append(Step(Remedy(RemedyKind.START_BUILDS_WORKER), f"start a builds worker on {listed(silent)}"))
    if processes.workers.control and not processes.workers.scheduler and facts.reason is not Reason.TICK_STALE:
        others.append(Step(Remedy(RemedyKind.START_BEAT), "start beat"))
    if facts.pause is not None and facts.reason is not Reason.PAUSED:
        others.append(_resume(facts, "the pool is paused, so nothing is created or deleted"))
    blocked = facts.status is not PresetStatus.HEALTHY and is_active(facts.counted.preset)
    if blocked and facts.reason.value != facts.status.value:
        others.append(
            Step(
                Remedy(RemedyKind.UNBLOCK_POOL, str(facts.ref)),
                f"the pool is also {facts.status.value.replace('_', ' ')}",
            )
        )
    return others


def _by_reason(facts: Facts) -> list[Step]:
    ref = str(facts.ref)
    look = [Step(Remedy(RemedyKind.SHOW_LOG, facts.failed[0].short), "the output of the build")] if facts.failed else []
    back = _back(facts)
    builds, unblock = Remedy(RemedyKind.LIST_BUILDS, ref), Remedy(RemedyKind.UNBLOCK_POOL, ref)
    match facts.reason:
        case Reason.INACTIVE:
            return _inactive(facts)
        case Reason.PAUSED:
            return [_resume(facts, "reconcile the pool again")]
        case Reason.VALIDATION_FAILED:
            apply = Step(_APPLY, "with a recipe that its provisioner accepts; if it was fixed elsewhere:")
            return [*look, *back, apply, Step(unblock, "try again")]
        case Reason.HARD_LIMITED:
            return [*look, *back, Step(unblock, "once that is fixed, build again")]
        case Reason.NO_WORKER:
            return [Step(Remedy(RemedyKind.START_WORKER), "start a control worker", _UP)]
        case Reason.NO_BUILDS_WORKER:
            return [Step(Remedy(RemedyKind.START_BUILDS_WORKER), "start a builds worker", _UP)]
        case Reason.TICK_STALE:
            return [Step(Remedy(RemedyKind.START_BEAT), "start beat", _UP)]
        case Reason.PROVISIONER_UNREACHABLE:
            return [Step(Remedy(RemedyKind.DIAGNOSE), "see why its provisioner does not answer; then builds go on")]
        case Reason.LOST_TURNS:
            return [
                Step(Remedy(RemedyKind.DIAGNOSE), "find out what crashes the workers; the pool tries again by itself")
            ]
        case Reason.BACKOFF:
            return [*look, *back, Step(unblock, "once that is fixed, build without waiting")]
        case Reason.SLOW_START | Reason.NEVER_READY | Reason.FAILING:
            return [*(look or [Step(builds, "see how its builds ended")]), *back]
        case Reason.PRESET_BUILDS | Reason.ORGANIZATION_BUILDS:
            return [Step(builds, "see what is in flight"), Step(_APPLY, "with a higher limit")]
        case Reason.GLOBAL_BUILDS:
            return [Step(Remedy(RemedyKind.LIST_RUNNING_BUILDS), "see what is in flight in all pools")]
        case Reason.QUOTA:
            release = Step(Remedy(RemedyKind.LIST_WORKSPACES), "find workspaces to release")
            holding = [
                Step(Remedy(RemedyKind.DELETE_WORKSPACE, name), "it has failed, and holds a place")
                for name in facts.holding[:1]
            ]
            return [*holding, release, Step(_APPLY, "with a higher max_workspaces")]
        case Reason.TTL_TOO_SHORT:
            return [Step(_APPLY, "with a ttl that is well above the time that a start takes")]
        case Reason.STARTING:
            return [Step(builds, "see how far its builds are"), *_under_way(facts)]
        case Reason.NOT_YET:
            return [Step(Remedy(RemedyKind.RECONCILE, ref), "run its next turn now"), *_under_way(facts)]
        case _:
            return []


def _resume(facts: Facts, why: str) -> Step:
    everything = facts.pause is not None and facts.pause.everything
    return Step(Remedy(RemedyKind.RESUME, "" if everything else str(facts.ref)), why)


def _under_way(facts: Facts) -> list[Step]:
    """Return the steps to the output of the start that the pool waits for, or back if its version fails soon again."""
    back = _back(facts) if facts.activation.fails_soon else []
    build = facts.under_way
    if build is None:
        return back
    why = "the output of the start under way" if build.not_ready is None else "why that start is not ready yet"
    return [*back, Step(Remedy(RemedyKind.SHOW_LOG, build.short), why)]


def _back(facts: Facts) -> list[Step]:
    """Return the step back to the version that worked, if a new one never did, or what it makes fails soon."""
    activation = facts.activation
    if not activation.last_good or not (activation.fails_soon or facts.failed):
        return []
    promote = Remedy(RemedyKind.PROMOTE_VERSION, activation.template, activation.last_good)
    return [Step(promote, "back to the last version that was ready, until the next apply")]


def _inactive(facts: Facts) -> list[Step]:
    activation = facts.activation
    if activation.template_deleted or activation.removed:
        return [Step(_APPLY, "with the preset declared again")]
    if activation.deprecated:
        return [Step(_APPLY, "with deprecated: false")]
    promote = Remedy(RemedyKind.PROMOTE_VERSION, activation.template, activation.version)
    return [Step(promote, "if this version is to be the active one")]
