"""Processes of an installation, as examinations find them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prebuild_tasks.fleet.rules import Liveness, Process

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
CONTROL = ("p.events", "p.reconcile", "p.claims", "p.default")
BUILDS = "p.builds"


def process(role: str, *queues: str, host: str = "a", pid: int = 7, age: float = 2, old: float = 900) -> Process:
    return Process(
        name=f"{host}/{pid}/{host}-machine/ffff",
        role=role,
        host=host,
        queues=queues,
        version="1",
        started_at=NOW - timedelta(seconds=old),
        seen_at=NOW - timedelta(seconds=age),
        age=age,
        alive=age <= 30,
    )


WORKER = process("worker", *CONTROL)
BUILDER = process("builds", BUILDS, f"{BUILDS}.a")
BEAT = process("beat")


def life(*processes: Process, tick_age: float | None = 3, stale: bool = False) -> Liveness:
    return Liveness(NOW, processes, tick_age, stale)
