"""Names that the shell completes, read from the database: few, quickly, and none at all when it is away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy import Connection

    Question = Callable[[Connection], Sequence[str]]

PATIENCE = 1.0
"""Seconds: whoever presses Tab does not wait longer for a database that does not answer."""
_MOST = 200


def complete_preset(incomplete: str) -> list[str]:
    """`template/preset` of every active preset that begins so."""

    def ask(connection: Connection) -> Sequence[str]:
        from prebuild_tasks.schema.lookup import preset_names

        return [name for name in preset_names(connection) if name.startswith(incomplete)]

    return _asked(ask)


def complete_workspace(incomplete: str) -> list[str]:
    """Workspaces that are not deleted, claimed ones first."""
    return _asked(lambda connection: _workspaces(connection, incomplete, claimed=False))


def complete_claimed(incomplete: str) -> list[str]:
    """Workspaces that somebody has."""
    return _asked(lambda connection: _workspaces(connection, incomplete, claimed=True))


def complete_template(incomplete: str) -> list[str]:
    """Templates."""

    def ask(connection: Connection) -> Sequence[str]:
        from sqlalchemy import select

        from prebuild_tasks.schema import tables as m

        named = m.Template.name.startswith(incomplete, autoescape=True)
        query = select(m.Template.name).where(m.Template.deleted_at.is_(None), named)
        return connection.execute(query.order_by(m.Template.name).limit(_MOST)).scalars().all()

    return _asked(ask)


def complete_host(incomplete: str) -> list[str]:
    """Hosts that hold workspaces or had a builds worker."""
    from prebuild_tasks.upkeep import known_hosts

    def ask(connection: Connection) -> Sequence[str]:
        return [host for host in known_hosts(connection) if host.startswith(incomplete)]

    return _asked(ask)


def complete_status(incomplete: str) -> list[str]:
    """Where a build can be."""
    from prebuild_tasks.model.vocabulary import BuildStatus

    return [status.value for status in BuildStatus if status.value.startswith(incomplete)]


def complete_state(incomplete: str) -> list[str]:
    """Where a workspace can be."""
    from prebuild_tasks.model.vocabulary import WorkspaceState

    return [state.value for state in WorkspaceState if state.value.startswith(incomplete)]


PresetArgument = Annotated[str, typer.Argument(help="template/preset", autocompletion=complete_preset)]
PresetOption = Annotated[str, typer.Option(help="Only of this template/preset", autocompletion=complete_preset)]
WorkspaceArgument = Annotated[str, typer.Argument(help="Name, owner/name or id", autocompletion=complete_workspace)]
ClaimedArgument = Annotated[str, typer.Argument(help="Name, owner/name or id", autocompletion=complete_claimed)]


def _workspaces(connection: Connection, incomplete: str, *, claimed: bool) -> Sequence[str]:
    from sqlalchemy import select

    from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER
    from prebuild_tasks.schema import tables as m

    is_prebuild = m.Workspace.owner == PREBUILDS_OWNER
    named = m.Workspace.name.startswith(incomplete, autoescape=True)
    query = select(m.Workspace.name).where(m.Workspace.deleted_at.is_(None), named)
    query = query.where(~is_prebuild) if claimed else query
    return connection.execute(query.order_by(is_prebuild, m.Workspace.name).limit(_MOST)).scalars().all()


def _asked(question: Question) -> list[str]:
    """The answer; empty when there is none soon, whatever the reason: an error would garble the line being typed."""
    with suppress(Exception):
        import prebuild_tasks.db.engine  # noqa: F401 - before the clock runs: only the database is short of time
    found: list[str] = []

    def ask() -> None:
        with suppress(Exception):
            found.extend(_names(question))

    thread = Thread(target=ask, daemon=True)  # a driver that hangs is left behind
    thread.start()
    thread.join(PATIENCE)
    return found[:_MOST]


def _names(question: Question) -> Sequence[str]:
    from sqlalchemy.engine import make_url

    from prebuild_tasks.config import load_settings
    from prebuild_tasks.db.engine import Database

    url = make_url(load_settings().resolved_database_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return []  # opening it would make it
    database = Database(url.render_as_string(hide_password=False))
    try:
        with database.read() as connection:
            return question(connection)
    finally:
        database.close()
