"""Parse the options of `prebuild up`, and run the service until it is stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from prebuild_tasks.cli.up.declare import Chosen
from prebuild_tasks.cli.up.host import with_kept_host
from prebuild_tasks.cli.up.service import Embedded, Parts
from prebuild_tasks.cli.when import seconds_of
from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.logs import configure_logging
from prebuild_tasks.reconcile import ReconciliationOrchestrator


# More than six parameters: typer makes an argument or an option of each.
def up(
    file: Annotated[
        list[Path] | None,
        typer.Option(
            "--file", help="Pools file to apply if nothing is declared yet; repeat the option for each overlay"
        ),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Apply the file, or else the example, even if other pools are declared")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Like --apply, even if more than half of all eligible prebuilds are deleted")
    ] = False,
    flower: Annotated[bool, typer.Option("--flower", help="Also run Flower")] = False,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="Do not serve the page and the HTTP API")] = False,
    until_full: Annotated[
        bool, typer.Option("--until-full", help="Stop with exit code 0 once every pool is full")
    ] = False,
    timeout: Annotated[
        str, typer.Option(help="Give up with exit code 6 if the pools are not full after this long, such as 90s or 5m")
    ] = "",
) -> None:
    """Run the whole service on this machine, and show its pools.

    Starts Redis unless PREBUILD_REDIS_URL is set, migrates the database, and runs a control worker, a builds worker, a
    webhooks worker and beat until Ctrl-C, and the HTTP API. Without a file, it declares an example. When pools are
    declared already, it shows how the file differs from them, and starts with what is declared.
    """
    limit = seconds_of(timeout, "--timeout") if timeout else None
    settings = load_settings()
    configure_logging(settings)
    settings = with_kept_host(settings)
    chosen = Chosen(tuple(file or ()), apply=apply or yes, yes=yes)
    parts = Parts(flower=flower, serve=not no_serve)
    service = orchestrator(settings, chosen=chosen, parts=parts, until_full=until_full, timeout=limit)
    stop_on_signals(service.stop)
    raise typer.Exit(service.run_loop())


def orchestrator(
    settings: Settings, *, chosen: Chosen, parts: Parts, until_full: bool, timeout: float | None
) -> ReconciliationOrchestrator:
    """Return the service that `up` runs."""
    return Embedded(settings, chosen=chosen, parts=parts, until_full=until_full, timeout=timeout)


def stop_on_signals(stop: Callable[[str], None]) -> None:
    """Call `stop` with the cause on Ctrl-C, SIGTERM and SIGHUP.

    A SIGHUP that is already ignored, as under `nohup`, stays ignored.
    """

    def on_signal(number: int, _frame: FrameType | None) -> None:
        stop("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, on_signal)
