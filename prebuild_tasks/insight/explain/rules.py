"""Explain the state of a pool: a chain of causes from its desired size to its eligible prebuilds. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from prebuild_tasks.insight.explain.doubts import doubted_prebuilds
from prebuild_tasks.insight.explain.facts import BuildFact, Facts
from prebuild_tasks.insight.explain.headline import GOES_ON, headline
from prebuild_tasks.insight.explain.links import About, Link
from prebuild_tasks.insight.explain.pauses import pause_sentence
from prebuild_tasks.insight.explain.remedies import Step, steps
from prebuild_tasks.model.text import instant, listed, local, number, span
from prebuild_tasks.model.vocabulary import NEVER_READY_CODE, PresetStatus
from prebuild_tasks.reconcile import LimitReason, Reason, has_usable_schedules, next_change, schedule_at
from prebuild_tasks.schema.rules import is_active


@dataclass(frozen=True, slots=True)
class Explanation:
    """The chain of causes, the one reason that counts, and the steps to take; the last step is the one that helps."""

    reason: Reason
    chain: tuple[Link, ...]
    steps: tuple[Step, ...]
    headline: str = ""
    """The reason in words, with the start that the pool waits for; empty if the pool is not short."""


def explain(facts: Facts) -> Explanation:
    """Explain why the pool has as many eligible prebuilds as it has."""
    chain = [link for part in _PARTS for link in part(facts)]
    return Explanation(facts.reason, tuple(chain), steps(facts), headline(facts.reason, facts.under_way, facts.now))


def is_ttl_too_short(ttl: timedelta | None, usual: timedelta | None) -> bool:
    """Return whether prebuilds expire before they are ready; `usual` is how long a start takes, None: unknown."""
    return bool(ttl) and usual is not None and ttl is not None and ttl <= usual


def _desired(facts: Facts) -> Iterator[Link]:
    preset = facts.counted.preset
    if not is_active(preset):
        return
    held = schedule_at(preset, facts.now)
    sentence = f"{facts.state.desired}, by the schedule {held.cron!r}" if held else f"{preset.desired}, the base size"
    if not has_usable_schedules(preset):
        zone = preset.timezone or "none"
        sentence += (
            f"; its schedules are ignored: the timezone ({zone}) is unknown on this machine, or two of them overlap"
        )
    elif change := next_change(preset, facts.now):
        sentence += f"; {change[1]} from {local(change[0], preset.timezone)} (in {span(change[0] - facts.now)})"
    yield Link(About.DESIRED, sentence)


def _active(facts: Facts) -> Iterator[Link]:
    activation = facts.activation
    if is_active(facts.counted.preset):
        return
    why = []
    if activation.template_deleted:
        why.append(f"the template {activation.template} is no longer declared")
    elif activation.removed:
        why.append("the preset is no longer declared")
    elif activation.deprecated:
        why.append(f"the template {activation.template} is deprecated")
    if activation.active_version != activation.version:
        active = f"the active version of {activation.template} is {activation.active_version}"
        why.append(active if activation.active_version else f"the template {activation.template} has no active version")
    left = facts.state.actual + facts.state.starting
    rest = f"its {number(left, 'prebuild')} will be removed" if left else "it has no prebuilds left"
    if facts.second_choices:
        removed = f"; {left - facts.second_choices} will be removed now" if left > facts.second_choices else ""
        rest = f"{number(facts.second_choices, 'prebuild')} can be claimed as second choice until replaced{removed}"
    yield Link(About.ACTIVE, f"inactive: {', and '.join(why)}; {rest}", Reason.INACTIVE)


def _pause(facts: Facts) -> Iterator[Link]:
    if (pause := facts.pause) is None:
        return
    yield Link(About.PAUSE, pause_sentence(pause, lambda at: instant(at, facts.now)), Reason.PAUSED)


def _status(facts: Facts) -> Iterator[Link]:
    if facts.status is PresetStatus.HARD_LIMITED:
        counted = facts.failed[: facts.failures_in_row]
        which = f" ({listed([_dated(build, facts.now) for build in counted])})" if counted else ""
        limit = f"; {facts.hard_limit} is the limit" if facts.hard_limit else ""
        sentence = (
            f"hard-limited: {number(facts.failures_in_row, 'start')} of this version failed in a row{which}{limit}"
        )
        yield Link(About.STATUS, f"{sentence}: nothing is created until the pool is unblocked", Reason.HARD_LIMITED)
    elif facts.status is PresetStatus.VALIDATION_FAILED:
        sentence = (
            "its provisioner rejects the recipe: nothing is created until the recipe changes or the pool is unblocked"
        )
        yield Link(About.STATUS, sentence, Reason.VALIDATION_FAILED)


def _processes(facts: Facts) -> Iterator[Link]:
    processes = facts.processes
    if processes.unserved:
        queues, seen = listed(list(processes.unserved)), _last_seen(processes.worker_seen)
        sentence = f"no worker consumes {queues}, so the pool is not being reconciled ({seen}){_waiting(facts)}"
        yield Link(About.PROCESSES, sentence, Reason.NO_WORKER)
    if not processes.workers.builds:
        seen = _last_seen(processes.builds_seen)
        sentence = f"no builds worker consumes {processes.builds_queue}, so nothing is built ({seen})"
        sentence += ", and what is claimed may not answer" if facts.state.eligible else ""
        yield Link(About.PROCESSES, sentence, Reason.NO_BUILDS_WORKER)
    if processes.silent_hosts:
        hosts = listed(list(processes.silent_hosts))
        sentence = f"some builds can run only on {hosts}, where no builds worker is running"
        yield Link(About.PROCESSES, sentence, Reason.NO_BUILDS_WORKER)
    if processes.silent_prebuilds and processes.workers.builds:
        hosts = listed(list(processes.silent_prebuilds))
        sentence = f"prebuilds on {hosts} can be claimed but may not answer: no builds worker is running there"
        yield Link(About.PROCESSES, sentence, Reason.NO_BUILDS_WORKER)
    if not processes.workers.scheduler:
        age = f"the last tick ended {span(processes.tick_age)} ago" if processes.tick_age is not None else "no tick yet"
        sentence = f"{age}, although one is due every {span(processes.tick_interval)}"
        sentence += ": beat is not running, or no worker carries its ticks out"
        yield Link(About.PROCESSES, sentence, Reason.TICK_STALE)


def _backoff(facts: Facts) -> Iterator[Link]:
    failures = facts.counted.failures
    until = facts.backs_off_until
    if failures is None or until is None:
        return
    builds = [build for build in facts.failed if build.created_at <= failures.last_build_at][: failures.num_failed]
    which = f" ({listed([_dated(build, facts.now) for build in builds])})" if builds else ""
    after = number(failures.num_failed, "failure")
    yield Link(About.BACKOFF, f"creation waits until {instant(until, facts.now)}, after {after}{which}", Reason.BACKOFF)


def _limit(facts: Facts) -> Iterator[Link]:
    if (budget := facts.budget) is None:
        return
    used, owner = f"{budget.used} of {budget.most} allowed", f"the organization {budget.organization}"
    sentence = {
        LimitReason.SLOW_START: f"slow start after a failure: {used} builds of this pool are in flight",
        LimitReason.PRESET_BUILDS: f"{used} builds of this pool are in flight (max_builds_in_flight)",
        LimitReason.ORGANIZATION_BUILDS: f"{used} builds of {owner} are in flight",
        LimitReason.GLOBAL_BUILDS: f"{used} builds of all pools are in flight (PREBUILD_MAX_BUILDS_IN_FLIGHT)",
        LimitReason.QUOTA: f"quota: {used} workspaces of {owner} exist, {budget.claimed} of them claimed",
    }[budget.limit]
    sentence += "; the rest is reserved for pools that have fewer" if budget.rest_is_shared else ""
    sentence += f"; {listed(list(facts.holding))} failed or could not be deleted" if facts.holding else ""
    yield Link(About.LIMIT, sentence, Reason(budget.limit.value))


def _turn(facts: Facts) -> Iterator[Link]:
    lock = facts.lock
    if facts.rests_until:
        sentence = f"the last {number(facts.lost_turns, 'turn')} for this pool crashed their worker"
        sentence += f"; the next one waits until {instant(facts.rests_until, facts.now)}"
        yield Link(About.TURN, sentence, Reason.LOST_TURNS)
    if lock.unreachable:
        how = f"within {span(lock.waited)}" if lock.waited is not None else f"({lock.unreachable})"
        yield Link(About.TURN, f"Redis did not answer {how}, so it is unknown whether a turn is running")
    elif lock.holder:
        yield Link(About.TURN, f"{lock.holder} holds the pool's lock; it expires in {span(lock.left)}")
    elif (create := facts.turn.create) and facts.reason is Reason.NOT_YET:
        part = f" of {facts.missing}" if create < facts.missing else ""
        limited = f", within {_LIMITS[facts.limited_by]}" if facts.limited_by else ""
        yield Link(
            About.TURN, f"its next turn creates {create}{part}{limited}", None if facts.unready else Reason.NOT_YET
        )
    if facts.surge is not None and facts.missing:
        sentence = f"replaced gradually: old and new together are at most {facts.surge} more than desired (max_surge)"
        yield Link(About.TURN, sentence)


def _builds(facts: Facts) -> Iterator[Link]:
    if not facts.in_flight:
        return
    now = facts.now
    parts = []
    if waiting := [build for build in facts.in_flight if build.started_at is None]:
        parts.append(f"{len(waiting)} waiting for {span(now - waiting[0].created_at)}")
    if running := [build for build in facts.in_flight if build.started_at is not None]:
        oldest = max(now - started for build in running if (started := build.started_at))
        parts.append(f"{len(running)} running for {span(oldest)}")
    usual = f"; a start usually takes {span(facts.usual)}" if facts.usual is not None else "; none has succeeded yet"
    if held := [build for build in waiting if build.error_code == Reason.PROVISIONER_UNREACHABLE.value]:
        why = f"{number(len(held), 'start')} held and tried again, because the provisioner cannot be asked"
        yield Link(About.BUILDS, f"{why}: {' '.join(held[0].error.split())}", Reason.PROVISIONER_UNREACHABLE)
    attempt = max(build.attempt for build in facts.in_flight)
    sentence = f"{number(len(facts.in_flight), 'start')} in flight: {', '.join(parts)}{usual}"
    sentence += f"; attempt {attempt}, because an earlier worker died" if attempt > 1 else ""
    decisive = Reason.STARTING if facts.reason is Reason.STARTING and not facts.unready else None
    yield Link(About.BUILDS, sentence, decisive)
    yield from _waits(facts)


def _waits(facts: Facts) -> Iterator[Link]:
    """Explain what the start that has waited longest to become ready waits for."""
    build = facts.unready
    if build is None or build.not_ready is None:
        return
    count = sum(item.not_ready is not None for item in facts.in_flight)
    sentence = f"{number(count, 'start')} ran, and {'waits' if count == 1 else 'wait'} to become ready"
    sentence += f"; build {build.short} {build.not_ready.sentence(build.ready_timeout, facts.now)}"
    yield Link(About.BUILDS, sentence, facts.reason if facts.reason in GOES_ON else None)


def _error(facts: Facts) -> Iterator[Link]:
    failing = facts.failures_in_row or facts.status is not PresetStatus.HEALTHY
    reported = facts.status_reason if facts.status is PresetStatus.VALIDATION_FAILED else facts.last_error
    if not failing and reported and facts.state.eligible < facts.state.desired:
        yield Link(About.ERROR, f"last error: {' '.join(reported.split())}")
    if not failing or not (facts.failed or reported):
        return
    last = facts.failed[0] if facts.failed else None
    never = last is not None and last.error_code == NEVER_READY_CODE
    which = f" ({_dated(last, facts.now)})" if last else ""
    outcome = "ran, but never became ready" if never else "failed"
    error = " ".join((last.error if last else reported).split()) or "no error message"
    yield Link(
        About.ERROR, f"the last start{which} {outcome}: {error}", Reason.NEVER_READY if never else Reason.FAILING
    )


def _health(facts: Facts) -> Iterator[Link]:
    if facts.failed_probes:
        worst = max(facts.failed_probes, key=lambda item: item.failures)
        sentence = (
            f"{number(len(facts.failed_probes), 'prebuild')} failed the last probe; {worst.workspace}: {worst.message}"
        )
        yield Link(About.HEALTH, sentence.rstrip(": "))
    yield from doubted_prebuilds(facts)
    ttl = facts.counted.preset.ttl
    if facts.reason is Reason.TTL_TOO_SHORT and ttl and facts.usual is not None:
        sentence = f"its ttl of {span(ttl)} is not longer than a start takes ({span(facts.usual)})"
        yield Link(About.HEALTH, f"{sentence}, so every prebuild expires before it is ready", Reason.TTL_TOO_SHORT)
    if facts.state.expired:
        claimable = min(facts.second_choices, facts.state.expired) if is_active(facts.counted.preset) else 0
        second = f"; {claimable} can be claimed as second choice until then" if claimable else ""
        yield Link(About.HEALTH, f"{number(facts.state.expired, 'prebuild')} expired and will be replaced{second}")


def _deletions(facts: Facts) -> Iterator[Link]:
    for item in facts.failed_deletions:
        again = f"; next attempt {instant(item.retry_at, facts.now)}" if item.retry_at else ""
        yield Link(About.DELETIONS, f"{item.workspace} could not be deleted: {' '.join(item.error.split())}{again}")
    if facts.failed_kept:
        yield Link(About.DELETIONS, f"{number(facts.failed_kept, 'failed prebuild')} kept for diagnosis")


def _eligible(facts: Facts) -> Iterator[Link]:
    state = facts.state
    extra = f", {state.extraneous} beyond desired" if state.extraneous else ""
    missing = max(state.desired - state.eligible, 0)
    short = f", {missing} short: {facts.reason.value.replace('_', ' ')}" if missing else ""
    others = f"; {number(facts.of_other_versions, 'prebuild')} of other versions can be claimed meanwhile"
    yield Link(
        About.ELIGIBLE,
        f"{state.eligible} of {state.desired} eligible{extra}{short}{others if facts.of_other_versions else ''}",
    )


_LIMITS = {
    LimitReason.SLOW_START: "the slow start after a failure",
    LimitReason.PRESET_BUILDS: "max_builds_in_flight",
    LimitReason.ORGANIZATION_BUILDS: "max_builds_in_flight of the organization",
    LimitReason.GLOBAL_BUILDS: "PREBUILD_MAX_BUILDS_IN_FLIGHT",
    LimitReason.QUOTA: "max_workspaces of the organization",
}
_PARTS = (
    _desired, _active, _pause, _status, _processes, _backoff, _limit, _turn, _builds, _error, _health, _deletions,
    _eligible,
)  # fmt: skip


def _last_seen(age: timedelta | None) -> str:
    return "none has been seen" if age is None else f"the last was seen {span(age)} ago"


def _dated(build: BuildFact, now: datetime) -> str:
    return f"build {build.short}, {span(now - build.created_at)} ago"


def _waiting(facts: Facts) -> str:
    """Return how many messages wait in the queues that no worker consumes, if Redis answered."""
    waiting = sum((facts.lock.waiting or {}).get(queue, 0) for queue in facts.processes.unserved)
    return f", {number(waiting, 'message')} waiting" if waiting else ""
