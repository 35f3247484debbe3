"""Drive pools to their desired size: the tick, and the turns of presets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.reconcile.locks import Locks
    from prebuild_tasks.reconcile.loop import PoolReconciler
    from prebuild_tasks.reconcile.port import Reconciler, ReconciliationOrchestrator, TickNotDue, TickReport, TurnReport
    from prebuild_tasks.reconcile.rules.backoff import retry_at, slow_start_after
    from prebuild_tasks.reconcile.rules.contenders import contenders, shared_within
    from prebuild_tasks.reconcile.rules.decide import decide, order_presets
    from prebuild_tasks.reconcile.rules.limits import LimitReason, Limits, SharedLimit, share_limits
    from prebuild_tasks.reconcile.rules.model import (
        Action,
        BackOff,
        CancelPending,
        Create,
        GlobalSnapshot,
        Lock,
        PresetCounts,
        PresetSnapshot,
        RecentFailures,
        ReconciliationState,
        RunningPrebuild,
        Starts,
        Usage,
    )
    from prebuild_tasks.reconcile.rules.next_turn import NextTurn, next_turn
    from prebuild_tasks.reconcile.rules.reasons import Reason
    from prebuild_tasks.reconcile.rules.rollout import (
        ALONE,
        OtherVersions,
        PoolVersion,
    )
    from prebuild_tasks.reconcile.rules.schedule import (
        desired_at,
        find_overlap,
        has_usable_schedules,
        next_change,
        parse_cron,
        schedule_at,
    )
    from prebuild_tasks.reconcile.rules.shortage import WorkerAvailability, why_short
    from prebuild_tasks.reconcile.rules.state import desired_now
    from prebuild_tasks.reconcile.rules.wants import Quantities, Wanted, kept_claimable, wants
    from prebuild_tasks.reconcile.store.backoff import slow_start_after_sql
    from prebuild_tasks.reconcile.store.declared import WAS_UNHEALTHY, read_declared
    from prebuild_tasks.reconcile.store.expiry import fresh_since_sql, is_expired_sql, is_past_ttl_sql
    from prebuild_tasks.reconcile.store.in_flight import (
        InFlight,
        read_in_flight,
        read_sharers,
        read_usage,
        sharers_among,
    )
    from prebuild_tasks.reconcile.store.other_versions import (
        read_rolling,
        read_versions,
        second_choices,
        with_other_versions,
    )
    from prebuild_tasks.reconcile.store.snapshots import PoolRow, read_global, read_pools
    from prebuild_tasks.reconcile.store.write import set_preset_status

__all__ = [
    "ALONE",
    "WAS_UNHEALTHY",
    "Action",
    "BackOff",
    "CancelPending",
    "Create",
    "GlobalSnapshot",
    "InFlight",
    "LimitReason",
    "Limits",
    "Lock",
    "Locks",
    "NextTurn",
    "OtherVersions",
    "PoolReconciler",
    "PoolRow",
    "PoolVersion",
    "PresetCounts",
    "PresetSnapshot",
    "Quantities",
    "Reason",
    "RecentFailures",
    "Reconciler",
    "ReconciliationOrchestrator",
    "ReconciliationState",
    "RunningPrebuild",
    "SharedLimit",
    "Starts",
    "TickNotDue",
    "TickReport",
    "TurnReport",
    "Usage",
    "Wanted",
    "WorkerAvailability",
    "contenders",
    "decide",
    "desired_at",
    "desired_now",
    "find_overlap",
    "fresh_since_sql",
    "has_usable_schedules",
    "is_expired_sql",
    "is_past_ttl_sql",
    "kept_claimable",
    "next_change",
    "next_turn",
    "order_presets",
    "parse_cron",
    "read_declared",
    "read_global",
    "read_in_flight",
    "read_pools",
    "read_rolling",
    "read_sharers",
    "read_usage",
    "read_versions",
    "retry_at",
    "schedule_at",
    "second_choices",
    "set_preset_status",
    "share_limits",
    "shared_within",
    "sharers_among",
    "slow_start_after",
    "slow_start_after_sql",
    "wants",
    "why_short",
    "with_other_versions",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "locks": ("Locks",),
            "loop": ("PoolReconciler",),
            "port": (
                "Reconciler",
                "ReconciliationOrchestrator",
                "TickNotDue",
                "TickReport",
                "TurnReport",
            ),
            "rules.backoff": (
                "retry_at",
                "slow_start_after",
            ),
            "rules.contenders": (
                "contenders",
                "shared_within",
            ),
            "rules.decide": (
                "decide",
                "order_presets",
            ),
            "rules.limits": (
                "LimitReason",
                "Limits",
                "SharedLimit",
                "share_limits",
            ),
            "rules.model": (
                "Action",
                "BackOff",
                "CancelPending",
                "Create",
                "GlobalSnapshot",
                "Lock",
                "PresetCounts",
                "PresetSnapshot",
                "RecentFailures",
                "ReconciliationState",
                "RunningPrebuild",
                "Starts",
                "Usage",
            ),
            "rules.next_turn": (
                "NextTurn",
                "next_turn",
            ),
            "rules.reasons": ("Reason",),
            "rules.rollout": (
                "ALONE",
                "OtherVersions",
                "PoolVersion",
            ),
            "rules.schedule": (
                "desired_at",
                "find_overlap",
                "schedule_at",
                "has_usable_schedules",
                "next_change",
                "parse_cron",
            ),
            "rules.shortage": (
                "WorkerAvailability",
                "why_short",
            ),
            "rules.state": ("desired_now",),
            "rules.wants": (
                "Quantities",
                "Wanted",
                "kept_claimable",
                "wants",
            ),
            "store.backoff": ("slow_start_after_sql",),
            "store.declared": (
                "WAS_UNHEALTHY",
                "read_declared",
            ),
            "store.expiry": (
                "fresh_since_sql",
                "is_expired_sql",
                "is_past_ttl_sql",
            ),
            "store.in_flight": (
                "InFlight",
                "read_in_flight",
                "read_sharers",
                "read_usage",
                "sharers_among",
            ),
            "store.other_versions": (
                "read_rolling",
                "read_versions",
                "second_choices",
                "with_other_versions",
            ),
            "store.snapshots": (
                "PoolRow",
                "read_global",
                "read_pools",
            ),
            "store.write": ("set_preset_status",),
        },
    )
