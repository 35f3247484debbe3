"""The command `serve`, which serves the page and the HTTP API."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.output import write
from prebuild_tasks.cli.when import seconds_of
from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.errors import InputError, UnreachableError
from prebuild_tasks.logs import configure_logging, get_logger

log = get_logger(__name__)


# More than six parameters: typer makes an argument or an option of each.
def serve(
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; by default, PREBUILD_SERVE_PORT", min=0, max=65535)
    ] = None,
    bind: Annotated[str, typer.Option(help="Address to listen on; by default, PREBUILD_SERVE_BIND")] = "",
    workers: Annotated[
        int | None, typer.Option(help="Number of processes; by default, PREBUILD_SERVE_WORKERS", min=1, max=64)
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file with the certificate and those above it")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file with the certificate's key")] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="Believe the forwarding headers of trusted proxies")
    ] = False,
    trusted_proxies: Annotated[
        list[str] | None, typer.Option(help="Networks of trusted proxies, such as 10.0.0.0/24; may be repeated")
    ] = None,
    keep_alive: Annotated[
        str, typer.Option(help="How long idle connections are kept; longer than the load balancer keeps them")
    ] = "75s",
    drain: Annotated[
        str, typer.Option(help="How long requests are still taken after SIGTERM, up to 4s, while /readyz answers 503")
    ] = "2s",
    metrics_open: Annotated[bool, typer.Option("--metrics-open", help="Answer /metrics without a token")] = False,
) -> None:
    """Serve the page and the HTTP API until stopped.

    It listens on the loopback address, unless it speaks TLS or a trusted proxy stands in front of it. Whoever uses it
    needs a token.
    """
    settings = load_settings()
    _require_extra()
    from prebuild_tasks.web import ServeOptions, check_options, make_served, proxy_networks, serve_api

    options = check_options(
        ServeOptions(
            bind=bind or settings.serve_bind,
            port=settings.serve_port if port is None else port,
            workers=workers or settings.serve_workers,
            tls_cert=tls_cert,
            tls_key=tls_key,
            behind_proxy=behind_proxy,
            trusted_proxies=proxy_networks(trusted_proxies or ()),
            public_url=settings.public_url,
            keep_alive=seconds_of(keep_alive, "--keep-alive"),
            drain=seconds_of(drain, "--drain"),
            metrics_open=metrics_open,
            rate=settings.serve_rate,
            burst=settings.serve_burst,
            connections=settings.serve_connections,
            streams=settings.serve_streams,
            streams_per_token=settings.serve_streams_per_token,
        )
    )
    configure_logging(settings)
    _require_keys(settings)
    _require_database(settings, options.connections_in_all)
    serve_api(settings, options, make_served, _announce)


def _announce(url: str) -> None:
    write(f"Page: {url}/pools\nAPI: {url}/v1, documented at {url}/docs")
    sys.stdout.flush()


def missing_packages() -> list[str]:
    """Return the packages of the extra that are not installed."""
    return [name for name in ("fastapi", "uvicorn", "httptools", "limits") if find_spec(name) is None]


def _require_extra() -> None:
    """Raise InputError if the packages of the extra are not installed."""
    if missing := missing_packages():
        raise InputError(
            f"the HTTP API needs {', '.join(missing)}", hint="install the extra: pip install 'prebuild-tasks[serve]'"
        )


def _require_keys(settings: Settings) -> None:
    """Raise InputError if the installation's keys cannot be used; say so if only this directory has them."""
    _ = Runtime(settings).keys
    if not settings.secret_key_file and not settings.resolved_database_url.startswith("sqlite"):
        log.info(
            "secret_key_of_this_directory",
            directory=str(settings.data_dir),
            note="processes elsewhere need the same key: see PREBUILD_SECRET_KEY_FILE",
        )


def _require_database(settings: Settings, connections: int) -> None:
    """Raise InputError for a database without a usable schema, or with fewer connections than will be used.

    One that cannot be reached is accepted, because it may come back while the API is served.
    """
    runtime = Runtime(settings)
    try:
        runtime.database.require_schema()
        allowed = runtime.database.connections_allowed()
    except UnreachableError:
        return
    finally:
        runtime.close()
    if allowed is not None and connections > allowed:
        raise InputError(
            f"the processes may use {connections} connections to the database, which allows {allowed} in all",
            hint="lower --workers or PREBUILD_SERVE_CONNECTIONS, or raise the database's max_connections",
        )
