"""Why a pool is as it is: from what is desired to what is eligible, one sentence per cause, over frozen facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from prebuild_tasks.insight.explain.facts import BuildFact, Facts
from prebuild_tasks.insight.explain.remedies import Step, steps
from prebuild_tasks.model.text import instant, listed, number, span
from prebuild_tasks.model.vocabulary import NEVER_READY_CODE, PresetStatus
from prebuild_tasks.reconcile import LimitReason, Reason, backoff_until, holding, is_usable, next_change


class About(StrEnum):
    """What a link of the chain is about, in the order of the chain."""

    DESIRED = "desired"
    ACTIVE = "active"
    PAUSE = "pause"
    STATUS = "status"
    PROCESSES = "processes"
    BACKOFF = "backoff"
    LIMIT = "limit"
    TURN = "turn"
    BUILDS = "builds"
    ERROR = "error"
    HEALTH = "health"
    DELETIONS = "deletions"
    ELIGIBLE = "eligible"


@dataclass(frozen=True, slots=True)
class Link:
    """One cause. `reason` is set where it holds the pool back."""

    about: About
    words: str
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The chain, the one reason that counts, and what to do about it: the last step is the one that helps."""

    reason: Reason
    chain: tuple[Link, ...]
    steps: tuple[Step, ...]


def explain(facts: Facts) -> Explanation:
    """Why the pool holds what it holds."""
    chain = [link for part in _PARTS for link in part(facts)]
    return Explanation(facts.reason, tuple(chain), steps(facts))


def _desired(facts: Facts) -> Iterator[Link]:
    preset = facts.counted.preset
    if not preset.active:
        return
    held = holding(preset, facts.now)
    words = f"{facts.state.desired}, by the schedule {held.cron!r}" if held else f"{preset.desired}, the base size"
    if preset.schedules and not is_usable(preset):
        zone = preset.timezone or "none"
        words += f"; its schedules don't count: its timezone ({zone}) is not known here, or two of them overlap"
    elif change := next_change(preset, facts.now):
        local = change[0].astimezone(ZoneInfo(preset.timezone))
        words += f"; {change[1]} from {local:%a %d %b %H:%M} {preset.timezone} (in {span(change[0] - facts.now)})"
    yield Link(About.DESIRED, words)


def _active(facts: Facts) -> Iterator[Link]:
    standing = facts.standing
    if facts.counted.preset.active:
        return
    why = []
    if standing.template_deleted:
        why.append(f"the template {standing.template} is no longer declared")
    elif standing.removed:
        why.append("the preset is no longer declared")
    elif standing.deprecated:
        why.append(f"the template {standing.template} is deprecated")
    if standing.active_version != standing.version:
        active = f"not {standing.version}" if standing.active_version else "nothing"
        why.append(f"the active version of {standing.template} is {standing.active_version or active}")
    left = facts.state.actual + facts.state.starting
    what = f"its {number(left, 'prebuild')} go" if left else "it has no prebuilds left"
    if facts.stand_in:
        gone = f"; {left - facts.stand_in} go now" if left > facts.stand_in else ""
        what = f"{number(facts.stand_in, 'prebuild')} can be claimed as second choice until replaced{gone}"
    yield Link(About.ACTIVE, f"inactive: {', and '.join(why)}; {what}", Reason.INACTIVE)


def _pause(facts: Facts) -> Iterator[Link]:
    if (pause := facts.pause) is None:
        return
    words = f"{'everything is paused' if pause.everything else 'paused'} by {pause.by}"
    words += f" since {instant(pause.since, facts.now)}" if pause.since else ""
    words += f", until {instant(pause.until, facts.now)}" if pause.until else ", until somebody resumes it"
    yield Link(About.PAUSE, words + (f": {pause.reason}" if pause.reason else ""), Reason.PAUSED)


