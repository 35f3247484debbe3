"""What to run when a pool is short: by reason, the last command being the one that mends it."""

from __future__ import annotations

from dataclasses import dataclass

from prebuild_tasks.insight.explain.facts import Facts
from prebuild_tasks.model.text import listed
from prebuild_tasks.model.vocabulary import PresetStatus
from prebuild_tasks.reconcile.rules.reasons import Reason

_UP = "on one machine, prebuild up runs all of them"


@dataclass(frozen=True, slots=True)
class Command:
    """A command, and what it is for."""

    command: str
    why: str


def commands(facts: Facts) -> tuple[Command, ...]:
    """In the order they are to be run; empty when there is nothing to mend."""
    found = [*_beside(facts), *_by_reason(facts)]
    if facts.lock.unreachable:
        # Last where all it lacks is a message; a worker can't be started without it either.
        redis = Command("prebuild doctor", "Redis does not answer: until it does, nobody gets a message")
        last = facts.reason in (Reason.TICK_STALE, Reason.NOT_YET)
        found = [*found, redis] if last else [redis, *found]
    return tuple(dict.fromkeys(found))


def _beside(facts: Facts) -> list[Command]:
    """What is wrong beside the shortage, or with a pool that is not short."""
    found = [
        Command(f"prebuild logs {item.build[:8]}", f"why {item.workspace} could not be deleted")
        for item in facts.failed_deletions[:1]
    ]
    here = facts.processes
    if not here.workers.control and facts.reason is not Reason.NO_WORKER:
        found.append(Command(here.commands.worker, "start a control worker"))
    if not (here.workers.builds or facts.reason is Reason.NO_BUILDS_WORKER):
        found.append(Command(here.commands.builds, "start a builds worker"))
    if here.silent_hosts:
        found.append(Command(here.commands.builds, f"start a builds worker on {listed(list(here.silent_hosts))}"))
    if here.workers.control and not here.workers.scheduler and facts.reason is not Reason.TICK_STALE:
        found.append(Command(here.commands.beat, "start beat"))
    if facts.pause is not None and facts.reason is not Reason.PAUSED:
        found.append(_resume(facts, "it is paused; until then nothing is created or deleted"))
    blocked = facts.status is not PresetStatus.HEALTHY and facts.counted.preset.active
    if blocked and facts.reason.value != facts.status.value:
        found.append(Command(f"prebuild unblock {facts.ref}", f"it is {facts.status.value.replace('_', ' ')} too"))
    return found


def _by_reason(facts: Facts) -> list[Command]:
    ref, here = facts.ref, facts.processes
    look = [Command(f"prebuild logs {facts.failed[0].short}", "what the build said")] if facts.failed else []
    mine = f"prebuild builds --preset {ref}"
    match facts.reason:
        case Reason.INACTIVE:
            return _inactive(facts)
        case Reason.PAUSED:
            return [_resume(facts, "reconcile it again")]
        case Reason.VALIDATION_FAILED:
            apply = Command("prebuild apply FILE", "with a recipe that its provisioner takes; or, mended elsewhere:")
            return [*look, apply, Command(f"prebuild unblock {ref}", "try again")]
        case Reason.HARD_LIMITED:
            return [*look, Command(f"prebuild unblock {ref}", "once that is mended: build again")]
        case Reason.NO_WORKER:
            return [Command(here.commands.worker, f"start a control worker; {_UP}")]
        case Reason.NO_BUILDS_WORKER:
            return [Command(here.commands.builds, f"start a builds worker; {_UP}")]
        case Reason.TICK_STALE:
            return [Command(here.commands.beat, f"start beat; {_UP}")]
        case Reason.LOST_TURNS:
            return [Command("prebuild doctor", "what may be ending the workers; without that it goes on by itself")]
        case Reason.BACKOFF:
            return [*look, Command(f"prebuild unblock {ref}", "don't wait, once that is mended")]
        case Reason.SLOW_START | Reason.NEVER_READY | Reason.FAILING:
            return look or [Command(mine, "how its builds end")]
        case Reason.PRESET_BUILDS | Reason.ORGANIZATION_BUILDS:
            return [Command(mine, "what is in flight"), Command("prebuild apply FILE", "with a higher limit")]
        case Reason.GLOBAL_BUILDS:
            return [Command("prebuild builds --status running", "what is in flight everywhere")]
        case Reason.QUOTA:
            release = Command("prebuild workspaces", "who has what, to release")
            return [release, Command("prebuild apply FILE", "with a higher max_workspaces")]
        case Reason.STARTING:
            return [Command(mine, "how far they are")]
        case Reason.NOT_YET:
            return [Command(f"prebuild reconcile {ref}", "have its turn now")]
        case _:
            return []


def _resume(facts: Facts, why: str) -> Command:
    everything = facts.pause is not None and facts.pause.everything
    return Command("prebuild resume" if everything else f"prebuild resume {facts.ref}", why)


def _inactive(facts: Facts) -> list[Command]:
    standing = facts.standing
    if standing.template_deleted or standing.removed:
        return [Command("prebuild apply FILE", "with it declared again")]
    if standing.deprecated:
        return [Command("prebuild apply FILE", "with deprecated: false")]
    promote = f"prebuild promote {standing.template} {standing.version}"
    return [Command(promote, "if this version is to be the active one")]
