"""Shell completion of names in the database: at most 200, within a second, and none if it cannot be reached."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer

from prebuild_tasks.model.terminal import escaped

if TYPE_CHECKING:
    from sqlalchemy import Connection

    Query = Callable[[Connection], Sequence[str]]

TIMEOUT = 1.0
"""Seconds to wait for the database after Tab was pressed."""
_LIMIT = 200
"""The most names that are offered."""


def complete_preset(incomplete: str) -> list[str]:
    """Return the active presets, as template/preset, that start with this text."""

    def query(connection: Connection) -> Sequence[str]:
        from prebuild_tasks.schema.lookup import preset_names

        return [name for name in preset_names(connection) if name.startswith(incomplete)]

    return _answer(query)


def complete_workspace(incomplete: str) -> list[str]:
    """Return the names, starting with this text, of workspaces that are not deleted. Claimed ones come first."""
    return _answer(lambda connection: _workspaces(connection, incomplete, claimed=False))


def complete_claimed(incomplete: str) -> list[str]:
    """Return the names of claimed workspaces that start with this text."""
    return _answer(lambda connection: _workspaces(connection, incomplete, claimed=True))


def complete_template(incomplete: str) -> list[str]:
    """Return the names of templates that start with this text."""

    def query(connection: Connection) -> Sequence[str]:
        from prebuild_tasks.schema.lookup import template_names

        return template_names(connection, incomplete, _LIMIT)

    return _answer(query)


def complete_token(incomplete: str) -> list[str]:
    """Return the names of tokens that start with this text and were not revoked."""

    def query(connection: Connection) -> Sequence[str]:
        from prebuild_tasks.schema.lookup import token_names

        return token_names(connection, incomplete, _LIMIT)

    return _answer(query)


def complete_webhook(incomplete: str) -> list[str]:
    """Return the names of webhooks that start with this text."""

    def query(connection: Connection) -> Sequence[str]:
        from prebuild_tasks.schema.lookup import webhook_names

        return webhook_names(connection, incomplete, _LIMIT)

    return _answer(query)


def complete_api(incomplete: str) -> list[str]:
    """Return the address of the HTTP API that commands ask already; without one, how an address begins."""
    from prebuild_tasks.remote import read_login

    login = None
    with suppress(Exception):  # a login that cannot be used is about to be replaced
        login = read_login(os.environ)
    return [url for url in [login.url if login else "https://"] if url.startswith(incomplete)]


def complete_host(incomplete: str) -> list[str]:
    """Return the hosts, starting with this text, that hold workspaces or had a builds worker."""
    from prebuild_tasks.upkeep import known_hosts

    def query(connection: Connection) -> Sequence[str]:
        return [host for host in known_hosts(connection) if host.startswith(incomplete)]

    return _answer(query)


def complete_status(incomplete: str) -> list[str]:
    """Return the statuses of builds that start with this text."""
    from prebuild_tasks.model.vocabulary import BuildStatus

    return [status.value for status in BuildStatus if status.value.startswith(incomplete)]


def complete_state(incomplete: str) -> list[str]:
    """Return the states of workspaces that start with this text."""
    from prebuild_tasks.model.vocabulary import WorkspaceState

    return [state.value for state in WorkspaceState if state.value.startswith(incomplete)]


PresetArgument = Annotated[str, typer.Argument(help="template/preset", autocompletion=complete_preset)]
PresetOption = Annotated[str, typer.Option(help="Only those of this template/preset", autocompletion=complete_preset)]
WorkspaceArgument = Annotated[str, typer.Argument(help="Name, owner/name or id", autocompletion=complete_workspace)]
ClaimedArgument = Annotated[str, typer.Argument(help="Name, owner/name or id", autocompletion=complete_claimed)]


def _workspaces(connection: Connection, incomplete: str, *, claimed: bool) -> Sequence[str]:
    from prebuild_tasks.schema.lookup import workspace_names

    return workspace_names(connection, incomplete, _LIMIT, claimed=claimed)


def _answer(query: Query) -> list[str]:
    """Return the names that the query finds; empty after any error and after `TIMEOUT`.

    An error is not shown, because it would garble the line that is being typed.
    """
    with suppress(Exception):
        import prebuild_tasks.db.engine  # noqa: F401 - imported first, so that the timeout is for the database alone
    names: list[str] = []

    def read() -> None:
        with suppress(Exception):
            # A name that would change the terminal when it is offered is left out; `workspaces` shows it escaped.
            names.extend(name for name in _names(query) if escaped(name) == name)

    thread = Thread(target=read, daemon=True)  # so that a driver that hangs does not keep the process
    thread.start()
    thread.join(TIMEOUT)
    return names[:_LIMIT]


def _names(query: Query) -> Sequence[str]:
    from sqlalchemy.engine import make_url

    from prebuild_tasks.config import load_settings
    from prebuild_tasks.db.engine import Database

    settings = load_settings()
    url = make_url(settings.resolved_database_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return []  # opening the database would create it
    database = Database.of(settings)
    try:
        with database.read() as connection:
            return query(connection)
    finally:
        database.close()