def _status(facts: Facts) -> Iterator[Link]:
    if facts.status is PresetStatus.HARD_LIMITED:
        counted = facts.failed[: facts.failures_in_row]
        which = f" ({listed([_dated(build, facts.now) for build in counted])})" if counted else ""
        limit = f"; {facts.hard_limit} is the limit" if facts.hard_limit else ""
        words = f"hard-limited: {number(facts.failures_in_row, 'start')} in a row failed{which}{limit}"
        yield Link(About.STATUS, f"{words}: nothing is created until it is unblocked", Reason.HARD_LIMITED)
    elif facts.status is PresetStatus.VALIDATION_FAILED:
        words = "its provisioner refuses the recipe: nothing is created until the recipe changes or it is unblocked"
        yield Link(About.STATUS, words, Reason.VALIDATION_FAILED)


def _processes(facts: Facts) -> Iterator[Link]:
    here = facts.processes
    if here.unserved:
        seen = f"the last was heard of {span(here.worker_seen)} ago" if here.worker_seen else "none was ever heard of"
        words = f"no worker consumes {listed(list(here.unserved))}: nobody decides ({seen}){_waiting(facts)}"
        yield Link(About.PROCESSES, words, Reason.NO_WORKER)
    if not here.workers.builds:
        seen = f"the last was heard of {span(here.builds_seen)} ago" if here.builds_seen else "none was ever heard of"
        words = f"no builds worker consumes {here.builds_queue}: nobody builds ({seen})"
        yield Link(About.PROCESSES, words, Reason.NO_BUILDS_WORKER)
    if here.silent_hosts:
        hosts = listed(list(here.silent_hosts))
        words = f"builds wait for {hosts}, which alone can run them and is not heard of"
        yield Link(About.PROCESSES, words, Reason.NO_BUILDS_WORKER)
    if not here.workers.scheduler:
        age = f"the last was {span(here.tick_age)} ago" if here.tick_age is not None else "there never was one"
        words = f"no tick: {age}, one is due every {span(here.tick_interval)}; beat is down, or nobody carries it out"
        yield Link(About.PROCESSES, words, Reason.TICK_STALE)


def _backoff(facts: Facts) -> Iterator[Link]:
    failures = facts.counted.failures
    until = backoff_until(failures, facts.backoff_interval, facts.now)
    if failures is None or until is None or not facts.counted.preset.active:
        return
    builds = [build for build in facts.failed if build.created_at <= failures.last_build_at][: failures.num_failed]
    which = f" ({listed([_dated(build, facts.now) for build in builds])})" if builds else ""
    what = number(failures.num_failed, "failure")
    yield Link(About.BACKOFF, f"creation waits until {instant(until, facts.now)}, after {what}{which}", Reason.BACKOFF)


def _limit(facts: Facts) -> Iterator[Link]:
    if (budget := facts.budget) is None:
        return
    used = f"{budget.used} of {budget.most}"
    words = {
        LimitReason.SLOW_START: f"slow start: after a failure {number(budget.most, 'start')} at a time, {used} in use",
        LimitReason.PRESET_BUILDS: f"{used} builds in flight of this pool (max_builds_in_flight)",
        LimitReason.ORGANIZATION_BUILDS: f"{used} builds in flight of the organization {budget.organization}",
        LimitReason.GLOBAL_BUILDS: f"{used} builds in flight everywhere (PREBUILD_MAX_BUILDS_IN_FLIGHT)",
        LimitReason.QUOTA: f"quota: {used} workspaces of the organization {budget.organization} exist, "
        f"{budget.claimed} of them claimed",
    }[budget.limit]
    words += "; what is left is for pools that have less" if budget.others else ""
    yield Link(About.LIMIT, words, Reason(budget.limit.value))


def _turn(facts: Facts) -> Iterator[Link]:
    lock = facts.lock
    if facts.rests_until:
        words = f"its last {number(facts.lost_turns, 'turn')} ended with their process"
        words += f": it rests until {instant(facts.rests_until, facts.now)}"
        yield Link(About.TURN, words, Reason.LOST_TURNS)
    if lock.unreachable:
        yield Link(About.TURN, f"Redis did not answer ({lock.unreachable}): whose turn it is, is not known")
    elif lock.holder:
        yield Link(About.TURN, f"{lock.holder} has the pool's lock right now; it ends by itself in {span(lock.left)}")
    elif (create := facts.turn.create) and facts.reason is Reason.NOT_YET:
        part = f" of {facts.missing}" if create < facts.missing else ""
        cut = f", within {_LIMITS[facts.cut_by]}" if facts.cut_by else ""
        yield Link(About.TURN, f"its next turn creates {create}{part}{cut}", Reason.NOT_YET)
    if facts.surge is not None and facts.missing:
        words = f"replaced by and by: old and new together are at most {facts.surge} more than desired (max_surge)"
        yield Link(About.TURN, words)


