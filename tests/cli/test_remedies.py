"""Every kind of remedy has its own command, and nothing below the command line spells one."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import prebuild_tasks
from prebuild_tasks.cli.json_views import apply_json
from prebuild_tasks.cli.main import COMMANDS, load_command
from prebuild_tasks.cli.remedies import detail_of, line_of, lines_of
from prebuild_tasks.config import Settings
from prebuild_tasks.errors import NotFoundError, PoolsFileError, Problem
from prebuild_tasks.pools.options import ApplyReport, Change
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.remedy_commands import StartCommands, next_step, next_step_of, spell
from prebuild_tasks.start_commands import start_commands
from prebuild_tasks.workspaces.follow_ups import FollowUp

PACKAGE = Path(prebuild_tasks.__file__).parent
START = StartCommands("start worker", "start builds", "start webhooks", "start beat")
ELSEWHERE = (
    "export PREBUILD_DATA_DIR=DIRECTORY, or PREBUILD_DATABASE_URL=URL; "
    "to create an empty one here: prebuild up, or: prebuild db upgrade"
)
UNREACHABLE = "prebuild up, or point PREBUILD_REDIS_URL at one that runs"
MAKE_KEY = "(umask 077; openssl rand -hex 32"
K = RemedyKind
SPELLED = {
    Remedy(K.START_EVERYTHING): ("run", "prebuild up"),
    Remedy(K.START_WORKER): ("start one", "start worker"),
    Remedy(K.START_BUILDS_WORKER): ("start one", "start builds"),
    Remedy(K.START_WEBHOOKS_WORKER): ("start one", "start webhooks"),
    Remedy(K.START_BEAT): ("start one", "start beat"),
    Remedy(K.START_REDIS): ("start it with", UNREACHABLE),
    Remedy(K.START_WITH_INIT): (
        "start the container with an init", "docker run --init, or shareProcessNamespace: true in a pod"
    ),
    Remedy(K.RESTART_OR_FORGET_HOST, "box"): (
        "on that host, start",
        "PREBUILD_HOST=box start builds; if the host will not come back: prebuild forget box",
    ),
    Remedy(K.FORGET_HOST_AND_CLAIMED, "box"): ("run", "prebuild forget box --claimed"),
    Remedy(K.CREATE_DATABASE): ("if there is one elsewhere", ELSEWHERE),
    Remedy(K.CREATE_DATABASE_ON_SERVER): (
        "create it with", "createdb, or correct PREBUILD_DATABASE_URL; then upgrade its schema: prebuild db upgrade"
    ),
    Remedy(K.UPGRADE_SCHEMA): ("run", "prebuild db upgrade"),
    Remedy(K.SHOW_SETTINGS): ("look up the settings with", "prebuild config show"),
    Remedy(K.SHOW_FILE_SCHEMA): ("see", "prebuild config schema"),
    Remedy(K.APPLY_POOLS_FILE): ("run", "prebuild apply FILE"),
    Remedy(K.PLAN_POOLS_FILE): ("run", "prebuild plan FILE"),
    Remedy(K.LIST_POOLS): ("see", "prebuild status"),
    Remedy(K.LIST_PROBLEMS): ("see", "prebuild status --problems"),
    Remedy(K.EXPLAIN_POOL): ("see", "prebuild explain"),
    Remedy(K.EXPLAIN_POOL, "dev/small"): ("see", "prebuild explain dev/small"),
    Remedy(K.RECONCILE): ("run", "prebuild reconcile"),
    Remedy(K.RECONCILE, "dev/small"): ("run", "prebuild reconcile dev/small"),
    Remedy(K.RESUME): ("run", "prebuild resume"),
    Remedy(K.RESUME, "dev/small"): ("run", "prebuild resume dev/small"),
    Remedy(K.UNBLOCK_POOL, "dev/small"): ("run", "prebuild unblock dev/small"),
    Remedy(K.PROMOTE_VERSION, "dev", "v2"): ("run", "prebuild promote dev v2"),
    Remedy(K.CLAIM_WORKSPACE): ("", "prebuild claim template/preset --owner NAME"),
    Remedy(K.RELEASE_WORKSPACE): ("run", "prebuild release WORKSPACE"),
    Remedy(K.RELEASE_WORKSPACE, "ada/one"): ("run", "prebuild release ada/one"),
    Remedy(K.DELETE_WORKSPACE, "prebuild-1"): ("run", "prebuild delete prebuild-1"),
    Remedy(K.LIST_WORKSPACES): ("see", "prebuild workspaces"),
    Remedy(K.SHOW_DISK_USE): ("see", "prebuild workspaces --disk"),
    Remedy(K.LIST_BUILDS): ("see", "prebuild builds"),
    Remedy(K.LIST_BUILDS, "dev/small"): ("see", "prebuild builds --preset dev/small"),
    Remedy(K.LIST_RUNNING_BUILDS): ("see", "prebuild builds --status running"),
    Remedy(K.LIST_FAILED_BUILDS): ("see", "prebuild builds --status failed"),
    Remedy(K.FIND_BUILD_OF_POOL, "dev/small"): (
        "to find the one that failed", "prebuild explain dev/small, or: prebuild builds --preset dev/small"
    ),
    Remedy(K.SHOW_LOG, "ada/one"): ("see", "prebuild logs ada/one"),
    Remedy(K.FOLLOW_LOG, "ada/one"): ("see", "prebuild logs ada/one --follow"),
    Remedy(K.DIAGNOSE): ("run", "prebuild doctor"),
    Remedy(K.MOVE_EXPORTER): ("run", "prebuild exporter --port N --bind ADDRESS"),
    Remedy(K.LOG_IN): ("run", "prebuild login URL"),
    Remedy(K.MOVE_SERVE): ("run", "prebuild serve --port N --bind ADDRESS"),
    Remedy(K.SERVE_SAFELY): (
        "run",
        "prebuild serve --tls-cert FILE --tls-key FILE, or: prebuild serve --behind-proxy --trusted-proxies CIDR",
    ),
    Remedy(K.MAKE_SECRET_KEY): ("make one with", f"{MAKE_KEY} > FILE), and set PREBUILD_SECRET_KEY_FILE=FILE"),
    Remedy(K.MAKE_SECRET_KEY, "/my key"): ("make one with", f"{MAKE_KEY} > '/my key')"),
    Remedy(K.PROTECT_FILE, "/my key"): ("run", "chmod 600 '/my key'"),
    Remedy(K.FIND_LARGE_REDIS_KEYS): ("run", "redis-cli --bigkeys"),
    Remedy(K.FORBID_REDIS_EVICTION): (
        "run", "redis-cli config set maxmemory-policy noeviction, and set the same in its configuration file"
    ),
    Remedy(K.SHOW_REDIS_STATE): ("see", "redis-cli info, and the log of Redis"),
    Remedy(K.SERVE_QUEUE, "p.claims"): ("add it to the -Q option of a worker", "start worker"),
    Remedy(K.STOP_PROCESS, "7"): ("run", "kill 7"),
    Remedy(K.MAKE_DATA_DIR_WRITABLE, "/my data"): ("run", "chown -R $(id -u) '/my data', or set PREBUILD_DATA_DIR"),
    Remedy(K.SHOW_CLOCK_STATE): ("see", "timedatectl status"),
    Remedy(K.UPDATE_TIMEZONES): (
        "update the timezones",
        "pip install -U tzdata; or correct it in the pools file and apply that: prebuild apply FILE",
    ),
    Remedy(K.WAIT_FOR_WORKSPACE): ("to have one built and wait for it", "add --wait"),
    Remedy(K.NAME_OWNER): ("name the person who gets the workspace", "--owner NAME"),
    Remedy(K.NAME_PRESET): ("name the preset", "--preset NAME"),
    Remedy(K.CHOOSE_OTHER_NAME): ("choose another", "--name NAME, or leave it out"),
    Remedy(K.REPEAT_REQUEST, "r-1"): ("ask again for the same one", "--request-id r-1"),
    Remedy(K.NEW_REQUEST): ("make a new request id", "another --request-id, or leave it out"),
    Remedy(K.CONFIRM_DELETION): ("if that is intended", "add --yes"),
    Remedy(K.CONFIRM_LOSS): ("run", "prebuild sweep --confirm"),
    Remedy(K.SWEEP): ("run", "prebuild sweep"),
    Remedy(K.ADOPT_STRAY, "id"): ("run", "prebuild adopt id"),
    Remedy(K.ADOPT_STRAY_AS_OWNER, "id"): ("run", "prebuild adopt id --owner NAME"),
    Remedy(K.REMOVE_STRAY, "id"): ("run", "prebuild sweep --remove id"),
    Remedy(K.REMOVE_STRAY_AS_OWNER, "id"): ("run", "prebuild sweep --remove id --owner NAME"),
    Remedy(K.SHOW_HISTORY, "ada/one"): ("see", "prebuild history ada/one"),
    Remedy(K.NAME_OWNER_OF_TOKEN): ("", "add --owner NAME or --any-owner"),
    Remedy(K.CREATE_TOKEN): ("run", "prebuild token create NAME --scope SCOPE"),
    Remedy(K.ROTATE_TOKEN, "portal"): ("run", "prebuild token rotate portal"),
    Remedy(K.LIST_TOKENS): ("see", "prebuild token list"),
    Remedy(K.LIST_WEBHOOKS): ("see", "prebuild webhook list"),
    Remedy(K.ENABLE_WEBHOOK, "hook"): ("run", "prebuild webhook enable hook"),
    Remedy(K.LIST_DELIVERIES, "hook"): ("see", "prebuild webhook deliveries hook"),
    Remedy(K.CORRECT_PERIOD): ("", "--since must be before --until, and not in the future"),
    Remedy(K.APPLY_AS_SOURCE, "team a"): (
        "apply with", "--source 'team a'; or remove it from that source's file, and apply that file with --prune"
    ),
}  # fmt: skip
JOINTS = {
    K.SHOW_FILE_SCHEMA: "; for its schema, see", K.SHOW_DISK_USE: "; to see what uses it", K.EXPLAIN_POOL: "; see",
    K.LIST_WORKSPACES: "; see", K.LIST_BUILDS: "; see", K.SHOW_CLOCK_STATE: "; see", K.SHOW_HISTORY: "; see",
    K.LIST_TOKENS: "; see", K.LIST_WEBHOOKS: "; see", K.LIST_DELIVERIES: "; see",
    K.START_WEBHOOKS_WORKER: "; to start a webhooks worker",
}  # fmt: skip
"""The words between a hint and a command that does not itself do what the hint says."""
OPTIONS_OF = {
    K.WAIT_FOR_WORKSPACE: "claim", K.NAME_OWNER: "claim", K.CHOOSE_OTHER_NAME: "claim", K.REPEAT_REQUEST: "claim",
    K.NEW_REQUEST: "claim", K.NAME_PRESET: "adopt", K.NAME_OWNER_OF_TOKEN: "token create",
    K.CONFIRM_DELETION: "apply", K.APPLY_AS_SOURCE: "apply", K.CORRECT_PERIOD: "report",
}  # fmt: skip
"""The commands whose options a remedy names without the command."""


@pytest.mark.parametrize("remedy", SPELLED, ids=str)
def test_each_remedy_has_its_words(remedy: Remedy) -> None:
    lead, command = SPELLED[remedy]
    assert spell(remedy, START) == command
    assert next_step("", remedy, START) == (f"{lead}: {command}" if lead else command)
    assert next_step("with a hint", remedy, START) == f"with a hint{JOINTS.get(remedy.kind, '')}: {command}"


def test_every_kind_is_in_the_table() -> None:
    assert {remedy.kind for remedy in SPELLED} == set(RemedyKind)


def test_every_command_and_option_exists() -> None:
    for remedy in SPELLED:
        for text in re.findall(r"prebuild [^;,]+", spell(remedy, START)):
            _, *arguments = shlex.split(text)
            assert {word for word in arguments if word.startswith("--")} <= options_of(arguments), text


def options_of(arguments: Sequence[str]) -> set[str]:
    """Return the options of the command that the arguments begin with."""
    command = load_command(arguments[0])
    command = getattr(command, "commands", {}).get(arguments[1], command) if len(arguments) > 1 else command
    return {option for parameter in command.params for option in parameter.opts}


def test_every_option_without_a_command_exists() -> None:
    for remedy, (_, spelled) in SPELLED.items():
        named = re.findall(r"--[a-z-]+", "" if re.search("prebuild |redis-cli|docker", spelled) else spelled)
        assert bool(named) is (remedy.kind in OPTIONS_OF), remedy
        if named:
            assert set(named) <= options_of(OPTIONS_OF[remedy.kind].split()), remedy


def test_an_error_is_spelled_by_the_command_line_and_plain_in_python() -> None:
    error = NotFoundError("there is no workspace x", remedy=Remedy(K.LIST_WORKSPACES))
    assert next_step_of(error) == "see: prebuild workspaces"
    assert str(error) == "there is no workspace x (look at the list of workspaces)" == f"{error.message} ({error.hint})"
    hinted = NotFoundError(
        "dev/small is blocked", hint="unblock it once that is fixed", remedy=Remedy(K.UNBLOCK_POOL, "dev/small")
    )
    assert next_step_of(hinted) == "unblock it once that is fixed: prebuild unblock dev/small"
    assert str(hinted) == "dev/small is blocked (unblock it once that is fixed)"
    assert NotFoundError("no").hint == next_step_of(NotFoundError("no")) == ""
    broken = PoolsFileError([Problem("bad")])
    assert broken.hint == "correct it and try again"
    assert next_step_of(broken) == "correct it and try again; for its schema, see: prebuild config schema"


def test_a_change_that_pruning_would_make_names_the_option() -> None:
    change = Change("would_drain", "template dev", "no longer declared", if_pruned="its prebuilds are deleted")
    assert line_of(change) == "! template dev: no longer declared; with --prune its prebuilds are deleted"
    assert str(change) == "! template dev: no longer declared; if pruned, its prebuilds are deleted"
    changes = [change, Change("drain", "template web")]
    report = ApplyReport(changes=changes, drift=[], revision=1, follow_up=FollowUp())
    assert apply_json(report)["changes"] == [
        {"action": "would_drain", "what": "template dev", "detail": detail_of(change)},
        {"action": "drain", "what": "template web", "detail": ""},
    ]
    assert line_of(Change("update", "template dev", "ttl 1h")) == "~ template dev: ttl 1h"


def test_templates_that_are_no_longer_declared_share_a_line() -> None:
    """Each had a line of its own at every plan and apply, for ever."""

    def left(what: str) -> Change:
        return Change("would_drain", what, "no longer declared", if_pruned="its prebuilds are deleted")

    one, other, preset, limit = (
        left("template a"),
        left("template b"),
        left("preset c/small"),
        Change("would_drain", "organization o", "no longer declared", if_pruned="max_workspaces 5 -> none"),
    )
    assert list(lines_of([preset, one, other, limit])) == [
        "! preset c/small: no longer declared; with --prune its prebuilds are deleted",
        "! templates a and b: no longer declared; with --prune their prebuilds are deleted",
        "! organization o: no longer declared; with --prune max_workspaces 5 -> none",
    ]
    assert list(lines_of([preset, one])) == [line_of(preset), line_of(one)]
    [many] = lines_of([left(f"template t{number}") for number in range(7)])
    assert many.startswith("! templates t0, t1, t2, t3, t4 and 2 more: ")


def test_processes_are_started_as_the_procfile_starts_them() -> None:
    start = start_commands(Settings())
    assert start.worker == (
        "celery -A prebuild_tasks worker -n worker@%h -c 2 -Q "
        "prebuild.events,prebuild.reconcile,prebuild.claims,prebuild.default"
    )
    assert start.builds == "celery -A prebuild_tasks worker -n builds@%h -P threads -c 4 -Q prebuild.builds"
    assert start.webhooks == "celery -A prebuild_tasks worker -n webhooks@%h -P threads -c 2 -Q prebuild.webhooks"
    assert start.beat == "celery -A prebuild_tasks beat"


_COMMAND = re.compile(
    rf"\bprebuild (?:{'|'.join(COMMANDS)})\b|\bcelery -A\b|(?<![\w-])--[a-z]"
    r"|\brun: |\b(?:redis-cli|timedatectl|createdb)\b|\bchown -|\bpip install\b"
)
_FACE = "cli"
"""The package that may spell commands and options."""
_OTHERS = ("remedy_commands.py", "start_commands.py", "worker/flower.py")
"""The modules that spell the commands of remedies for every face, and the one that reads Flower's own options."""


def _strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield every string with its line, except docstrings."""
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


def test_only_the_command_line_and_the_spelling_of_remedies_spell_commands() -> None:
    spelled = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] != _FACE and path.relative_to(PACKAGE).as_posix() not in _OTHERS
        for line, text in _strings(ast.parse(path.read_text()))
        if _COMMAND.search(text)
    ]
    assert spelled == []


def test_that_search_finds_a_command() -> None:
    tree = ast.parse('"""Run prebuild status."""\nhint = f"see: prebuild logs {name}", "add --wait", "a--b", "---"\n')
    found = [text for _, text in _strings(tree) if _COMMAND.search(text)]
    assert sorted(found) == ["add --wait", "see: prebuild logs "]
