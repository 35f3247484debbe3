"""Change workspaces: create and end their builds, hand them over, release them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.workspaces.extension import extend, extend_once, extend_until
    from prebuild_tasks.workspaces.follow_ups import FollowUp, NewBuild, publish_builds, send_in_time
    from prebuild_tasks.workspaces.handover import awaiting_owner, claim_build, hand_over
    from prebuild_tasks.workspaces.new_builds import BuildOrigin, insert_builds
    from prebuild_tasks.workspaces.organizations import follow_templates
    from prebuild_tasks.workspaces.outbox import (
        leave_to_upkeep,
        published_statement,
        send,
        send_turns_first,
        send_within,
        unpublished_statement,
    )
    from prebuild_tasks.workspaces.release import end_workspace
    from prebuild_tasks.workspaces.rules import (
        WAIT_REASON,
        handed_over,
        has_hook,
        is_pool_start,
        is_usable,
        unhealthy_claim,
        work_of,
        workspace_state,
    )
    from prebuild_tasks.workspaces.store import (
        handed_over_sql,
        has_hook_sql,
        is_awaited_sql,
        is_pool_start_sql,
        workspace_state_sql,
    )
    from prebuild_tasks.workspaces.transitions import (
        FailedBuild,
        cancel_pending,
        cancel_starts,
        choose_for_deletion,
        delete_workspaces,
        record_deletions,
        repeat_failed,
    )

__all__ = [
    "WAIT_REASON",
    "BuildOrigin",
    "FailedBuild",
    "FollowUp",
    "NewBuild",
    "awaiting_owner",
    "cancel_pending",
    "cancel_starts",
    "choose_for_deletion",
    "claim_build",
    "delete_workspaces",
    "end_workspace",
    "extend",
    "extend_once",
    "extend_until",
    "follow_templates",
    "hand_over",
    "handed_over",
    "handed_over_sql",
    "has_hook",
    "has_hook_sql",
    "insert_builds",
    "is_awaited_sql",
    "is_pool_start",
    "is_pool_start_sql",
    "is_usable",
    "leave_to_upkeep",
    "publish_builds",
    "published_statement",
    "record_deletions",
    "repeat_failed",
    "send",
    "send_in_time",
    "send_turns_first",
    "send_within",
    "unhealthy_claim",
    "unpublished_statement",
    "work_of",
    "workspace_state",
    "workspace_state_sql",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "follow_ups": (
                "FollowUp",
                "NewBuild",
                "publish_builds",
                "send_in_time",
            ),
            "handover": (
                "awaiting_owner",
                "claim_build",
                "hand_over",
            ),
            "new_builds": (
                "BuildOrigin",
                "insert_builds",
            ),
            "organizations": ("follow_templates",),
            "outbox": (
                "leave_to_upkeep",
                "published_statement",
                "send",
                "send_turns_first",
                "send_within",
                "unpublished_statement",
            ),
            "extension": (
                "extend",
                "extend_once",
                "extend_until",
            ),
            "release": ("end_workspace",),
            "rules": (
                "WAIT_REASON",
                "handed_over",
                "has_hook",
                "is_pool_start",
                "is_usable",
                "unhealthy_claim",
                "work_of",
                "workspace_state",
            ),
            "store": (
                "handed_over_sql",
                "has_hook_sql",
                "is_awaited_sql",
                "is_pool_start_sql",
                "workspace_state_sql",
            ),
            "transitions": (
                "FailedBuild",
                "cancel_pending",
                "cancel_starts",
                "choose_for_deletion",
                "delete_workspaces",
                "record_deletions",
                "repeat_failed",
            ),
        },
    )
