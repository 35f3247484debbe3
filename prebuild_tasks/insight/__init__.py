"""Read-only views of the installation: status, explain, plan, report, metrics, history, audit and doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.insight.audit_log import AuditFilter, list_audit
    from prebuild_tasks.insight.doctor.ask_api import check_api
    from prebuild_tasks.insight.doctor.examine import examine
    from prebuild_tasks.insight.doctor.facts import Examination, RedisFact
    from prebuild_tasks.insight.doctor.findings import Finding, Symptom
    from prebuild_tasks.insight.doctor.roles import check_role
    from prebuild_tasks.insight.doctor.rules import diagnose
    from prebuild_tasks.insight.explain.gather import Explained, explain_preset, look_at_turn
    from prebuild_tasks.insight.explain.remedies import Step
    from prebuild_tasks.insight.history import HistoryEvent, StoredEvent, read_history
    from prebuild_tasks.insight.history_pages import EventKey, ListedEvent, list_history
    from prebuild_tasks.insight.invariants import Violation, audit, audit_twice
    from prebuild_tasks.insight.metrics.exporter import Exporter, Reading, render, serve
    from prebuild_tasks.insight.metrics.read import Numbers
    from prebuild_tasks.insight.plan.make import Plan, make_plan
    from prebuild_tasks.insight.plan.rules import Cost, PoolPlan
    from prebuild_tasks.insight.report.advice import Recommendation
    from prebuild_tasks.insight.report.compile import compile_report
    from prebuild_tasks.insight.report.curves import PoolCurves, StockPoint, pool_curves
    from prebuild_tasks.insight.report.rules import DAYS, zone_of
    from prebuild_tasks.insight.report.store import Percentiles
    from prebuild_tasks.insight.report.types import Figures, PoolReport, Report
    from prebuild_tasks.insight.setting_views import SECRET_SETTINGS, SettingView, shown_settings, variable_of
    from prebuild_tasks.insight.short_ttl import short_ttls
    from prebuild_tasks.insight.status.availability import availability
    from prebuild_tasks.insight.status.lines import PoolLine, pool_lines, pool_state
    from prebuild_tasks.insight.status.listings import build_log, builds, read_build, read_workspace, workspaces
    from prebuild_tasks.insight.status.members import PoolMember, PoolMembers, ProbeOutcome, ProbeView, pool_members
    from prebuild_tasks.insight.status.pages import (
        CreatedKey,
        ListedPool,
        PoolKey,
        find_pool,
        list_builds,
        list_pools,
        list_workspaces,
        read_owned,
        read_pool,
    )
    from prebuild_tasks.insight.status.pools import pools
    from prebuild_tasks.insight.status.problems import read_problems
    from prebuild_tasks.insight.status.rules import PoolProblem, may_become_usable
    from prebuild_tasks.insight.status.served import served_output
    from prebuild_tasks.insight.status.versions import VersionView, versions
    from prebuild_tasks.insight.status.views import (
        BuildView,
        LogPage,
        PoolAvailability,
        PoolCheck,
        PoolStatus,
        WorkspaceView,
    )
    from prebuild_tasks.insight.status.wait_line import WaitView, list_waiting
    from prebuild_tasks.insight.status.waiting import wait_until_usable
    from prebuild_tasks.insight.status.week import PoolWeek, SizeSpan, pool_week

__all__ = [
    "DAYS",
    "SECRET_SETTINGS",
    "AuditFilter",
    "BuildView",
    "Cost",
    "CreatedKey",
    "EventKey",
    "Examination",
    "Explained",
    "Exporter",
    "Figures",
    "Finding",
    "HistoryEvent",
    "ListedEvent",
    "ListedPool",
    "LogPage",
    "Numbers",
    "Percentiles",
    "Plan",
    "PoolAvailability",
    "PoolCheck",
    "PoolCurves",
    "PoolKey",
    "PoolLine",
    "PoolMember",
    "PoolMembers",
    "PoolPlan",
    "PoolProblem",
    "PoolReport",
    "PoolStatus",
    "PoolWeek",
    "ProbeOutcome",
    "ProbeView",
    "Reading",
    "Recommendation",
    "RedisFact",
    "Report",
    "SettingView",
    "SizeSpan",
    "Step",
    "StockPoint",
    "StoredEvent",
    "Symptom",
    "VersionView",
    "Violation",
    "WaitView",
    "WorkspaceView",
    "audit",
    "audit_twice",
    "availability",
    "build_log",
    "builds",
    "check_api",
    "check_role",
    "compile_report",
    "diagnose",
    "examine",
    "explain_preset",
    "find_pool",
    "list_audit",
    "list_builds",
    "list_history",
    "list_pools",
    "list_waiting",
    "list_workspaces",
    "look_at_turn",
    "make_plan",
    "may_become_usable",
    "pool_curves",
    "pool_lines",
    "pool_members",
    "pool_state",
    "pool_week",
    "pools",
    "read_build",
    "read_history",
    "read_owned",
    "read_pool",
    "read_problems",
    "read_workspace",
    "render",
    "serve",
    "served_output",
    "short_ttls",
    "shown_settings",
    "variable_of",
    "versions",
    "wait_until_usable",
    "workspaces",
    "zone_of",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "audit_log": ("AuditFilter", "list_audit"),
            "doctor.ask_api": ("check_api",),
            "doctor.examine": ("examine",),
            "doctor.facts": (
                "Examination",
                "RedisFact",
            ),
            "doctor.findings": ("Finding", "Symptom"),
            "doctor.roles": ("check_role",),
            "doctor.rules": ("diagnose",),
            "explain.gather": (
                "Explained",
                "explain_preset",
                "look_at_turn",
            ),
            "explain.remedies": ("Step",),
            "history": (
                "HistoryEvent",
                "StoredEvent",
                "read_history",
            ),
            "invariants": (
                "Violation",
                "audit",
                "audit_twice",
            ),
            "metrics.exporter": (
                "Exporter",
                "Reading",
                "render",
                "serve",
            ),
            "metrics.read": ("Numbers",),
            "plan.make": (
                "Plan",
                "make_plan",
            ),
            "plan.rules": (
                "Cost",
                "PoolPlan",
            ),
            "report.advice": ("Recommendation",),
            "report.compile": ("compile_report",),
            "report.curves": (
                "PoolCurves",
                "StockPoint",
                "pool_curves",
            ),
            "report.rules": ("DAYS", "zone_of"),
            "report.store": ("Percentiles",),
            "report.types": (
                "Figures",
                "PoolReport",
                "Report",
            ),
            "short_ttl": ("short_ttls",),
            "status.availability": ("availability",),
            "status.lines": (
                "PoolLine",
                "pool_lines",
                "pool_state",
            ),
            "status.listings": (
                "build_log",
                "builds",
                "read_build",
                "read_workspace",
                "workspaces",
            ),
            "status.members": (
                "PoolMember",
                "PoolMembers",
                "ProbeOutcome",
                "ProbeView",
                "pool_members",
            ),
            "status.pools": ("pools",),
            "status.problems": ("read_problems",),
            "status.rules": ("PoolProblem", "may_become_usable"),
            "status.served": ("served_output",),
            "status.versions": (
                "VersionView",
                "versions",
            ),
            "status.views": (
                "BuildView",
                "LogPage",
                "PoolAvailability",
                "PoolCheck",
                "PoolStatus",
                "WorkspaceView",
            ),
            "status.wait_line": ("WaitView", "list_waiting"),
            "status.waiting": ("wait_until_usable",),
            "status.week": (
                "PoolWeek",
                "SizeSpan",
                "pool_week",
            ),
            "status.pages": (
                "CreatedKey",
                "ListedPool",
                "PoolKey",
                "find_pool",
                "list_builds",
                "list_pools",
                "list_workspaces",
                "read_owned",
                "read_pool",
            ),
            "history_pages": (
                "EventKey",
                "ListedEvent",
                "list_history",
            ),
            "setting_views": (
                "SECRET_SETTINGS",
                "SettingView",
                "shown_settings",
                "variable_of",
            ),
        },
    )
