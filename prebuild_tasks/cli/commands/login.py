"""The command `login`, which stores a token for the HTTP API."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from prebuild_tasks.cli.completion import complete_api
from prebuild_tasks.cli.output import opened, write
from prebuild_tasks.remote import RemoteSession, login_to, write_login

_DEADLINE = 5.0
"""Seconds within which the API must answer: a person waits, who may have mistyped the address."""


def login(
    url: Annotated[
        str,
        typer.Argument(help="Address of the API, such as https://prebuilds.example.com", autocompletion=complete_api),
    ],
) -> None:
    """Store a token for the HTTP API of another machine, which commands then ask.

    The token is read from standard input. PREBUILD_API_URL and PREBUILD_API_TOKEN win over what is stored, and so does
    a database that PREBUILD_DATABASE_URL names or that is in the data directory here.
    """
    token = typer.prompt("token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    checked = login_to(url, token.strip())
    opened(RemoteSession(checked, deadline=_DEADLINE)).check()
    path = write_login(os.environ, checked)
    write(f"logged in to {checked.url}; the token is in {path}, for your eyes only")
