"""The client of the HTTP API: `Client` with a web address, `AsyncClient`, and the command line from afar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.remote.async_client import AsyncClient
    from prebuild_tasks.remote.logins import Login, is_web_address, login_to, names_database, read_login, write_login
    from prebuild_tasks.remote.pool_steps import RemoteExplanation, RemoteRemedy
    from prebuild_tasks.remote.session import RemoteSession

__all__ = [
    "AsyncClient",
    "Login",
    "RemoteExplanation",
    "RemoteRemedy",
    "RemoteSession",
    "is_web_address",
    "login_to",
    "names_database",
    "read_login",
    "write_login",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "async_client": ("AsyncClient",),
            "logins": ("Login", "is_web_address", "login_to", "names_database", "read_login", "write_login"),
            "pool_steps": ("RemoteExplanation", "RemoteRemedy"),
            "session": ("RemoteSession",),
        },
    )
