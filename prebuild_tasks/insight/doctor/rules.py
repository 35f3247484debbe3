"""What is wrong with an installation, and the remedy: facts in, findings out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from prebuild_tasks.fleet import Liveness, Process
from prebuild_tasks.model.text import number, span
from prebuild_tasks.remedies import Remedy, RemedyKind

CLOCK_SKEW_MAX = 5.0
"""Seconds that this machine's clock may be off the database's: only logs and people compare the two."""
REDIS_MIN = (6, 2)
"""The oldest release that was tried."""
REDIS_FILL_MAX = 0.9
DISK_FREE_MIN = 1 << 30
FILES_FREE_MIN = 10_000


class Symptom(StrEnum):
    """What can be wrong. A closed set: scripts read it."""

    DATABASE_UNREACHABLE = "database_unreachable"
    SCHEMA_BEHIND = "schema_behind"
    SCHEMA_AHEAD = "schema_ahead"
    REDIS_UNREACHABLE = "redis_unreachable"
    REDIS_EVICTS = "redis_evicts"
    REDIS_FULL = "redis_full"
    REDIS_READ_ONLY = "redis_read_only"
    REDIS_OLD = "redis_old"
    CLOCK_SKEW = "clock_skew"
    NO_WORKER = "no_worker"
    NO_BUILDS_WORKER = "no_builds_worker"
    NO_BEAT = "no_beat"
    TWO_BEATS = "two_beats"
    QUEUE_UNSERVED = "queue_unserved"
    HOST_SILENT = "host_silent"
    TICK_STALE = "tick_stale"
    TIMEZONE_UNKNOWN = "timezone_unknown"
    PROVISIONER_UNKNOWN = "provisioner_unknown"
    PROVISIONER_FAILS = "provisioner_fails"
    DATA_DIR_UNWRITABLE = "data_dir_unwritable"
    DISK_FULL = "disk_full"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: a sentence that names the cause, and what to do next."""

    symptom: Symptom
    sentence: str
    hint: str = ""
    """What to do, in words that name no command; before a remedy, its introduction."""
    remedy: Remedy | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a part said instead of answering."""

    words: str
    hint: str = ""
    remedy: Remedy | None = None


@dataclass(frozen=True, slots=True)
class SchemaFact:
    """Revisions: the database's, the one this release needs, and the lowest that the database still serves."""

    current: str
    needed: str
    serves_from: str = ""


@dataclass(frozen=True, slots=True)
class RedisFact:
    """What Redis says of itself."""

    version: str
    policy: str
    """`maxmemory-policy`."""
    used: int = 0
    limit: int = 0
    """Bytes; 0: none."""
    writable: str = ""
    """Why it takes no writes; empty: it does."""


@dataclass(frozen=True, slots=True)
class ProvisionerFact:
    """A provisioner that declared templates name, and what it said when it was asked."""

    name: str
    templates: tuple[str, ...]
    trouble: Trouble | None = None
    unknown: bool = False
    """It is not installed here."""


@dataclass(frozen=True, slots=True)
class DiskFact:
    """Where servers, logs and workspaces are kept on this machine."""

    path: str
    writable: bool
    free_bytes: int
    free_files: int | None = None
    """None: the file system does not count them."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that was found out; what could not be asked is None or empty, and is judged by its own trouble."""

    control_queues: tuple[str, ...]
    """Full names."""
    builds_queue: str
    database: Trouble | None = None
    schema: SchemaFact | None = None
    redis: Trouble | RedisFact | None = None
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Messages by the full name of their queue."""
    clock_skew: float | None = None
    """Seconds that this machine is ahead of the database."""
    liveness: Liveness | None = None
    bound_builds: Mapping[str, int] = field(default_factory=dict)
    """Pending builds that only this host can do."""
    bad_timezones: Mapping[str, str] = field(default_factory=dict)
    """Zones that can't be loaded on this machine, by preset."""
    provisioners: Sequence[ProvisionerFact] = ()
    disk: DiskFact | None = None
    paused_by: str = ""
    """Who paused everything; no fault, but worth telling whoever looks for one."""


def diagnose(facts: Facts) -> list[Finding]:
    """Everything that is wrong, causes before what follows from them; a mere consequence is left out."""
    checks: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
        _database,
        _redis,
        _disk,
        _processes,
        _queues,
        _tick,
        _clock,
        _declared,
    )
    return [finding for check in checks for finding in check(facts)]


def heard_of(processes: Sequence[Process]) -> str:
    """When the last of them was heard of, and where."""
    if not processes:
        return "none has been heard of"
    last = min(processes, key=lambda process: process.age)
    return f"the last was heard of {_span(last.age)} ago on {last.host}"


def _span(seconds: float) -> str:
    return span(timedelta(seconds=seconds))


