"""`exporter`: Prometheus metrics over HTTP."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Annotated

import typer

from prebuild_tasks import __version__
from prebuild_tasks.cli.output import opened, write
from prebuild_tasks.config import load_settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.insight import Exporter, render, serve
from prebuild_tasks.logs import configure_logging


def exporter(
    port: Annotated[int | None, typer.Option(help="Port; by default PREBUILD_EXPORTER_PORT", min=0, max=65535)] = None,
    bind: Annotated[str, typer.Option(help="Address to listen on; by default PREBUILD_EXPORTER_BIND")] = "",
    once: Annotated[bool, typer.Option("--once", help="Print the metrics and exit")] = False,
) -> None:
    """Serve Prometheus metrics, read from the database when they are scraped. Runs until it is told to stop."""
    settings = load_settings()
    if once:
        here = opened(Exporter(settings, __version__))
        sys.stdout.write(render(here.families(here.read_or_raise())))
        return
    configure_logging(settings)
    _require_schema(settings.resolved_database_url)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    here = opened(Exporter(settings, __version__))
    address = bind or settings.exporter_bind
    served = serve(here, address, settings.exporter_port if port is None else port)
    write(f"metrics: http://{f'[{address}]' if ':' in address else address}:{served}/metrics")
    sys.stdout.flush()
    over.wait()


def _require_schema(url: str) -> None:
    """A database that is away comes back; one without our tables needs somebody."""
    database = Database(url)
    try:
        database.require_schema()
    except UnreachableError:
        pass
    finally:
        database.close()
