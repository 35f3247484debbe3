"""The command line from afar: commands that ask the HTTP API, where a login names one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prebuild_tasks.cli.output import opened
from prebuild_tasks.errors import InputError
from prebuild_tasks.remedies import Remedy, RemedyKind

if TYPE_CHECKING:  # a claim beside the database must be quick
    from prebuild_tasks.remote import RemoteSession

OVER_HTTP = frozenset({
    "claim", "release", "extend", "workspaces", "status", "explain", "builds", "logs", "history", "pause", "resume",
    "unblock", "invalidate", "reconcile", "events", "webhook",
})  # fmt: skip
"""Commands that work over HTTP, too."""
_BY_THEMSELVES = frozenset({"up", "login", "config", "decide"})
"""Commands that look at no service that runs elsewhere."""


def afar() -> RemoteSession | None:
    """Return the HTTP API that the command asks, to be closed when it ends; None: it uses the database.

    Raises InputError for a login that cannot be used.
    """
    from prebuild_tasks.remote import read_login

    login = read_login(os.environ)
    if login is None:
        return None
    from prebuild_tasks.remote import RemoteSession

    return opened(RemoteSession(login))


def require_database(command: str) -> None:
    """Raise InputError for a command that needs the database where only an HTTP API is named."""
    if command in OVER_HTTP or command in _BY_THEMSELVES:
        return
    from prebuild_tasks.remote import names_database, read_login

    if not names_database(os.environ) and (login := read_login(os.environ)):
        raise not_over_http(f"prebuild {command}", login.url)


def refuse_actor(command: str) -> None:
    """Raise InputError for an actor that was named, where the command asks an HTTP API: the token is the actor."""
    from prebuild_tasks.remote import read_login

    if command in OVER_HTTP and read_login(os.environ):
        raise InputError("--actor does not work over HTTP", hint="leave it out: the history names the token")


def not_over_http(what: str, url: str = "") -> InputError:
    """Return the error for what needs the database."""
    place = f", and this is logged in to {url}" if url else ""
    return InputError(
        f"{what} does not work over HTTP{place}",
        hint="run it where the database can be reached",
        remedy=Remedy(RemedyKind.SHOW_SETTINGS),
    )
