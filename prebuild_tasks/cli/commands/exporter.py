"""The command `exporter`, which serves Prometheus metrics over HTTP."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Annotated

import typer

from prebuild_tasks import __version__
from prebuild_tasks.cli.output import opened, write
from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import InputError, UnreachableError
from prebuild_tasks.insight import Exporter, render, serve
from prebuild_tasks.logs import configure_logging
from prebuild_tasks.model.addresses import host_in_url, plain_host


def exporter(
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; by default, PREBUILD_EXPORTER_PORT", min=0, max=65535)
    ] = None,
    bind: Annotated[str, typer.Option(help="Address to listen on; by default, PREBUILD_EXPORTER_BIND")] = "",
    once: Annotated[bool, typer.Option("--once", help="Print the metrics and exit")] = False,
) -> None:
    """Serve Prometheus metrics until stopped.

    Each scrape reads them from the database.
    """
    settings = load_settings()
    if once:
        source = opened(Exporter(settings, __version__))
        sys.stdout.write(render(source.families(source.read_or_raise())))
        return
    configure_logging(settings)
    _require_schema(settings)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    source = opened(Exporter(settings, __version__))
    try:
        address = plain_host(bind or settings.exporter_bind)
    except ValueError as error:
        raise InputError(f"--bind: {error}") from None
    listening_port = serve(source, address, settings.exporter_port if port is None else port)
    write(f"metrics: http://{host_in_url(address)}:{listening_port}/metrics")
    sys.stdout.flush()
    stopping.wait()


def _require_schema(settings: Settings) -> None:
    """Raise InputError for a database without a usable schema.

    One that cannot be reached is accepted, because it may come back while the exporter runs.
    """
    database = Database.of(settings)
    try:
        database.require_schema()
    except UnreachableError:
        pass
    finally:
        database.close()