def _database(facts: Facts) -> Iterator[Finding]:
    if facts.database:
        yield Finding(Symptom.DATABASE_UNREACHABLE, facts.database.words, facts.database.hint, facts.database.remedy)
    schema = facts.schema
    if schema and schema.current < schema.needed:
        found = f"is at schema {schema.current}" if schema.current else "has no prebuild tables yet"
        sentence = f"the database {found}, this release needs {schema.needed}"
        yield Finding(Symptom.SCHEMA_BEHIND, sentence, remedy=Remedy(RemedyKind.UPGRADE_SCHEMA))
    elif schema and schema.needed < schema.serves_from:
        sentence = f"this release is of schema {schema.needed}, the database serves {schema.serves_from} and later"
        yield Finding(Symptom.SCHEMA_AHEAD, sentence, "install the release that the other workers run")


def _redis(facts: Facts) -> Iterator[Finding]:
    redis = facts.redis
    if isinstance(redis, Trouble):
        yield Finding(Symptom.REDIS_UNREACHABLE, redis.words, redis.hint, redis.remedy)
    if not isinstance(redis, RedisFact):
        return
    if redis.policy != "noeviction":
        sentence = f"Redis may throw queued messages and locks away: its maxmemory-policy is {redis.policy}"
        fix = "run: redis-cli config set maxmemory-policy noeviction, and write the same into its configuration"
        yield Finding(Symptom.REDIS_EVICTS, sentence, fix)
    if redis.limit and redis.used > redis.limit * REDIS_FILL_MAX:
        sentence = f"Redis has used {redis.used / redis.limit:.0%} of its maxmemory: soon it refuses messages"
        yield Finding(Symptom.REDIS_FULL, sentence, "raise maxmemory, and see what fills it: redis-cli --bigkeys")
    if redis.writable:
        sentence = f"Redis takes no writes: {redis.writable}"
        yield Finding(Symptom.REDIS_READ_ONLY, sentence, "see: redis-cli info, and the log of Redis")
    if _numbers(redis.version) < REDIS_MIN:
        oldest = ".".join(map(str, REDIS_MIN))
        sentence = f"Redis {redis.version} is older than {oldest}, the oldest that was tried"
        fix = "upgrade it, or use the one that comes with"
        yield Finding(Symptom.REDIS_OLD, sentence, fix, Remedy(RemedyKind.START_EVERYTHING))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _disk(facts: Facts) -> Iterator[Finding]:
    disk = facts.disk
    if disk is None:
        return
    if not disk.writable:
        sentence = f"{disk.path} can't be written to by this user"
        yield Finding(
            Symptom.DATA_DIR_UNWRITABLE, sentence, f"run: chown -R $(id -u) {disk.path}, or set PREBUILD_DATA_DIR"
        )
    few = disk.free_files is not None and disk.free_files < FILES_FREE_MIN
    if disk.free_bytes < DISK_FREE_MIN or few:
        left = f"room for {disk.free_files} files" if few else f"{disk.free_bytes / 1024**2:.0f} MiB"
        sentence = f"the disk of {disk.path} is nearly full: {left} left"
        yield Finding(Symptom.DISK_FULL, sentence, "make room; what takes it", Remedy(RemedyKind.SHOW_DISK_USE))


def _processes(facts: Facts) -> Iterator[Finding]:
    life = facts.liveness
    if life is None:
        return
    if not any(life.serving(queue) for queue in facts.control_queues):
        sentence = f"no control worker is alive: nothing is decided; {heard_of(_of(life, 'worker'))}"
        yield Finding(Symptom.NO_WORKER, sentence, remedy=Remedy(RemedyKind.START_WORKER))
    if not life.serving(facts.builds_queue):
        sentence = f"no builds worker is alive: nothing is built or deleted; {heard_of(_of(life, 'builds'))}"
        yield Finding(Symptom.NO_BUILDS_WORKER, sentence, remedy=Remedy(RemedyKind.START_BUILDS_WORKER))
    beats = _at_once(life.alive("beat"))
    if not beats:
        sentence = f"no beat is alive: no tick comes; {heard_of(_of(life, 'beat'))}"
        yield Finding(Symptom.NO_BEAT, sentence, remedy=Remedy(RemedyKind.START_BEAT))
    elif len(beats) > 1:
        places = ", ".join(f"{beat.host} (process {beat.pid})" for beat in beats)
        sentence = f"{len(beats)} beats run, on {places}: ticks stay single, sweeps and probes are sent twice"
        yield Finding(Symptom.TWO_BEATS, sentence, f"stop all but one, e.g. on {beats[0].host}: kill {beats[0].pid}")


def _of(life: Liveness, role: str) -> list[Process]:
    return [process for process in life.processes if process.role == role]


def _at_once(beats: Sequence[Process]) -> list[Process]:
    """Without those that were killed and have a successor: silent since before the youngest began."""
    youngest = max((beat.started_at for beat in beats), default=None)
    return [beat for beat in beats if beat.started_at == youngest or (youngest and beat.seen_at > youngest)]