def _builds(facts: Facts) -> Iterator[Link]:
    if not facts.in_flight:
        return
    now = facts.now
    parts = []
    if waiting := [build for build in facts.in_flight if build.started_at is None]:
        parts.append(f"{len(waiting)} not begun, for {span(now - waiting[0].created_at)}")
    if begun := [build for build in facts.in_flight if build.started_at is not None]:
        oldest = max(now - started for build in begun if (started := build.started_at))
        parts.append(f"{len(begun)} under way, for {span(oldest)}")
    usual = f"; usually {span(facts.usual)}" if facts.usual is not None else "; none ever succeeded here"
    again = max(build.attempt for build in facts.in_flight)
    words = f"{number(len(facts.in_flight), 'start')} in flight: {', '.join(parts)}{usual}"
    words += f"; attempt {again}, as an earlier worker died" if again > 1 else ""
    yield Link(About.BUILDS, words, Reason.STARTING if facts.reason is Reason.STARTING else None)


def _error(facts: Facts) -> Iterator[Link]:
    failing = facts.failures_in_row or facts.status is not PresetStatus.HEALTHY
    said = facts.status_reason if facts.status is PresetStatus.VALIDATION_FAILED else facts.last_error
    if not failing or not (facts.failed or said):
        return
    last = facts.failed[0] if facts.failed else None
    never = last is not None and last.error_code == NEVER_READY_CODE
    which = f" ({_dated(last, facts.now)})" if last else ""
    what = "ran, but never became ready" if never else "failed"
    error = " ".join((last.error if last else said).split()) or "without a word"
    yield Link(About.ERROR, f"the last start{which} {what}: {error}", Reason.NEVER_READY if never else Reason.FAILING)


def _health(facts: Facts) -> Iterator[Link]:
    if facts.unwell:
        worst = max(facts.unwell, key=lambda item: item.failures)
        words = f"{number(len(facts.unwell), 'prebuild')} failed the last probe; {worst.workspace}: {worst.message}"
        yield Link(About.HEALTH, words.rstrip(": "))
    if facts.state.expired:
        standing = min(facts.stand_in, facts.state.expired) if facts.counted.preset.active else 0
        second = f"; {standing} can be claimed as second choice until then" if standing else ""
        yield Link(About.HEALTH, f"{number(facts.state.expired, 'prebuild')} expired, to be replaced{second}")


def _deletions(facts: Facts) -> Iterator[Link]:
    for item in facts.failed_deletions:
        again = f"; tried again {instant(item.retry_at, facts.now)}" if item.retry_at else ""
        yield Link(About.DELETIONS, f"{item.workspace} could not be deleted: {' '.join(item.error.split())}{again}")
    if facts.kept:
        yield Link(About.DELETIONS, f"{number(facts.kept, 'failed prebuild')} kept for study")


def _eligible(facts: Facts) -> Iterator[Link]:
    state = facts.state
    extra = f", {state.extraneous} beyond desired" if state.extraneous else ""
    missing = max(state.desired - state.eligible, 0)
    short = f", {missing} short: {facts.reason.value.replace('_', ' ')}" if missing else ""
    yield Link(About.ELIGIBLE, f"{state.eligible} of {state.desired} eligible{extra}{short}")


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


def _dated(build: BuildFact, now: datetime) -> str:
    return f"build {build.short}, {span(now - build.created_at)} ago"


def _waiting(facts: Facts) -> str:
    """How many messages wait in what nobody consumes, where Redis says so."""
    waiting = sum((facts.lock.waiting or {}).get(queue, 0) for queue in facts.processes.unserved)
    return f", {number(waiting, 'message')} waiting" if waiting else ""
