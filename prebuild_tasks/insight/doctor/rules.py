"""Diagnose an installation: from the facts about it to findings, each with its remedy. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from prebuild_tasks.fleet import Liveness, Process
from prebuild_tasks.insight.doctor.door import door_findings
from prebuild_tasks.insight.doctor.facts import Examination, RedisFact, Trouble
from prebuild_tasks.insight.doctor.findings import Finding, Symptom
from prebuild_tasks.insight.doctor.pools import pool_findings
from prebuild_tasks.insight.doctor.roles import last_seen, of_role, span_of
from prebuild_tasks.insight.doctor.webhooks import webhook_findings
from prebuild_tasks.model.text import in_utc, number
from prebuild_tasks.remedies import Remedy, RemedyKind

CLOCK_SKEW_MAX = 5.0
"""Seconds by which this machine's clock may differ from the database's; only logs and people compare the two."""
REDIS_MIN = (6, 2)
"""The oldest release of Redis that was tested."""
REDIS_FILL_MAX = 0.9
"""The share of its maxmemory that Redis may use."""
DISK_FREE_MIN = 1 << 30
"""Bytes."""
FILES_FREE_MIN = 10_000


def diagnose(facts: Examination) -> list[Finding]:
    """Return everything that is wrong, causes first. What only follows from another finding is left out."""
    checks: tuple[Callable[[Examination], Iterator[Finding]], ...] = (
        _database,
        _redis,
        _disk,
        _ports,
        _processes,
        _queues,
        _tick,
        _clock,
        _declared,
        _silences,
        door_findings,
        webhook_findings,
        pool_findings,
    )
    return [finding for check in checks for finding in check(facts)]


def _database(facts: Examination) -> Iterator[Finding]:
    if facts.database:
        yield Finding(Symptom.DATABASE_UNREACHABLE, facts.database.message, facts.database.hint, facts.database.remedy)
    if facts.database_is_read_only:
        sentence = "the database takes no writes, as a standby or by its own settings"
        fix = "promote it, or point PREBUILD_DATABASE_URL at the primary; processes find it without a restart"
        yield Finding(Symptom.DATABASE_READ_ONLY, sentence, fix)
    if facts.pooler:
        yield Finding(Symptom.DATABASE_POOLER, facts.pooler.message, facts.pooler.hint)
    defaults = facts.role_defaults
    if defaults and defaults.differing:
        values = ", ".join(f"{name} {current or 'empty'}" for name, current in defaults.differing)
        sentence = f"statements through the connection pooler have unsuitable defaults of their user: {values}"
        fix = f"run in the database, then let the pooler reconnect: {defaults.statements}"
        yield Finding(Symptom.DATABASE_ROLE, sentence, fix)
    schema = facts.schema
    if schema and schema.current < schema.needed:
        state = f"is at schema {schema.current}" if schema.current else "has no prebuild tables yet"
        sentence = f"the database {state}; this release needs schema {schema.needed}"
        yield Finding(Symptom.SCHEMA_BEHIND, sentence, remedy=Remedy(RemedyKind.UPGRADE_SCHEMA))
    elif schema and schema.needed < schema.serves_from:
        sentence = (
            f"this release is too old: it uses schema {schema.needed}, and the database supports only "
            f"{schema.serves_from} and later"
        )
        yield Finding(Symptom.SCHEMA_AHEAD, sentence, "install the release that the other workers run")


def _redis(facts: Examination) -> Iterator[Finding]:
    redis = facts.redis
    if isinstance(redis, Trouble):
        yield Finding(Symptom.REDIS_UNREACHABLE, redis.message, redis.hint, redis.remedy)
    if not isinstance(redis, RedisFact):
        return
    if redis.policy != "noeviction":
        sentence = f"Redis may evict queued messages and locks: its maxmemory-policy is {redis.policy}"
        yield Finding(Symptom.REDIS_EVICTS, sentence, remedy=Remedy(RemedyKind.FORBID_REDIS_EVICTION))
    if redis.limit and redis.used > redis.limit * REDIS_FILL_MAX:
        sentence = f"Redis has used {redis.used / redis.limit:.0%} of its maxmemory and will soon refuse messages"
        hint = "raise maxmemory, and find out what fills it"
        yield Finding(Symptom.REDIS_FULL, sentence, hint, Remedy(RemedyKind.FIND_LARGE_REDIS_KEYS))
    if redis.not_writable:
        sentence = f"Redis refuses writes: {redis.not_writable}"
        yield Finding(Symptom.REDIS_READ_ONLY, sentence, remedy=Remedy(RemedyKind.SHOW_REDIS_STATE))
    if redis.not_saved:
        sentence = f"Redis could not write its {redis.not_saved}, as on a full disk: it loses messages when it ends"
        yield Finding(Symptom.REDIS_FULL, sentence, "free some space on its disk, and read its log")
    if _numbers(redis.version) < REDIS_MIN:
        oldest = ".".join(map(str, REDIS_MIN))
        sentence = f"Redis {redis.version} is older than {oldest}, the oldest release that was tested"
        hint = "upgrade it, or use the Redis that the project starts"
        yield Finding(Symptom.REDIS_OLD, sentence, hint, Remedy(RemedyKind.START_EVERYTHING))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _disk(facts: Examination) -> Iterator[Finding]:
    disk = facts.disk
    if disk is None:
        return
    if not disk.writable:
        sentence = f"this user cannot write to {disk.path}"
        remedy = Remedy(RemedyKind.MAKE_DATA_DIR_WRITABLE, disk.path)
        yield Finding(Symptom.DATA_DIR_UNWRITABLE, sentence, remedy=remedy)
    few = disk.free_files is not None and disk.free_files < FILES_FREE_MIN
    if disk.free_bytes < DISK_FREE_MIN or few:
        left = f"room for {disk.free_files} files" if few else f"{disk.free_bytes / 1024**2:.0f} MiB"
        sentence = f"the disk of {disk.path} is nearly full: {left} left"
        yield Finding(Symptom.DISK_FULL, sentence, "free some space", Remedy(RemedyKind.SHOW_DISK_USE))


def _ports(facts: Examination) -> Iterator[Finding]:
    if facts.short_ports:
        sentence = (
            f"the ports {facts.short_ports} of this machine are too few: a port went to another workspace before its "
            "rest ended, so an old address may lead to somebody else's workspace"
        )
        yield Finding(Symptom.PORTS_SHORT, sentence, "widen PREBUILD_WORKSPACE_PORTS, or shorten PREBUILD_PORT_REST")


def _processes(facts: Examination) -> Iterator[Finding]:
    life = facts.liveness
    if life is None:
        return
    if not any(life.serving(queue) for queue in facts.control_queues):
        sentence = "so pools are not being reconciled"
        yield _missing(life, "worker", Symptom.NO_WORKER, sentence, RemedyKind.START_WORKER)
    if not life.serving(facts.builds_queue):
        sentence = "so nothing is built or deleted"
        yield _missing(life, "builds", Symptom.NO_BUILDS_WORKER, sentence, RemedyKind.START_BUILDS_WORKER)
    beats = _concurrent(life.alive("beat"))
    if not beats:
        seen = last_seen(of_role(life, "beat"))
        sentence = f"no scheduler (beat) is running, so pools are not being refilled; {seen}"
        yield Finding(Symptom.NO_BEAT, sentence, remedy=Remedy(RemedyKind.START_BEAT))
    elif len(beats) > 1:
        hosts = ", ".join(f"{beat.host} (process {beat.pid})" for beat in beats)
        sentence = (
            f"{len(beats)} schedulers (beat) are running, on {hosts}: ticks are not doubled, but sweeps and probes are"
        )
        hint = f"stop all but one, e.g. process {beats[0].pid} on {beats[0].host}"
        yield Finding(Symptom.TWO_BEATS, sentence, hint, Remedy(RemedyKind.STOP_PROCESS, str(beats[0].pid)))


def _missing(life: Liveness, role: str, symptom: Symptom, effect: str, start: RemedyKind) -> Finding:
    kind = {"worker": "control worker", "builds": "builds worker"}[role]
    if waiting := life.disconnected(role):
        where = ", ".join(sorted({process.host for process in waiting}))
        refused = f"Redis refuses {len(waiting)} on {where}, or is away"
        sentence = f"no {kind} is running with a connection to Redis, {effect}; {refused}"
        return Finding(symptom, sentence, "read the worker's log; it consumes again as soon as Redis lets it")
    seen = last_seen(of_role(life, role))
    return Finding(symptom, f"no {kind} is running, {effect}; {seen}", remedy=Remedy(start))


def _concurrent(beats: Sequence[Process]) -> list[Process]:
    """Leave out beats that were killed and have a successor: those not seen since the youngest one started."""
    youngest = max((beat.started_at for beat in beats), default=None)
    return [beat for beat in beats if beat.started_at == youngest or (youngest and beat.seen_at > youngest)]


def _queues(facts: Examination) -> Iterator[Finding]:
    """Find single queues that no worker consumes.

    Where no worker is running at all, `_processes` says so.
    """
    life = facts.liveness
    if life is None:
        return
    if any(life.serving(queue) for queue in facts.control_queues):
        for queue in facts.control_queues:
            if not life.serving(queue):
                sentence = f"no worker consumes the queue {queue}{_waiting(facts, queue)}"
                yield Finding(Symptom.QUEUE_UNSERVED, sentence, remedy=Remedy(RemedyKind.SERVE_QUEUE, queue))
    if not life.serving(facts.builds_queue):
        return
    for host in sorted({*facts.bound_builds, *facts.workspaces_at}):
        if not life.serving(f"{facts.builds_queue}.{host}"):
            seen = last_seen([process for process in of_role(life, "builds") if process.host == host])
            builds, there = facts.bound_builds.get(host), facts.workspaces_at.get(host)
            only = f"{number(builds, 'build')} can run only on the host {host}" if builds else ""
            only = only or f"{number(there or 0, 'workspace')} can be reached only on the host {host}"
            sentence = f"{only}, and its builds worker is not running; {seen}"
            remedy = Remedy(RemedyKind.RESTART_OR_FORGET_HOST, host)
            yield Finding(Symptom.HOST_SILENT, sentence, remedy=remedy)


def _waiting(facts: Examination, queue: str) -> str:
    count = facts.waiting.get(queue)
    return f", where {_wait(count)}" if count else ""


def _wait(count: int) -> str:
    return f"{number(count, 'message')} {'waits' if count == 1 else 'wait'}"


def _tick(facts: Examination) -> Iterator[Finding]:
    """Find a loop that has stopped although beat, the workers and Redis are there."""
    life = facts.liveness
    if life is None or not life.is_stuck or isinstance(facts.redis, Trouble):
        return
    if not all(life.serving(queue) for queue in facts.control_queues):
        return
    age = "no tick has ever ended" if life.tick_age is None else f"the last tick ended {span_of(life.tick_age)} ago"
    queue = facts.control_queues[-1]
    count = facts.waiting.get(queue)
    waiting = f"; {_wait(count)} in the queue {queue}" if count else ""
    sentence = f"{age} although beat and a control worker are running: one of them hangs or cannot reach Redis{waiting}"
    hint = "restart beat and the worker, and read their logs; then reconcile"
    yield Finding(Symptom.TICK_STALE, sentence, hint, Remedy(RemedyKind.RECONCILE))


def _clock(facts: Examination) -> Iterator[Finding]:
    if facts.clock_skew is not None and abs(facts.clock_skew) > CLOCK_SKEW_MAX:
        direction = "ahead of" if facts.clock_skew > 0 else "behind"
        sentence = f"this machine's clock is {span_of(abs(facts.clock_skew))} {direction} the database's"
        hint = "synchronise both with NTP"
        yield Finding(Symptom.CLOCK_SKEW, sentence, hint, Remedy(RemedyKind.SHOW_CLOCK_STATE))


def _declared(facts: Examination) -> Iterator[Finding]:
    for preset, zone in sorted(facts.bad_timezones.items(), key=lambda item: str(item[0])):
        sentence = f"the timezone {zone} of {preset} is unknown on this machine, so its schedules are ignored"
        yield Finding(Symptom.TIMEZONE_UNKNOWN, sentence, remedy=Remedy(RemedyKind.UPDATE_TIMEZONES))
    for item in facts.provisioners:
        if item.trouble is None:
            continue
        templates = ", ".join(item.templates)
        if item.unknown:
            sentence = f"{item.trouble.message}, which {templates} needs ({item.trouble.hint})"
            hint = f"install {item.name} where workers run, or correct the pools file and apply it"
            yield Finding(Symptom.PROVISIONER_UNKNOWN, sentence, hint, Remedy(RemedyKind.APPLY_POOLS_FILE))
        else:
            sentence = f"the provisioner {item.name} of {templates} fails: {item.trouble.message}"
            hint, remedy = item.trouble.hint, item.trouble.remedy
            if not (hint or remedy):
                hint, remedy = "fix it, and check again", Remedy(RemedyKind.DIAGNOSE)
            yield Finding(Symptom.PROVISIONER_FAILS, sentence, hint, remedy)


def _silences(facts: Examination) -> Iterator[Finding]:
    """Find provisioners that workers could not ask, and prebuilds of which nobody can tell whether they are lost."""
    for item in facts.silences:
        if item.is_silent:
            parts = [number(item.probes, "probe")] if item.probes else []
            parts += [number(item.lists, "list")] if item.lists else []
            parts += [f"{number(item.builds, 'build')} on hold"] if item.builds else []
            since = f" since {in_utc(item.since)}" if item.since else ""
            sentence = (
                f"the provisioner {item.provisioner} could not be asked{since} ({', '.join(parts)}): {item.message}"
            )
            fix = "make what is behind it answer; its prebuilds stay as they are, and the builds then go on"
            yield Finding(Symptom.PROVISIONER_UNREACHABLE, sentence, fix)
        if item.waiting:
            who = number(item.waiting, "prebuild")
            sentence = f"{who} missing from the list of the provisioner {item.provisioner}, and no probe can tell more"
            fix = "if they are really lost, confirm it"
            yield Finding(Symptom.PREBUILDS_MISSING, sentence, fix, Remedy(RemedyKind.CONFIRM_LOSS))
