"""The findings of a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from prebuild_tasks.remedies import Remedy


class Symptom(StrEnum):
    """The code of a finding. A closed set, because scripts read it."""

    DATABASE_UNREACHABLE = "database_unreachable"
    DATABASE_READ_ONLY = "database_read_only"
    DATABASE_POOLER = "database_pooler"
    DATABASE_ROLE = "database_role"
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
    PROVISIONER_UNREACHABLE = "provisioner_unreachable"
    PREBUILDS_MISSING = "prebuilds_missing"
    DATA_DIR_UNWRITABLE = "data_dir_unwritable"
    DISK_FULL = "disk_full"
    PORTS_SHORT = "ports_short"
    API_UNREACHABLE = "api_unreachable"
    METRICS_OPEN = "metrics_open"
    TOKEN_EXPIRES = "token_expires"
    EVENTS_NOT_NUMBERED = "events_not_numbered"
    NO_WEBHOOKS_WORKER = "no_webhooks_worker"
    DELIVERIES_DEAD = "deliveries_dead"
    POOL_BLOCKED = "pool_blocked"
    """Nothing is built for it until a person acts."""
    POOL_EMPTY = "pool_empty"
    """Nothing can be claimed from it, for longer than it usually takes until a prebuild is ready."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: a sentence that names the cause, and what to do about it."""

    symptom: Symptom
    sentence: str
    hint: str = ""
    """What to do, as a sentence that does not name a command; empty: the remedy says it."""
    remedy: Remedy | None = None
