"""Run the upkeep services and send what follows from them; ask the hosts for what only they can do."""

from __future__ import annotations

from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.fleet import all_know_host_tasks, live_hosts
from prebuild_tasks.messaging import (
    BUILDS,
    PROBE_PREBUILDS,
    PROBE_PREBUILDS_ON_HOST,
    SWEEP,
    SWEEP_RESOURCES_ON_HOST,
    Messages,
)
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.upkeep import probes
from prebuild_tasks.upkeep import sweep as sweeps
from prebuild_tasks.upkeep.strays import compare
from prebuild_tasks.workspaces import send


def run_sweep(database: Database, settings: Settings, messages: Messages) -> dict[str, object]:
    """Mend lost builds and messages, failed deletions, old rows, and hosts that are no longer heard of."""
    result = sweeps.sweep(database, settings, lambda host: messages.waiting(settings.queue(BUILDS, host)))
    send(database, messages, result.follow_up)
    return result.report()


def ask_for_resources(database: Database, settings: Settings, messages: Messages) -> dict[str, object]:
    """Ask each host that is alive to look for strays; the first also looks where any host can."""
    with database.read() as connection:
        now = database.now(connection)
        hosts = sorted(live_hosts(connection, settings, now))
        by_own_name = all_know_host_tasks(connection, settings, now)
    requests = {host: {"shared": position == 0} for position, host in enumerate(hosts)}
    if by_own_name:
        return {"asked": messages.to_hosts(SWEEP_RESOURCES_ON_HOST, requests)}
    # The form of release 0.1, which goes when 0.1 is no longer understood.
    return {"asked": messages.to_hosts(SWEEP, {host: {"here": True, **given} for host, given in requests.items()})}


def sweep_resources_on_host(
    database: Database, settings: Settings, messages: Messages, provisioners: Provisioners, *, shared: bool
) -> dict[str, object]:
    """Look on this host for resources that no workspace knows of; with `shared`, also where any host can look."""
    result = compare.sweep_resources(database, settings, provisioners, shared=shared)
    send(database, messages, result.follow_up)
    return result.report()


def ask_for_probes(database: Database, settings: Settings, messages: Messages) -> dict[str, object]:
    """Ask each host that has prebuilds due for a probe; `""` is any host."""
    hosts = probes.due_hosts(database, settings)
    if not hosts:
        return {"asked": 0}
    with database.read() as connection:
        by_own_name = all_know_host_tasks(connection, settings, database.now(connection))
    # The other one is the form of release 0.1, which goes when 0.1 is no longer understood.
    task = PROBE_PREBUILDS_ON_HOST if by_own_name else PROBE_PREBUILDS
    return {"asked": messages.to_hosts(task, {host: {"host": host} for host in hosts})}


def probe_on_host(
    database: Database, settings: Settings, messages: Messages, provisioners: Provisioners, host: str
) -> dict[str, object]:
    """Probe what is due at `host`, or anywhere with `""`, and replace what fails."""
    result = probes.probe_prebuilds(database, settings, provisioners, host)
    send(database, messages, result.follow_up)
    return result.report()
