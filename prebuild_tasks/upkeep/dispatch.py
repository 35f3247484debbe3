"""Services together with the messages that follow from them: what the tasks call, and commands that do their work."""

from __future__ import annotations

from typing import Any

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.fleet.hosts import alive
from prebuild_tasks.messaging.publisher import BUILDS, PROBE_PREBUILDS, SWEEP
from prebuild_tasks.upkeep import probes
from prebuild_tasks.upkeep import sweep as sweeps
from prebuild_tasks.upkeep.strays import compare
from prebuild_tasks.workspaces.outbox import follow_up


def sweep(here: Runtime) -> dict[str, Any]:
    """Builds, messages, failed deletions, old rows; and hosts that are no longer heard of."""
    result = sweeps.sweep(
        here.database, here.settings, lambda host: here.messages.waiting(here.settings.queue(BUILDS, host))
    )
    follow_up(here.database, here.messages, result.builds, result.preset_ids)
    return result.report()


def ask_for_resources(here: Runtime) -> dict[str, Any]:
    """One message per host that is there; the first of them also looks where any host can."""
    with here.database.read() as connection:
        hosts = sorted(alive(connection, here.settings, here.database.now(connection)))
    requests = {host: {"here": True, "shared": position == 0} for position, host in enumerate(hosts)}
    return {"asked": here.messages.to_hosts(SWEEP, requests)}


def sweep_resources_here(here: Runtime, *, shared: bool) -> dict[str, Any]:
    """Look for resources that no workspace knows of."""
    result = compare.sweep_resources(here.database, here.settings, here.provisioners, shared=shared)
    follow_up(here.database, here.messages, result.builds, result.preset_ids)
    return result.report()


def ask_for_probes(here: Runtime) -> dict[str, Any]:
    """One message per host with prebuilds that are due."""
    hosts = probes.due_hosts(here.database, here.settings)
    return {"asked": here.messages.to_hosts(PROBE_PREBUILDS, {host: {"host": host} for host in hosts})}


def probe(here: Runtime, host: str) -> dict[str, Any]:
    """Probe what is due, replace what fails."""
    result = probes.probe_prebuilds(here.database, here.settings, here.provisioners, host)
    follow_up(here.database, here.messages, result.builds, result.preset_ids)
    return result.report()
