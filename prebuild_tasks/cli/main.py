"""Entry point of the `prebuild` command. A subcommand is imported when it is called, so `--help` imports none."""

from __future__ import annotations

import errno
import gc
import json
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stderr, suppress
from dataclasses import replace
from importlib import import_module
from typing import IO, TYPE_CHECKING, Annotated, cast

import typer
from typer.core import TyperCommand, TyperGroup

from prebuild_tasks import __version__
from prebuild_tasks.cli.safe_output import EscapedOutput, drop_unwritten, make_writable
from prebuild_tasks.cli.usage import Command
from prebuild_tasks.errors import ClaimMissError, PoolsFileError, PrebuildError, RequestEndedError
from prebuild_tasks.faces import collecting_no_garbage
from prebuild_tasks.model.terminal import escaped, escaped_json
from prebuild_tasks.remedy_commands import next_step_of

if TYPE_CHECKING:
    from typer._click import Command as AnyCommand
    from typer._click import Context

COMMANDS = {
    "up": ("up.command", "Run the whole service on this machine and show its pools"),
    "apply": ("commands.pools", "Store the pools that a file declares"),
    "plan": ("commands.plan", "Show what apply would change and how each pool would react"),
    "status": ("commands.status", "Show the state and the next action of every pool"),
    "explain": ("commands.explain", "Explain the state of a pool and how to fix it"),
    "claim": ("commands.claims", "Claim a ready workspace"),
    "workspaces": ("commands.claims", "List workspaces"),
    "release": ("commands.claims", "Give a claimed workspace back, which deletes it"),
    "delete": ("commands.claims", "Delete any workspace (for operators)"),
    "extend": ("commands.operate", "Let a claimed workspace live longer"),
    "pause": ("commands.operate", "Stop creating and deleting prebuilds; claims go on"),
    "resume": ("commands.operate", "End a pause"),
    "versions": ("commands.versions", "List the versions of a template"),
    "promote": ("commands.operate", "Activate a stored version of a template"),
    "invalidate": ("commands.operate", "Replace every current prebuild of a pool"),
    "unblock": ("commands.operate", "Let a pool build again after repeated failures"),
    "forget": ("commands.operate", "Give up the workspaces of a host that will not come back"),
    "reconcile": ("commands.pools", "Reconcile every pool, or one, now"),
    "builds": ("commands.builds", "List builds, newest first"),
    "logs": ("commands.builds", "Show the output of a build"),
    "history": ("commands.builds", "Show who changed a workspace or a pool, newest first"),
    "events": ("commands.events", "Show what happened, oldest first, and follow it"),
    "report": ("commands.report", "Report how well pools served claims, and what they cost"),
    "audit": ("commands.audit", "Check the invariants of the running system"),
    "sweep": ("commands.audit", "Show resources that belong to no known workspace"),
    "adopt": ("commands.audit", "Give a resource with a claim marker back to its owner, after a restore"),
    "doctor": ("commands.doctor", "Diagnose the service and say how to fix what is wrong"),
    "health": ("commands.doctor", "Check one part of the service, for health probes"),
    "serve": ("commands.serve", "Serve the page and the HTTP API"),
    "exporter": ("commands.exporter", "Serve Prometheus metrics"),
    "token": ("commands.tokens", "Manage the tokens of the HTTP API"),
    "webhook": ("commands.webhooks", "Manage what is told to other services"),
    "login": ("commands.login", "Store a token for the HTTP API of another machine"),
    "db": ("commands.admin", "Manage the database schema"),
    "config": ("commands.admin", "Show settings and the schema of the pools file"),
    "decide": ("commands.admin", "Answer decision cases"),
}
_HIDDEN = {"decide"}
_USAGE = 2
_UNWRITABLE = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
_KEYS_OF_ENDED = ("state", "workspace", "workspace_id", "ended_at", "ended_by")
"""The further keys of a repeated request whose workspace is gone."""


class LazyGroup(TyperGroup):
    """A group that lists its commands without importing them, and imports the one that is called."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Return the names of all commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> AnyCommand | None:
        """Return a stand-in that has only the command's name and short help; None for an unknown command."""
        if cmd_name not in COMMANDS:
            return None
        return TyperCommand(cmd_name, short_help=COMMANDS[cmd_name][1], hidden=cmd_name in _HIDDEN)

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, AnyCommand | None, list[str]]:
        """Return the name, the imported command and the arguments that are left for it."""
        if args and args[0] in COMMANDS:
            if "--help" not in args:
                from prebuild_tasks.cli.afar import require_database

                require_database(args[0])
            return args[0], load_command(args[0], as_json="--json" in args), args[1:]
        return super().resolve_command(ctx, args)


