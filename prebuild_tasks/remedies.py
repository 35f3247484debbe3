"""Remedies of problems, as a closed set: a face spells each remedy for its users.

Beside `errors`, below every package, because errors and settings name remedies too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class RemedyKind(StrEnum):
    """What to do next. A closed set: every face has words for each member."""

    START_EVERYTHING = "start_everything"
    """Redis, a control worker, a builds worker and beat, on one machine."""
    START_WORKER = "start_control_worker"
    START_BUILDS_WORKER = "start_builds_worker"
    START_WEBHOOKS_WORKER = "start_webhooks_worker"
    START_BEAT = "start_beat"
    START_REDIS = "start_redis"
    START_WITH_INIT = "start_container_with_init"
    RESTART_OR_FORGET_HOST = "restart_or_forget_host"
    """Subject: the host whose builds worker is silent."""
    FORGET_HOST_AND_CLAIMED = "forget_host_and_its_claimed_workspaces"
    """Subject: the host."""
    CREATE_DATABASE = "create_database"
    CREATE_DATABASE_ON_SERVER = "create_database_on_server"
    UPGRADE_SCHEMA = "upgrade_schema"
    SHOW_SETTINGS = "show_settings"
    SHOW_FILE_SCHEMA = "show_schema_of_pools_file"
    APPLY_POOLS_FILE = "apply_pools_file"
    PLAN_POOLS_FILE = "plan_pools_file"
    LIST_POOLS = "list_pools"
    LIST_PROBLEMS = "list_pools_that_need_attention"
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
    FIND_BUILD_OF_POOL = "find_build_of_pool"
    """Subject: the pool."""
    SHOW_LOG = "show_log"
    """Subject: the build or the workspace."""
    FOLLOW_LOG = "follow_log"
    """Subject: the build or the workspace."""
    DIAGNOSE = "diagnose_installation"
    MOVE_EXPORTER = "serve_metrics_elsewhere"
    LOG_IN = "log_in_to_api"
    MOVE_SERVE = "serve_api_elsewhere"
    SERVE_SAFELY = "serve_api_with_tls_or_behind_a_proxy"
    MAKE_SECRET_KEY = "make_a_secret_key_and_name_its_file"
    """Subject: the file; empty: any."""
    PROTECT_FILE = "let_only_its_owner_read_the_file"
    """Subject: the file."""
    FIND_LARGE_REDIS_KEYS = "find_the_large_keys_in_redis"
    FORBID_REDIS_EVICTION = "forbid_eviction_in_redis"
    SHOW_REDIS_STATE = "show_state_of_redis"
    SERVE_QUEUE = "serve_queue"
    """Subject: the full name of the queue."""
    STOP_PROCESS = "stop_process"
    """Subject: the process id."""
    MAKE_DATA_DIR_WRITABLE = "make_data_directory_writable"
    """Subject: the directory."""
    SHOW_CLOCK_STATE = "show_state_of_clock"
    UPDATE_TIMEZONES = "update_timezones"
    WAIT_FOR_WORKSPACE = "wait_for_workspace"
    """Repeat the claim as one that waits: a workspace is built if none is ready."""
    NAME_OWNER = "name_the_owner"
    NAME_PRESET = "name_the_preset"
    CHOOSE_OTHER_NAME = "choose_another_name_or_leave_it_out"
    REPEAT_REQUEST = "repeat_request"
    """Subject: the id of the claim's request."""
    NEW_REQUEST = "make_a_new_request_id"
    """Subject: the workspace that was to be extended; empty: one was to be claimed."""
    APPLY_AS_SOURCE = "apply_as_source"
    """Subject: the source that declares the template. Or that source drops it first, and prunes."""
    CONFIRM_DELETION = "confirm_deletion"
    CONFIRM_LOSS = "confirm_loss"
    """What waits for a confirmation: strays to be removed, and missing prebuilds to be replaced."""
    SWEEP = "look_for_strays"
    CORRECT_PERIOD = "begin_the_period_before_its_end_and_not_in_the_future"
    ADOPT_STRAY = "give_stray_back"
    """Subject: the workspace id in the stray's mark. So it is for the three below."""
    ADOPT_STRAY_AS_OWNER = "give_stray_back_to_a_named_owner"
    REMOVE_STRAY = "remove_stray"
    REMOVE_STRAY_AS_OWNER = "remove_stray_in_the_name_of_its_owner"
    SHOW_HISTORY = "show_history"
    """Subject: the workspace."""
    NAME_OWNER_OF_TOKEN = "name_the_owner_of_the_token_or_any_owner"
    CREATE_TOKEN = "create_token"
    ROTATE_TOKEN = "rotate_token"
    """Subject: the token's name."""
    LIST_TOKENS = "list_tokens"
    LIST_WEBHOOKS = "list_webhooks"
    ENABLE_WEBHOOK = "enable_webhook"
    """Subject: the webhook's name."""
    LIST_DELIVERIES = "list_deliveries"
    """Subject: the webhook's name."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """An action that solves a problem, and the object that it is applied to."""

    kind: RemedyKind
    subject: str = ""
    """The name of the pool, workspace, build, host or template; empty where the kind needs none."""
    version: str = ""
    """The template version to promote; empty for every other kind."""

    def __str__(self) -> str:
        """Return a plain sentence, for logs and for programs that show an error to people."""
        return _SENTENCES[self.kind].format(subject=self.subject or _ANY.get(self.kind, "it"), version=self.version)


_SENTENCES: Mapping[RemedyKind, str] = {
    RemedyKind.START_EVERYTHING: "start Redis, the workers and beat",
    RemedyKind.START_WORKER: "start a control worker",
    RemedyKind.START_BUILDS_WORKER: "start a builds worker",
    RemedyKind.START_WEBHOOKS_WORKER: "start a webhooks worker",
    RemedyKind.START_BEAT: "start beat",
    RemedyKind.START_REDIS: "start Redis, or point PREBUILD_REDIS_URL at one that runs",
    RemedyKind.START_WITH_INIT: "start the container with an init: the image's own entry point, or another one",
    RemedyKind.RESTART_OR_FORGET_HOST: "start the builds worker of {subject}, or forget the host if it is lost",
    RemedyKind.FORGET_HOST_AND_CLAIMED: "forget {subject} with its claimed workspaces",
    RemedyKind.CREATE_DATABASE: (
        "if there is a database elsewhere, name its directory in PREBUILD_DATA_DIR, or its URL in "
        "PREBUILD_DATABASE_URL; otherwise create an empty one"
    ),
    RemedyKind.CREATE_DATABASE_ON_SERVER: (
        "create the database on its server, or correct PREBUILD_DATABASE_URL; then upgrade the schema"
    ),
    RemedyKind.UPGRADE_SCHEMA: "upgrade the schema of the database",
    RemedyKind.SHOW_SETTINGS: "look up the settings",
    RemedyKind.SHOW_FILE_SCHEMA: "look up the schema of pools files",
    RemedyKind.APPLY_POOLS_FILE: "apply the pools file",
    RemedyKind.PLAN_POOLS_FILE: "plan the pools file",
    RemedyKind.LIST_POOLS: "look at the list of pools",
    RemedyKind.LIST_PROBLEMS: "look at the pools that need attention",
    RemedyKind.EXPLAIN_POOL: "ask for the explanation of {subject}",
    RemedyKind.RECONCILE: "reconcile {subject}",
    RemedyKind.RESUME: "resume {subject}",
    RemedyKind.UNBLOCK_POOL: "unblock {subject}",
    RemedyKind.PROMOTE_VERSION: "promote version {version} of {subject}",
    RemedyKind.CLAIM_WORKSPACE: "claim {subject} for an owner",
    RemedyKind.RELEASE_WORKSPACE: "release {subject}",
    RemedyKind.DELETE_WORKSPACE: "delete {subject}",
    RemedyKind.LIST_WORKSPACES: "look at the list of workspaces",
    RemedyKind.SHOW_DISK_USE: "look up the disk use of workspaces",
    RemedyKind.LIST_BUILDS: "look at the builds of {subject}",
    RemedyKind.LIST_RUNNING_BUILDS: "look at the running builds",
    RemedyKind.LIST_FAILED_BUILDS: "look at the failed builds",
    RemedyKind.FIND_BUILD_OF_POOL: "look at the explanation or the builds of {subject}",
    RemedyKind.SHOW_LOG: "read the log of {subject}",
    RemedyKind.FOLLOW_LOG: "follow the log of {subject}",
    RemedyKind.DIAGNOSE: "diagnose the installation",
    RemedyKind.MOVE_EXPORTER: "serve the metrics on another port or address",
    RemedyKind.LOG_IN: "log in to the API with a token",
    RemedyKind.MOVE_SERVE: "serve the API on another port or address",
    RemedyKind.SERVE_SAFELY: "serve the API with TLS, or behind a proxy whose network is named",
    RemedyKind.MAKE_SECRET_KEY: "make a key, and name its file in PREBUILD_SECRET_KEY_FILE",
    RemedyKind.PROTECT_FILE: "let only its owner read {subject}",
    RemedyKind.FIND_LARGE_REDIS_KEYS: "find the large keys in Redis",
    RemedyKind.FORBID_REDIS_EVICTION: "set maxmemory-policy to noeviction, in Redis and in its configuration file",
    RemedyKind.SHOW_REDIS_STATE: "look at the state of Redis, and at its log",
    RemedyKind.SERVE_QUEUE: "have a control worker consume the queue {subject}",
    RemedyKind.STOP_PROCESS: "stop process {subject}",
    RemedyKind.MAKE_DATA_DIR_WRITABLE: "make {subject} writable for this user, or set PREBUILD_DATA_DIR",
    RemedyKind.SHOW_CLOCK_STATE: "look at the state of this machine's clock",
    RemedyKind.UPDATE_TIMEZONES: "update the timezones, or correct it in the pools file and apply that",
    RemedyKind.WAIT_FOR_WORKSPACE: "have one built and wait for it",
    RemedyKind.NAME_OWNER: "name the person who gets the workspace",
    RemedyKind.NAME_PRESET: "name the preset",
    RemedyKind.CHOOSE_OTHER_NAME: "choose another name, or leave it out",
    RemedyKind.REPEAT_REQUEST: "repeat the request with the id {subject}",
    RemedyKind.NEW_REQUEST: "make a new request id",
    RemedyKind.APPLY_AS_SOURCE: "apply as source {subject}, or remove it from that source's file and prune there",
    RemedyKind.CONFIRM_DELETION: "confirm the deletion, if it is intended",
    RemedyKind.CONFIRM_LOSS: "confirm the sweep",
    RemedyKind.SWEEP: "look for strays",
    RemedyKind.ADOPT_STRAY: "give {subject} back to its owner",
    RemedyKind.ADOPT_STRAY_AS_OWNER: "give {subject} back to its owner, whom the claim marker does not tell",
    RemedyKind.REMOVE_STRAY: "have {subject} removed",
    RemedyKind.REMOVE_STRAY_AS_OWNER: "have {subject} removed in the name of its owner",
    RemedyKind.SHOW_HISTORY: "look at the history of {subject}",
    RemedyKind.NAME_OWNER_OF_TOKEN: "name the owner, or say that it may claim for any owner",
    RemedyKind.CREATE_TOKEN: "create another token",
    RemedyKind.ROTATE_TOKEN: "rotate {subject}",
    RemedyKind.LIST_TOKENS: "look at the list of tokens",
    RemedyKind.LIST_WEBHOOKS: "look at the list of webhooks",
    RemedyKind.ENABLE_WEBHOOK: "enable {subject}",
    RemedyKind.LIST_DELIVERIES: "look at the deliveries of {subject}",
    RemedyKind.CORRECT_PERIOD: "begin the period before its end, and not in the future",
}
"""What each remedy is, without a word of any face."""

_ANY: Mapping[RemedyKind, str] = {
    RemedyKind.EXPLAIN_POOL: "the pool",
    RemedyKind.RECONCILE: "all pools",
    RemedyKind.RESUME: "everything",
    RemedyKind.CLAIM_WORKSPACE: "a workspace of template/preset",
    RemedyKind.RELEASE_WORKSPACE: "a workspace",
    RemedyKind.LIST_BUILDS: "all pools",
    RemedyKind.REPEAT_REQUEST: "that it had",
    RemedyKind.APPLY_AS_SOURCE: "''",
}
"""Replaces a subject that is left out, where `it` does not."""
