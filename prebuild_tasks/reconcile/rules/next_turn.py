"""What the next turns of a pool's versions do, asked of all of them at once: for people, who look at many pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from prebuild_tasks.reconcile.rules.decide import Quantities, decide
from prebuild_tasks.reconcile.rules.model import CancelPending, Create, Delete, PresetSnapshot
from prebuild_tasks.reconcile.rules.rollout import Gated, Rolling, Successor, gate_active, gate_inactive, ungated
from prebuild_tasks.reconcile.rules.state import count, desired_now, is_past_ttl


@dataclass(frozen=True, slots=True)
class Version:
    """A pool's preset in one version, with its prebuilds."""

    order: int
    """Newer versions have a higher one."""
    snapshot: PresetSnapshot
    rolling: Rolling | None
    """How it replaces while it is the active one, older versions not counted; None: all at once."""


def next_turns(versions: Sequence[Version], now: datetime) -> dict[str, Quantities]:
    """By preset, what its next turn does of its decision, before backoff and limits.

    What creation waits for is told apart: here the question is how many, were it not for that.
    """
    active = next((item for item in versions if item.snapshot.preset.active and item.rolling), None)
    return {item.snapshot.preset.id: _amount(_gated(item, active, versions, now)) for item in versions}


def _gated(item: Version, active: Version | None, versions: Sequence[Version], now: datetime) -> Gated:
    snapshot = replace(item.snapshot, failures=None)
    decision = decide(snapshot, now, timedelta())
    if active is None or active.rolling is None:
        return ungated(decision)
    if item is active:
        older = sum(_second_choices(other, now) for other in versions if other is not item)
        return gate_active(snapshot, decision, replace(active.rolling, older=older), now)
    if snapshot.preset.active:
        return ungated(decision)
    between = sum(_second_choices(other, now) for other in versions if other is not active and other.order > item.order)
    preset = active.snapshot.preset
    successor = Successor(desired_now(preset, now), count(active.snapshot, now).ready + between)
    return gate_inactive(snapshot, decision, successor, now)


def _second_choices(item: Version, now: datetime) -> int:
    """How many of its prebuilds a claim may still take, outdated or not."""
    preset = item.snapshot.preset
    return sum(one.ready and not is_past_ttl(preset, one.created_at, now) for one in item.snapshot.running)


def _amount(gated: Gated) -> Quantities:
    return Quantities(
        delete=sum(len(action.ids) for action in gated.actions if isinstance(action, Delete)),
        cancel=sum(action.count for action in gated.actions if isinstance(action, CancelPending)),
        create=sum(action.count for action in gated.actions if isinstance(action, Create)),
    )
