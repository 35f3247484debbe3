"""The entry point. `--help` imports no command: each is loaded when it is called."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand, TyperGroup

from prebuild_tasks import __version__
from prebuild_tasks.cli.remedies import next_step_of
from prebuild_tasks.errors import PrebuildError

if TYPE_CHECKING:
    from typer._click import Command, Context

COMMANDS = {
    "up": ("up.command", "Run everything on this machine: Redis, migrations, worker, builds, beat and a live table"),
    "apply": ("commands.pools", "Make the declared pools the stored ones"),
    "plan": ("commands.plan", "Show what apply would change, and what would become of each pool then"),
    "status": ("commands.pools", "Show every pool: desired, eligible, starting, failed, next action"),
    "explain": ("commands.explain", "Say why a pool is as it is, and what would mend it"),
    "claim": ("commands.claims", "Take a ready workspace"),
    "workspaces": ("commands.claims", "List workspaces"),
    "release": ("commands.claims", "Give a claimed workspace back: it is deleted"),
    "delete": ("commands.claims", "Delete any workspace (operators)"),
    "extend": ("commands.operate", "Move the end of a claimed workspace"),
    "pause": ("commands.operate", "Stop creating and deleting in one pool, or in all; claims go on"),
    "resume": ("commands.operate", "Reconcile one pool, or all, again"),
    "promote": ("commands.operate", "Make a stored version of a template the active one"),
    "invalidate": ("commands.operate", "Replace every prebuild a pool has now"),
    "unblock": ("commands.operate", "Let a pool build again after its hard limit or a failed validation"),
    "forget": ("commands.operate", "Close what a machine held that is gone for good"),
    "reconcile": ("commands.pools", "Ask for a tick, or for one preset's turn, now"),
    "builds": ("commands.builds", "List builds, newest first"),
    "logs": ("commands.builds", "Show the output of a build"),
    "history": ("commands.builds", "Show who did what to a workspace or a pool, why and when"),
    "report": ("commands.report", "Show hit rate, cold starts, time to ready, idle hours and cost, and waste"),
    "audit": ("commands.audit", "Check the invariants on the live system"),
    "sweep": ("commands.audit", "Show resources that nobody knows of, and look again; --confirm to remove many"),
    "doctor": ("commands.doctor", "Look for what is wrong around it all, and say what to do"),
    "health": ("commands.doctor", "For probes: is a worker, the builds worker, beat, the database or Redis alive"),
    "exporter": ("commands.exporter", "Serve Prometheus metrics"),
    "db": ("commands.admin", "Database: upgrade"),
    "config": ("commands.admin", "Settings and the pools file's schema"),
    "decide": ("commands.admin", "Answer decision cases"),
}
_HIDDEN = {"decide"}
_USAGE = 2


class LazyGroup(TyperGroup):
    """Knows its commands by name and one line each; imports the one that is called."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """Return a command with its short help alone; it cannot be run."""
        if cmd_name not in COMMANDS:
            return None
        return TyperCommand(cmd_name, short_help=COMMANDS[cmd_name][1], hidden=cmd_name in _HIDDEN)

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """Import the command that is called."""
        if args and args[0] in COMMANDS:
            return args[0], load(args[0]), args[1:]
        return super().resolve_command(ctx, args)


def load(name: str) -> Command:
    """The command itself: a function of its module, or a Typer group under that name."""
    from prebuild_tasks.logs import configure_command_logging

    configure_command_logging()
    module, line = COMMANDS[name]
    target = getattr(import_module(f"prebuild_tasks.cli.{module}"), name)
    if isinstance(target, typer.Typer):
        return typer.main.get_command(target)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name, help=(target.__doc__ or line))(target)
    return typer.main.get_command(single)


# No markup anywhere: rich's help would take longer to import than all else that --help does.
app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


def _print_version(value: bool) -> None:
    if value:
        sys.stdout.write(f"prebuild_tasks {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit")
    ] = False,
) -> None:
    """Pools of ready-to-claim developer workspaces, kept at their desired size."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. Every error is one sentence with the next step."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    code = 0
    try:
        code = _run(given)
        if sys.stdout:
            sys.stdout.flush()
    except BrokenPipeError:  # who reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _run(given: list[str]) -> int:
    try:
        typer.main.get_command(app).main(given, prog_name="prebuild")
    except SystemExit as done:  # how typer ends, after printing what was wrong with the arguments
        if isinstance(done.__context__, BrokenPipeError):
            raise done.__context__ from None
        code = done.code if isinstance(done.code, int) else int(done.code is not None)
        # Of a command that says something by its exit code, what typer says by the same is an error like any other.
        is_usage = code == _USAGE and not isinstance(done.__context__, typer.Exit)
        return 1 if is_usage and "--detailed-exitcode" in given else code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        raise
    except PrebuildError as error:
        with suppress(BrokenPipeError):
            _report(error, as_json="--json" in given)
        return error.exit_code
    except Exception as error:
        if os.environ.get("PREBUILD_DEBUG"):
            raise
        words = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        _report(PrebuildError(f"unexpected: {words}", hint="set PREBUILD_DEBUG=1 for the traceback"), as_json=False)
        return 1
    finally:
        if output := sys.modules.get("prebuild_tasks.cli.output"):
            output.close_opened()
    return 0


def _report(error: PrebuildError, *, as_json: bool) -> None:
    if as_json:
        body = {"error": error.code, "message": error.message, "hint": next_step_of(error)}
        if reason := getattr(error, "reason", ""):
            body["reason"] = reason
        sys.stderr.write(json.dumps(body) + "\n")
        return
    step = next_step_of(error)
    sys.stderr.write(f"prebuild: {error.message}\n" + (f"  next: {step}\n" if step else ""))


if __name__ == "__main__":
    sys.exit(main())
