"""The names of the queues."""

from __future__ import annotations

QUEUES = EVENTS, RECONCILE, BUILDS, CLAIMS, DEFAULT = ("events", "reconcile", "builds", "claims", "default")
"""Short names of the queues; `Settings.queue` gives the full ones."""
CONTROL = (EVENTS, RECONCILE, CLAIMS, DEFAULT)
"""Queues that a control worker consumes."""
