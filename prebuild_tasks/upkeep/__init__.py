"""Recovery from lost messages, workers and hosts: sweep, probes, lost hosts, strays, retention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.upkeep.dispatch import (
        ask_for_probes,
        ask_for_resources,
        probe_on_host,
        run_sweep,
        sweep_resources_on_host,
    )
    from prebuild_tasks.upkeep.lease_watch import LeaseWatch
    from prebuild_tasks.upkeep.retired_hosts import forget_host, host_of_workspaces, known_hosts
    from prebuild_tasks.upkeep.rules import StrayState
    from prebuild_tasks.upkeep.strays.adopt import Adoption, Wishes, give_back
    from prebuild_tasks.upkeep.strays.listing import listed_on_this_machine
    from prebuild_tasks.upkeep.strays.removal import remove_stray
    from prebuild_tasks.upkeep.strays.store import StrayView, confirm, list_strays, stray_state_sql
    from prebuild_tasks.upkeep.strays.to_confirm import waiting
    from prebuild_tasks.upkeep.sweep import take_back_lost

__all__ = [
    "Adoption",
    "LeaseWatch",
    "StrayState",
    "StrayView",
    "Wishes",
    "ask_for_probes",
    "ask_for_resources",
    "confirm",
    "forget_host",
    "give_back",
    "host_of_workspaces",
    "known_hosts",
    "list_strays",
    "listed_on_this_machine",
    "probe_on_host",
    "remove_stray",
    "run_sweep",
    "stray_state_sql",
    "sweep_resources_on_host",
    "take_back_lost",
    "waiting",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "dispatch": (
                "ask_for_probes",
                "ask_for_resources",
                "probe_on_host",
                "run_sweep",
                "sweep_resources_on_host",
            ),
            "lease_watch": ("LeaseWatch",),
            "retired_hosts": (
                "forget_host",
                "host_of_workspaces",
                "known_hosts",
            ),
            "rules": ("StrayState",),
            "strays.adopt": (
                "Adoption",
                "Wishes",
                "give_back",
            ),
            "strays.listing": ("listed_on_this_machine",),
            "strays.removal": ("remove_stray",),
            "strays.store": (
                "StrayView",
                "confirm",
                "list_strays",
                "stray_state_sql",
            ),
            "strays.to_confirm": ("waiting",),
            "sweep": ("take_back_lost",),
        },
    )
