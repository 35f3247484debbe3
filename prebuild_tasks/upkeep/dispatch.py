"""Run the upkeep services, send their follow-ups, and send hosts the tasks that only they can carry out."""

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
from prebuild_tasks.upkeep import claimed_probes, probes
from prebuild_tasks.upkeep import sweep as sweeps
from prebuild_tasks.upkeep.strays import compare
from prebuild_tasks.upkeep.types import Asked, ProbeReport, StrayReport, SweepReport
from prebuild_tasks.workspaces import send


def run_sweep(database: Database, settings: Settings, messages: Messages) -> SweepReport:
    """Recover lost builds and messages, retry failed deletions, replace lost hosts' prebuilds, and prune old rows."""
    pause = sweeps.look_pause(settings)
    result = sweeps.sweep(database, settings, lambda host: messages.waiting(settings.queue(BUILDS, host)), pause=pause)
    send(database, messages, result.follow_up)
    return result.report()


def ask_for_resources(database: Database, settings: Settings, messages: Messages) -> Asked:
    """Ask each live host to look for strays. The first one also asks the provisioners that any host can reach."""
    with database.read() as connection:
        now = database.now(connection)
        hosts = sorted(live_hosts(connection, settings, now))
        use_host_tasks = all_know_host_tasks(connection, settings, now)
    requests = {host: {"shared": position == 0} for position, host in enumerate(hosts)}
    if use_host_tasks:
        return Asked(messages.to_hosts(SWEEP_RESOURCES_ON_HOST, requests))
    # The form of release 0.1. Remove it when 0.1 is no longer supported.
    old_form = {host: {"here": True, **arguments} for host, arguments in requests.items()}
    return Asked(messages.to_hosts(SWEEP, old_form))


def sweep_resources_on_host(
    database: Database, settings: Settings, messages: Messages, provisioners: Provisioners, *, shared: bool
) -> StrayReport:
    """Look for strays on this host; with `shared`, also at the provisioners that any host can reach."""
    result = compare.sweep_resources(database, settings, provisioners, shared=shared)
    send(database, messages, result.follow_up)
    return result.report()


def ask_for_probes(database: Database, settings: Settings, messages: Messages) -> Asked:
    """Ask each host with workspaces that are due for a probe to probe them; `""` is any host."""
    hosts = sorted({*probes.due_hosts(database, settings), *claimed_probes.hosts_of_due_claims(database, settings)})
    if not hosts:
        return Asked(0)
    with database.read() as connection:
        use_host_tasks = all_know_host_tasks(connection, settings, database.now(connection))
    # PROBE_PREBUILDS is the form of release 0.1. Remove it when 0.1 is no longer supported.
    task = PROBE_PREBUILDS_ON_HOST if use_host_tasks else PROBE_PREBUILDS
    return Asked(messages.to_hosts(task, {host: {"host": host} for host in hosts}))


def probe_on_host(
    database: Database, settings: Settings, messages: Messages, provisioners: Provisioners, host: str
) -> ProbeReport:
    """Probe what is due on `host` (`""`: what any host can reach), and replace failing prebuilds."""
    result = probes.probe_prebuilds(database, settings, provisioners, host)
    send(database, messages, result.follow_up)
    claimed_probes.probe_claimed(database, settings, provisioners, host)
    return result.report()
