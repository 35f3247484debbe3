"""The names of the queues and of the tasks that are sent to them."""

from __future__ import annotations

EVENTS, RECONCILE, BUILDS, CLAIMS, DEFAULT = ("events", "reconcile", "builds", "claims", "default")
WEBHOOKS = "webhooks"
QUEUES = (EVENTS, RECONCILE, BUILDS, CLAIMS, DEFAULT, WEBHOOKS)
"""Short names of the queues; `Settings.queue` gives the full ones.

Nothing is sent to `webhooks`: a worker that consumes it makes the deliveries, which are rows of the database.
"""
CONTROL = (EVENTS, RECONCILE, CLAIMS, DEFAULT)
"""Queues that a control worker consumes."""

RECONCILE_PRESET = "prebuild_tasks.reconcile_preset"
RECONCILE_ALL = "prebuild_tasks.reconcile_all"
RUN_BUILD = "prebuild_tasks.run_build"
PROBE_PREBUILDS = "prebuild_tasks.probe_prebuilds"
PROBE_PREBUILDS_ON_HOST = "prebuild_tasks.probe_prebuilds_on_host"
SWEEP = "prebuild_tasks.sweep"
SWEEP_RESOURCES_ON_HOST = "prebuild_tasks.sweep_resources_on_host"
