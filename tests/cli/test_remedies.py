"""Remedies: every kind has a command of its own, and nothing below the command line spells one."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import prebuild_tasks
from prebuild_tasks.cli.main import COMMANDS, load
from prebuild_tasks.cli.remedies import StartCommands, next_step, next_step_of, spell, start_commands
from prebuild_tasks.config import Settings
from prebuild_tasks.errors import NotFoundError, PoolsFileError, Problem
from prebuild_tasks.remedies import Remedy, RemedyKind

PACKAGE = Path(prebuild_tasks.__file__).parent
START = StartCommands("start worker", "start builds", "start beat")
UNREACHABLE = "prebuild up, or point PREBUILD_REDIS_URL at one that runs"
K = RemedyKind
SPELLED = {
    Remedy(K.START_EVERYTHING): ("run", "prebuild up"),
    Remedy(K.START_WORKER): ("start one", "start worker"),
    Remedy(K.START_BUILDS_WORKER): ("start one", "start builds"),
    Remedy(K.START_BEAT): ("start one", "start beat"),
    Remedy(K.START_REDIS): ("start it with", UNREACHABLE),
    Remedy(K.RESTART_OR_FORGET_HOST, "box"): (
        "on that host, start",
        "PREBUILD_HOST=box start builds; if the host will not come back: prebuild forget box",
    ),
    Remedy(K.FORGET_HOST_AND_CLAIMED, "box"): ("run", "prebuild forget box --claimed"),
    Remedy(K.CREATE_DATABASE): ("create it with", "prebuild up, or: prebuild db upgrade"),
    Remedy(K.UPGRADE_SCHEMA): ("run", "prebuild db upgrade"),
    Remedy(K.SHOW_SETTINGS): ("see", "prebuild config show"),
    Remedy(K.SHOW_FILE_SCHEMA): ("see", "prebuild config schema"),
    Remedy(K.APPLY_POOLS_FILE): ("run", "prebuild apply FILE"),
    Remedy(K.PLAN_POOLS_FILE): ("run", "prebuild plan FILE"),
    Remedy(K.LIST_POOLS): ("see", "prebuild status"),
    Remedy(K.EXPLAIN_POOL): ("see", "prebuild explain"),
    Remedy(K.EXPLAIN_POOL, "dev/small"): ("see", "prebuild explain dev/small"),
    Remedy(K.RECONCILE): ("run", "prebuild reconcile"),
    Remedy(K.RECONCILE, "dev/small"): ("run", "prebuild reconcile dev/small"),
    Remedy(K.RESUME): ("run", "prebuild resume"),
    Remedy(K.RESUME, "dev/small"): ("run", "prebuild resume dev/small"),
    Remedy(K.UNBLOCK_POOL, "dev/small"): ("run", "prebuild unblock dev/small"),
    Remedy(K.PROMOTE_VERSION, "dev", "v2"): ("run", "prebuild promote dev v2"),
    Remedy(K.CLAIM_WORKSPACE): ("run", "prebuild claim template/preset --owner NAME"),
    Remedy(K.RELEASE_WORKSPACE): ("run", "prebuild release WORKSPACE"),
    Remedy(K.RELEASE_WORKSPACE, "ada/one"): ("run", "prebuild release ada/one"),
    Remedy(K.DELETE_WORKSPACE, "prebuild-1"): ("run", "prebuild delete prebuild-1"),
    Remedy(K.LIST_WORKSPACES): ("see", "prebuild workspaces"),
    Remedy(K.SHOW_DISK_USE): ("see", "prebuild workspaces --disk"),
    Remedy(K.LIST_BUILDS): ("see", "prebuild builds"),
    Remedy(K.LIST_BUILDS, "dev/small"): ("see", "prebuild builds --preset dev/small"),
    Remedy(K.LIST_RUNNING_BUILDS): ("see", "prebuild builds --status running"),
    Remedy(K.LIST_FAILED_BUILDS): ("see", "prebuild builds --status failed"),
    Remedy(K.SHOW_LOG, "ada/one"): ("see", "prebuild logs ada/one"),
    Remedy(K.FOLLOW_LOG, "ada/one"): ("see", "prebuild logs ada/one --follow"),
    Remedy(K.DIAGNOSE): ("run", "prebuild doctor"),
    Remedy(K.MOVE_EXPORTER): ("run", "prebuild exporter --port N --bind ADDRESS"),
}  # fmt: skip


@pytest.mark.parametrize("remedy", SPELLED, ids=str)
def test_each_remedy_has_its_words(remedy: Remedy) -> None:
    lead, command = SPELLED[remedy]
    assert spell(remedy, START) == command
    assert next_step("", remedy, START) == f"{lead}: {command}"
    assert next_step("with a hint", remedy, START) == f"with a hint: {command}"


def test_every_kind_is_in_the_table() -> None:
    assert {remedy.kind for remedy in SPELLED} == set(RemedyKind)


def test_every_command_and_option_exists() -> None:
    for remedy in SPELLED:
        for text in re.findall(r"prebuild [^;,]+", spell(remedy, START)):
            _, name, *arguments = shlex.split(text)
            command = load(name)
            if isinstance(command, click.Group):
                command = command.commands[arguments.pop(0)]
            options = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in arguments if word.startswith("--")} <= options, text


def test_an_error_is_spelled_by_the_command_line_and_plain_in_python() -> None:
    error = NotFoundError("there is no workspace x", remedy=Remedy(K.LIST_WORKSPACES))
    assert next_step_of(error) == "see: prebuild workspaces"
    assert str(error) == "there is no workspace x (list workspaces)"
    hinted = NotFoundError(
        "dev/small is blocked", hint="once that is mended", remedy=Remedy(K.UNBLOCK_POOL, "dev/small")
    )
    assert next_step_of(hinted) == "once that is mended: prebuild unblock dev/small"
    assert str(hinted) == "dev/small is blocked (once that is mended: unblock pool dev/small)"
    assert next_step_of(NotFoundError("no")) == ""
    broken = PoolsFileError([Problem("bad")])
    assert next_step_of(broken) == "correct it and run the command again; its schema: prebuild config schema"


def test_processes_are_started_as_the_procfile_starts_them() -> None:
    start = start_commands(Settings())
    assert start.worker == (
        "celery -A prebuild_tasks worker -n worker@%h -c 2 -Q "
        "prebuild.events,prebuild.reconcile,prebuild.claims,prebuild.default"
    )
    assert start.builds == "celery -A prebuild_tasks worker -n builds@%h -P threads -c 4 -Q prebuild.builds"
    assert start.beat == "celery -A prebuild_tasks beat"


_COMMAND = re.compile(rf"\bprebuild (?:{'|'.join(COMMANDS)})\b|\bcelery -A\b")


def _strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string with its line, but for those that stand alone: they are documentation."""
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


def test_only_the_command_line_spells_commands() -> None:
    spelled = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] != "cli"
        for line, text in _strings(ast.parse(path.read_text()))
        if _COMMAND.search(text)
    ]
    assert spelled == []


def test_that_search_finds_a_command() -> None:
    tree = ast.parse('"""Run prebuild status."""\nhint = f"see: prebuild logs {name}"\n')
    assert [text for _, text in _strings(tree) if _COMMAND.search(text)] == ["see: prebuild logs "]
