"""Remedies of problems, as a closed set: a face spells each remedy for its users.

Beside `errors`, below every package, because errors and settings name remedies too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RemedyKind(StrEnum):
    """What to do next. A closed set: every face has words for each member."""

    START_EVERYTHING = "start_everything"
    """Redis, a control worker, a builds worker and beat, on one machine."""
    START_WORKER = "start_control_worker"
    START_BUILDS_WORKER = "start_builds_worker"
    START_BEAT = "start_beat"
    START_REDIS = "start_redis"
    RESTART_OR_FORGET_HOST = "restart_or_forget_host"
    """Subject: the host whose builds worker is silent."""
    FORGET_HOST_AND_CLAIMED = "forget_host_and_its_claimed_workspaces"
    """Subject: the host."""
    CREATE_DATABASE = "create_database"
    UPGRADE_SCHEMA = "upgrade_schema"
    SHOW_SETTINGS = "show_settings"
    SHOW_FILE_SCHEMA = "show_schema_of_pools_file"
    APPLY_POOLS_FILE = "apply_pools_file"
    PLAN_POOLS_FILE = "plan_pools_file"
    LIST_POOLS = "list_pools"
    EXPLAIN_POOL = "explain_pool"
    """Subject: the pool; empty: any."""
    RECONCILE = "reconcile"
    """Subject: the pool; empty: all of them."""
    RESUME = "resume"
    """Subject: the pool; empty: everything is paused."""
    UNBLOCK_POOL = "unblock_pool"
    """Subject: the pool."""
    PROMOTE_VERSION = "promote_version"
    """Subject: the template."""
    CLAIM_WORKSPACE = "claim_workspace"
    RELEASE_WORKSPACE = "release_workspace"
    DELETE_WORKSPACE = "delete_workspace"
    """Subject: the workspace."""
    LIST_WORKSPACES = "list_workspaces"
    SHOW_DISK_USE = "show_disk_use_of_workspaces"
    LIST_BUILDS = "list_builds"
    """Subject: the pool; empty: all builds."""
    LIST_RUNNING_BUILDS = "list_running_builds"
    LIST_FAILED_BUILDS = "list_failed_builds"
    SHOW_LOG = "show_log"
    """Subject: the build or the workspace."""
    FOLLOW_LOG = "follow_log"
    """Subject: the build or the workspace."""
    DIAGNOSE = "diagnose_installation"
    MOVE_EXPORTER = "serve_metrics_elsewhere"
    FIND_LARGE_REDIS_KEYS = "find_the_large_keys_in_redis"
    WAIT_FOR_WORKSPACE = "wait_for_workspace"
    """Repeat the claim as one that waits: a workspace is built if none is ready."""
    NAME_OWNER = "name_the_owner"
    CHOOSE_OTHER_NAME = "choose_another_name_or_leave_it_out"
    REPEAT_REQUEST = "repeat_request"
    """Subject: the id of the claim's request."""
    APPLY_AS_SOURCE = "apply_as_source"
    """Subject: the source that declares the template. Or that source drops it first, and prunes."""
    CONFIRM_DELETION = "confirm_deletion"
    CORRECT_PERIOD = "begin_the_period_before_its_end_and_not_in_the_future"


@dataclass(frozen=True, slots=True)
class Remedy:
    """An action that solves a problem, and the object that it is applied to."""

    kind: RemedyKind
    subject: str = ""
    """The name of the pool, workspace, build, host or template; empty where the kind needs none."""
    version: str = ""
    """The template version to promote; empty for every other kind."""

    def __str__(self) -> str:
        """Return plain words, for logs and for who prints an error in Python."""
        return " ".join(part for part in (self.kind.value.replace("_", " "), self.subject, self.version) if part)