def load_command(name: str, *, as_json: bool = False) -> AnyCommand:
    """Import a command, which is a function or a Typer group of that name in its module.

    `as_json` tells that its output and errors are JSON, so that what it logs is JSON as well.
    """
    from prebuild_tasks.logs import configure_command_logging

    configure_command_logging(as_json=as_json)
    module, short_help = COMMANDS[name]
    with collecting_no_garbage():
        target = getattr(import_module(f"prebuild_tasks.cli.{module}"), name)
        gc.freeze()
    if isinstance(target, typer.Typer):
        return typer.main.get_command(target)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name, cls=Command, help=(target.__doc__ or short_help))(target)
    return typer.main.get_command(single)


# Without markup, because importing rich for the help would take longer than the rest of --help.
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
    """Keep pools of ready-to-claim developer workspaces at their desired size."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    An error is printed to standard error as one sentence with the next step, or as JSON with `--json`. `arguments`
    default to those of the process.
    """
    argv = list(sys.argv[1:] if arguments is None else arguments)
    code = 0
    make_writable()
    try:
        with _escaped_usage(argv):
            code = _run(argv)
        sys.stdout.flush()
    except OSError as error:
        if not _is_of_stream(error):
            raise
        if not isinstance(error, BrokenPipeError):  # which means that the reader has ended, as `head` does
            code = code or PrebuildError.exit_code
            with suppress(OSError):
                sys.stderr.write(f"prebuild: standard output cannot be written: {error.strerror or error}\n")
        drop_unwritten()
    return code


def _escaped_usage(argv: Sequence[str]) -> AbstractContextManager[object]:
    """Escape all that is written to standard error if an argument has control characters, which typer repeats."""
    if all(map(str.isprintable, argv)):
        return nullcontext()
    return redirect_stderr(cast("IO[str]", EscapedOutput(sys.stderr)))


def _run(argv: list[str]) -> int:
    try:
        typer.main.get_command(app).main(argv, prog_name="prebuild")
    except SystemExit as done:  # typer exits so, after it has printed what was wrong with the arguments
        if isinstance(done.__context__, BrokenPipeError):
            raise done.__context__ from None
        code = done.code if isinstance(done.code, int) else int(done.code is not None)
        # `plan --detailed-exitcode` exits 2 for changes, so a usage error, for which typer exits 2, must exit 1.
        is_usage = code == _USAGE and not isinstance(done.__context__, typer.Exit)
        return 1 if is_usage and "--detailed-exitcode" in argv else code
    except KeyboardInterrupt:
        return 130
    except PrebuildError as error:
        with suppress(OSError):
            _report(error, as_json="--json" in argv)
        return error.exit_code
    except Exception as error:
        if _is_of_stream(error) or os.environ.get("PREBUILD_DEBUG"):
            raise
        summary = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        with suppress(OSError):
            hint = "set PREBUILD_DEBUG=1 for the traceback"
            _report(PrebuildError(f"unexpected: {summary}", hint=hint), as_json=False)
        return PrebuildError.exit_code
    finally:
        if output := sys.modules.get("prebuild_tasks.cli.output"):
            output.close_opened()
    return 0


def _is_of_stream(error: Exception) -> bool:
    """Return whether a standard stream could not be written; the error of a file has the file's name."""
    return isinstance(error, OSError) and error.filename is None and error.errno in _UNWRITABLE


def _report(error: PrebuildError, *, as_json: bool) -> None:
    if as_json:
        body: dict[str, str | None] = {"error": error.code, "message": error.message, "hint": next_step_of(error)}
        if reason := getattr(error, "reason", ""):
            body["reason"] = reason
        if isinstance(error, ClaimMissError):
            body["next_change"] = error.next_change.isoformat() if error.next_change else None
        if isinstance(error, RequestEndedError):
            body |= {name: getattr(error, name) for name in _KEYS_OF_ENDED}
        sys.stderr.write(escaped_json(json.dumps(body)) + "\n")
        return
    step = next_step_of(error)
    message = _problems(error) if isinstance(error, PoolsFileError) else error.message
    sys.stderr.write(escaped(f"prebuild: {message}\n" + (f"  next: {step}\n" if step else "")))


def _problems(error: PoolsFileError) -> str:
    """Return the number of problems, and on lines of their own each problem and its fix."""
    number = len(error.problems)
    lines = [f"the pools file has {number} problems:" if number > 1 else "the pools file has a problem:"]
    for problem in error.problems:
        lines.append(f"  {replace(problem, fix='')}")
        lines += [f"    Fix: {problem.fix}"] if problem.fix else []
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