def _queues(facts: Facts) -> Iterator[Finding]:
    """Single queues that were forgotten; where nobody is there at all, that is said already."""
    life = facts.liveness
    if life is None:
        return
    if any(life.serving(queue) for queue in facts.control_queues):
        for queue in facts.control_queues:
            if not life.serving(queue):
                sentence = f"nobody consumes the queue {queue}{_waiting(facts, queue)}"
                fix = "add it to a worker's -Q"
                yield Finding(Symptom.QUEUE_UNSERVED, sentence, fix, Remedy(RemedyKind.START_WORKER))
    if not life.serving(facts.builds_queue):
        return
    for host, count in sorted(facts.bound_builds.items()):
        if not life.serving(f"{facts.builds_queue}.{host}"):
            words = heard_of([process for process in _of(life, "builds") if process.host == host])
            sentence = f"only the host {host} can do {number(count, 'build')}, and its builds worker is silent; {words}"
            remedy = Remedy(RemedyKind.RESTART_OR_FORGET_HOST, host)
            yield Finding(Symptom.HOST_SILENT, sentence, remedy=remedy)


def _waiting(facts: Facts, queue: str) -> str:
    count = facts.waiting.get(queue)
    return f", in which {number(count, 'message')} lie" if count else ""


def _tick(facts: Facts) -> Iterator[Finding]:
    """Only where nothing explains it: without beat, a worker or Redis there can be none."""
    life = facts.liveness
    if life is None or not life.is_stuck or isinstance(facts.redis, Trouble):
        return
    if not all(life.serving(queue) for queue in facts.control_queues):
        return
    age = "no tick has ever ended" if life.tick_age is None else f"the last tick ended {_span(life.tick_age)} ago"
    busy = "".join(_waiting(facts, queue) for queue in facts.control_queues[-1:])
    sentence = f"{age}{busy}, though beat and a control worker are alive: one of them hangs, or can't reach Redis"
    fix = "restart beat and the worker, and read their logs; then"
    yield Finding(Symptom.TICK_STALE, sentence, fix, Remedy(RemedyKind.RECONCILE))


def _clock(facts: Facts) -> Iterator[Finding]:
    if facts.clock_skew is not None and abs(facts.clock_skew) > CLOCK_SKEW_MAX:
        how = "ahead of" if facts.clock_skew > 0 else "behind"
        sentence = f"this machine's clock is {_span(abs(facts.clock_skew))} {how} the database's"
        yield Finding(Symptom.CLOCK_SKEW, sentence, "set both by NTP; see: timedatectl status")


def _declared(facts: Facts) -> Iterator[Finding]:
    for preset, zone in sorted(facts.bad_timezones.items()):
        sentence = f"the timezone {zone} of {preset} is unknown here: its schedules do not hold"
        fix = "update the zones (pip install -U tzdata), or correct it in the pools file and"
        yield Finding(Symptom.TIMEZONE_UNKNOWN, sentence, fix, Remedy(RemedyKind.APPLY_POOLS_FILE))
    for item in facts.provisioners:
        if item.trouble is None:
            continue
        templates = ", ".join(item.templates)
        if item.unknown:
            sentence = f"{item.trouble.words}, which {templates} asks for ({item.trouble.hint})"
            fix = f"install {item.name} where workers run, or correct the pools file and"
            yield Finding(Symptom.PROVISIONER_UNKNOWN, sentence, fix, Remedy(RemedyKind.APPLY_POOLS_FILE))
        else:
            sentence = f"the provisioner {item.name} of {templates} fails: {item.trouble.words}"
            hint, remedy = item.trouble.hint, item.trouble.remedy
            if not (hint or remedy):
                hint, remedy = "mend it, and look again", Remedy(RemedyKind.DIAGNOSE)
            yield Finding(Symptom.PROVISIONER_FAILS, sentence, hint, remedy)


def judge_role(life: Liveness, role: str, queue: str, *, host: str = "", machine: str = "") -> tuple[bool, str]:
    """Whether a process of the role is alive (on the host and machine, where these are given), and a sentence.

    `queue`: the one it must consume; of beat, empty. A beat whose ticks do not come though a worker is there is stuck.
    """

    def here(process: Process) -> bool:
        on_machine = not machine or process.machine in ("", machine)
        return (not host or process.host == host) and on_machine

    kind = {"worker": "control worker", "builds": "builds worker"}.get(role, role)
    place = f" on {host}" if host else ""
    living = [process for process in (life.serving(queue) if queue else life.alive(role)) if here(process)]
    if not living:
        return False, f"no {kind} is alive{place}; {heard_of([item for item in _of(life, role) if here(item)])}"
    if role == "beat" and life.is_stuck:
        age = "ever ended" if life.tick_age is None else f"ended for {_span(life.tick_age)}"
        return False, f"beat is there{place}, but no tick has {age}"
    first = min(living, key=lambda process: process.age)
    return True, f"{kind}{place} is alive, heard of {_span(first.age)} ago (process {first.pid})"
