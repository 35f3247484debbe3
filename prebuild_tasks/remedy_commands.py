"""Spell remedies as commands and options, for people at a terminal, or who read of them in a page.

It stands below the faces, because the `celery` command, too, tells a person what to run when it refuses a setting.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace

from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.remedies import Remedy, RemedyKind


@dataclass(frozen=True, slots=True)
class StartCommands:
    """The shell command that starts each process."""

    worker: str
    builds: str
    webhooks: str
    beat: str


EMBEDDED = StartCommands("prebuild up", "prebuild up", "prebuild up", "prebuild up")
"""On one machine, `prebuild up` starts all of them."""


@dataclass(frozen=True, slots=True)
class _Spelling:
    """The command or option for a kind of remedy."""

    command: str
    """A template with the fields `{subject}` and `{version}`."""
    lead: str = "run"
    """The words before the command, when the error has no hint of its own; empty: the command stands by itself."""
    joint: str = ""
    """The words between a hint and the command, for a command that does not itself do what the hint says."""
    placeholder: str = ""
    """Replaces a subject that is not known."""


_SPELLINGS: Mapping[RemedyKind, _Spelling] = {
    RemedyKind.START_EVERYTHING: _Spelling("prebuild up"),
    RemedyKind.START_REDIS: _Spelling("prebuild up, or point PREBUILD_REDIS_URL at one that runs", "start it with"),
    RemedyKind.START_WITH_INIT: _Spelling(
        "docker run --init, or shareProcessNamespace: true in a pod", "start the container with an init"
    ),
    RemedyKind.FORGET_HOST_AND_CLAIMED: _Spelling("prebuild forget {subject} --claimed"),
    RemedyKind.CREATE_DATABASE: _Spelling(
        "export PREBUILD_DATA_DIR=DIRECTORY, or PREBUILD_DATABASE_URL=URL; "
        "to create an empty one here: prebuild up, or: prebuild db upgrade",
        "if there is one elsewhere",
    ),
    RemedyKind.CREATE_DATABASE_ON_SERVER: _Spelling(
        "createdb, or correct PREBUILD_DATABASE_URL; then upgrade its schema: prebuild db upgrade", "create it with"
    ),
    RemedyKind.UPGRADE_SCHEMA: _Spelling("prebuild db upgrade"),
    RemedyKind.SHOW_SETTINGS: _Spelling("prebuild config show", "look up the settings with"),
    RemedyKind.SHOW_FILE_SCHEMA: _Spelling("prebuild config schema", "see", "; for its schema, see"),
    RemedyKind.APPLY_POOLS_FILE: _Spelling("prebuild apply FILE"),
    RemedyKind.PLAN_POOLS_FILE: _Spelling("prebuild plan FILE"),
    RemedyKind.LIST_POOLS: _Spelling("prebuild status", "see"),
    RemedyKind.LIST_PROBLEMS: _Spelling("prebuild status --problems", "see"),
    RemedyKind.EXPLAIN_POOL: _Spelling("prebuild explain {subject}", "see", "; see"),
    RemedyKind.RECONCILE: _Spelling("prebuild reconcile {subject}"),
    RemedyKind.RESUME: _Spelling("prebuild resume {subject}"),
    RemedyKind.UNBLOCK_POOL: _Spelling("prebuild unblock {subject}"),
    RemedyKind.PROMOTE_VERSION: _Spelling("prebuild promote {subject} {version}"),
    RemedyKind.CLAIM_WORKSPACE: _Spelling("prebuild claim {subject} --owner NAME", "", placeholder="template/preset"),
    RemedyKind.RELEASE_WORKSPACE: _Spelling("prebuild release {subject}", placeholder="WORKSPACE"),
    RemedyKind.DELETE_WORKSPACE: _Spelling("prebuild delete {subject}"),
    RemedyKind.LIST_WORKSPACES: _Spelling("prebuild workspaces", "see", "; see"),
    RemedyKind.SHOW_DISK_USE: _Spelling("prebuild workspaces --disk", "see", "; to see what uses it"),
    RemedyKind.LIST_RUNNING_BUILDS: _Spelling("prebuild builds --status running", "see"),
    RemedyKind.LIST_FAILED_BUILDS: _Spelling("prebuild builds --status failed", "see"),
    RemedyKind.FIND_BUILD_OF_POOL: _Spelling(
        "prebuild explain {subject}, or: prebuild builds --preset {subject}", "to find the one that failed"
    ),
    RemedyKind.SHOW_LOG: _Spelling("prebuild logs {subject}", "see"),
    RemedyKind.FOLLOW_LOG: _Spelling("prebuild logs {subject} --follow", "see"),
    RemedyKind.CONFIRM_LOSS: _Spelling("prebuild sweep --confirm"),
    RemedyKind.SWEEP: _Spelling("prebuild sweep"),
    RemedyKind.ADOPT_STRAY: _Spelling("prebuild adopt {subject}"),
    RemedyKind.ADOPT_STRAY_AS_OWNER: _Spelling("prebuild adopt {subject} --owner NAME"),
    RemedyKind.REMOVE_STRAY: _Spelling("prebuild sweep --remove {subject}"),
    RemedyKind.REMOVE_STRAY_AS_OWNER: _Spelling("prebuild sweep --remove {subject} --owner NAME"),
    RemedyKind.SHOW_HISTORY: _Spelling("prebuild history {subject}", "see", "; see"),
    RemedyKind.CREATE_TOKEN: _Spelling("prebuild token create NAME --scope SCOPE"),
    RemedyKind.ROTATE_TOKEN: _Spelling("prebuild token rotate {subject}", placeholder="NAME"),
    RemedyKind.LIST_TOKENS: _Spelling("prebuild token list", "see", "; see"),
    RemedyKind.LIST_WEBHOOKS: _Spelling("prebuild webhook list", "see", "; see"),
    RemedyKind.ENABLE_WEBHOOK: _Spelling("prebuild webhook enable {subject}", placeholder="NAME"),
    RemedyKind.LIST_DELIVERIES: _Spelling("prebuild webhook deliveries {subject}", "see", "; see", placeholder="NAME"),
    RemedyKind.DIAGNOSE: _Spelling("prebuild doctor"),
    RemedyKind.MOVE_EXPORTER: _Spelling("prebuild exporter --port N --bind ADDRESS"),
    RemedyKind.LOG_IN: _Spelling("prebuild login URL"),
    RemedyKind.MOVE_SERVE: _Spelling("prebuild serve --port N --bind ADDRESS"),
    RemedyKind.SERVE_SAFELY: _Spelling(
        "prebuild serve --tls-cert FILE --tls-key FILE, or: prebuild serve --behind-proxy --trusted-proxies CIDR"
    ),
    RemedyKind.FIND_LARGE_REDIS_KEYS: _Spelling("redis-cli --bigkeys"),
    RemedyKind.FORBID_REDIS_EVICTION: _Spelling(
        "redis-cli config set maxmemory-policy noeviction, and set the same in its configuration file"
    ),
    RemedyKind.SHOW_REDIS_STATE: _Spelling("redis-cli info, and the log of Redis", "see"),
    RemedyKind.STOP_PROCESS: _Spelling("kill {subject}"),
    RemedyKind.SHOW_CLOCK_STATE: _Spelling("timedatectl status", "see", "; see"),
    RemedyKind.UPDATE_TIMEZONES: _Spelling(
        "pip install -U tzdata; or correct it in the pools file and apply that: prebuild apply FILE",
        "update the timezones",
    ),
    # Options, to be added to the command that was refused.
    RemedyKind.WAIT_FOR_WORKSPACE: _Spelling("add --wait", "to have one built and wait for it"),
    RemedyKind.NAME_OWNER: _Spelling("--owner NAME", "name the person who gets the workspace"),
    RemedyKind.NAME_OWNER_OF_TOKEN: _Spelling("add --owner NAME or --any-owner", ""),
    RemedyKind.NAME_PRESET: _Spelling("--preset NAME", "name the preset"),
    RemedyKind.CHOOSE_OTHER_NAME: _Spelling("--name NAME, or leave it out", "choose another"),
    RemedyKind.REPEAT_REQUEST: _Spelling("--request-id {subject}", "ask again for the same one"),
    RemedyKind.NEW_REQUEST: _Spelling("another --request-id, or leave it out", "make a new request id"),
    RemedyKind.CONFIRM_DELETION: _Spelling("add --yes", "if that is intended"),
    RemedyKind.CORRECT_PERIOD: _Spelling("--since must be before --until, and not in the future", lead=""),
}


def spell(remedy: Remedy, start: StartCommands = EMBEDDED) -> str:
    """Return the command that carries out the remedy. `start` has the commands that start each process."""
    return _spelling(remedy, start).command


@dataclass(frozen=True, slots=True)
class NextStep:
    """A hint with the command that it leads to."""

    lead: str
    """The text before the command; empty: the command stands by itself."""
    command: str
    """Empty: the hint names what no command does."""

    def __str__(self) -> str:
        """Return both, as in "release one: prebuild release WORKSPACE"."""
        return ": ".join(part for part in (self.lead, self.command) if part)


def hint_and_command(hint: str, remedy: Remedy | None, start: StartCommands = EMBEDDED) -> NextStep:
    """Return the hint and the command.

    Without a hint, or with the remedy's own sentence as the hint, the command's lead precedes it, as in
    "see: prebuild status".
    """
    if remedy is None:
        return NextStep(hint, "")
    spelling = _spelling(remedy, start)
    lead = spelling.lead if hint in ("", str(remedy)) else hint + spelling.joint
    return NextStep(lead, spelling.command)


def next_step(hint: str, remedy: Remedy | None, start: StartCommands = EMBEDDED) -> str:
    """Return the hint and the command as one text."""
    return str(hint_and_command(hint, remedy, start))


def next_step_of(error: PrebuildError) -> str:
    """Return what to do about an error; empty when it has neither a hint nor a remedy."""
    return next_step(error.hint, error.remedy)


def _spelling(remedy: Remedy, start: StartCommands) -> _Spelling:
    match remedy.kind:
        case RemedyKind.START_WORKER:
            return _Spelling(start.worker, "start one")
        case RemedyKind.SERVE_QUEUE:
            return _Spelling(start.worker, "add it to the -Q option of a worker")
        case RemedyKind.START_BUILDS_WORKER:
            return _Spelling(start.builds, "start one")
        case RemedyKind.START_WEBHOOKS_WORKER:
            return _Spelling(start.webhooks, "start one", "; to start a webhooks worker")
        case RemedyKind.START_BEAT:
            return _Spelling(start.beat, "start one")
        case RemedyKind.RESTART_OR_FORGET_HOST:
            restart = f"PREBUILD_HOST={remedy.subject} {start.builds}"
            forget = f"prebuild forget {remedy.subject}"
            return _Spelling(f"{restart}; if the host will not come back: {forget}", "on that host, start")
        case RemedyKind.LIST_BUILDS:
            return _Spelling(
                f"prebuild builds --preset {remedy.subject}" if remedy.subject else "prebuild builds", "see", "; see"
            )
        case RemedyKind.MAKE_DATA_DIR_WRITABLE:
            return _Spelling(f"chown -R $(id -u) {shlex.quote(remedy.subject)}, or set PREBUILD_DATA_DIR")
        case RemedyKind.MAKE_SECRET_KEY:
            file = shlex.quote(remedy.subject) if remedy.subject else "FILE"
            name = "" if remedy.subject else ", and set PREBUILD_SECRET_KEY_FILE=FILE"
            return _Spelling(f"(umask 077; openssl rand -hex 32 > {file}){name}", "make one with")
        case RemedyKind.PROTECT_FILE:
            return _Spelling(f"chmod 600 {shlex.quote(remedy.subject)}")
        case RemedyKind.APPLY_AS_SOURCE:
            drop = "or remove it from that source's file, and apply that file with --prune"
            return _Spelling(f"--source {shlex.quote(remedy.subject)}; {drop}", "apply with")
        case kind:
            entry = _SPELLINGS[kind]
            subject = remedy.subject or entry.placeholder
            return replace(entry, command=entry.command.format(subject=subject, version=remedy.version).rstrip())
