"""Functions that the client processes of the claims' rows call."""

from __future__ import annotations

from collections.abc import Callable

from prebuild_tasks import Client
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.db.engine import Database
from prebuild_tasks.logs import configure_command_logging


def product(url: str, template: str, preset: str) -> Callable[[str], object]:
    """Claim like a portal's process, with one Database for all threads."""
    configure_command_logging()
    database, presets = Database(url), [f"{template}/{preset}"]
    return lambda who: claim(database, ClaimRequest(owner=f"person-{who}", presets=presets))


def client(url: str, template: str, preset: str, redis_url: str) -> Callable[[str], object]:
    """Claim by the Python API, which also sends the messages."""
    configure_command_logging()
    portal, name = Client(url, redis_url=redis_url), f"{template}/{preset}"
    return lambda who: portal.claim(name, owner=f"client-{who}")
