"""Hosts that report their presence, and prebuilds that are on them."""

from __future__ import annotations

from sqlalchemy import update

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.fleet.presence import Presence
from prebuild_tasks.schema import tables as m
from tests.support.builders import jump


def report_presence(database: Database, settings: Settings, *hosts: str) -> list[Presence]:
    """Let the builds workers of these hosts report that they are there."""
    presences = [Presence(database, settings.model_copy(update={"host": host}), "builds") for host in hosts]
    for presence in presences:
        presence.announce()
    return presences


def be_silent_for_long(database: Database, settings: Settings, presence: Presence) -> None:
    """Let the time pass after which a silent host is lost, while this one reports all along."""
    for _ in range(int(settings.host_lost // 60) + 1):
        jump(database, 60)
        presence.announce()


def place_on(database: Database, host: str) -> None:
    """Record that every workspace without a host is on this one."""
    with database.write() as connection:
        connection.execute(update(m.Workspace).where(m.Workspace.host == "").values(host=host))
