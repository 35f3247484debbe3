"""One judgement of a pool for status, explain, plan and metrics: its numbers, its next turn, what holds it back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from prebuild_tasks.config import Settings
from prebuild_tasks.core.actions import Quantities, quantities
from prebuild_tasks.core.facts import Budget
from prebuild_tasks.core.limits import Capped, LimitReason, cap_creations
from prebuild_tasks.core.model import PresetSnapshot, ReconciliationState
from prebuild_tasks.core.reasons import Reason, Staff, why_short
from prebuild_tasks.core.rollout import Rolling
from prebuild_tasks.core.state import compute_state
from prebuild_tasks.core.turns import Version, next_turns
from prebuild_tasks.messages import BUILDS, DEFAULT, EVENTS, RECONCILE
from prebuild_tasks.services.liveness import Liveness, read_liveness
from prebuild_tasks.storage.budgets import Usage, read_usage
from prebuild_tasks.storage.siblings import read_running
from prebuild_tasks.storage.snapshots import PoolRow


@dataclass(frozen=True, slots=True)
class Scene:
    """What all pools share at one instant."""

    now: datetime
    usage: dict[int, Usage]
    in_flight: dict[int, int]
    global_max: int
    backoff_interval: timedelta
    staff: Staff
    liveness: Liveness
    gated: Mapping[int, Quantities] = field(default_factory=dict)
    """By preset, what its next turn does where replacing by and by holds back a part of it."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One pool's numbers, what its decisions do, and what holds it back."""

    state: ReconciliationState
    amount: Quantities
    """All there is to be done, by however many turns."""
    wanted: int
    """How many its next turn would create, were there no limits."""
    turn: Quantities
    """What its next turn does, when it comes and may."""
    reason: Reason
    budget: Budget | None
    """The limit that lets nothing more through at present."""
    cut_by: LimitReason | None
    """The limit that lets through only a part."""

    @property
    def stand_in(self) -> int:
        """How many are to go once they are replaced, and can be claimed as second choice until then."""
        return max(self.amount.delete - self.turn.delete, 0)


def read_scene(connection: Connection, settings: Settings, now: datetime, rows: Sequence[PoolRow] = ()) -> Scene:
    """A fixed number of statements.

    `rows`: pools in all their versions, so that what replacing by and by holds back is known.
    """
    usage, in_flight = read_usage(connection)
    liveness = read_liveness(connection, settings, now)
    return Scene(
        now=now,
        usage=usage,
        in_flight=in_flight,
        global_max=settings.max_builds_in_flight,
        backoff_interval=timedelta(seconds=settings.backoff_interval),
        staff=Staff(
            worker=not unserved(liveness, settings),
            builds=bool(liveness.serving(settings.queue(BUILDS))),
            ticking=not liveness.tick_stale,
        ),
        liveness=liveness,
        gated=_gated(connection, rows, now),
    )


def unserved(liveness: Liveness, settings: Settings) -> tuple[str, ...]:
    """The queues without which no decision is made, and that nobody consumes."""
    queues = (settings.queue(name) for name in (EVENTS, RECONCILE, DEFAULT))
    return tuple(queue for queue in queues if not liveness.serving(queue))


def judge(row: PoolRow, scene: Scene) -> Judgement:
    """What status, explain, plan and the metrics say of a pool: one judgement for all."""
    state = compute_state(row.preset, row.counts, scene.now)
    amount = quantities(row.preset, row.counts, state.desired)
    gated = scene.gated.get(row.preset_id, amount)
    capped = _cap(row, gated.create, scene)
    budget = _budget(row, capped.reason, scene) if gated.create and not capped.count and capped.reason else None
    reason = why_short(
        row.counted,
        state,
        gated.create,
        scene.now,
        paused=row.paused is not None,
        status=row.status,
        backoff_interval=scene.backoff_interval,
        limit=budget.limit if budget else None,
        staff=scene.staff,
        resting=row.rests_until is not None,
        failure=row.failure,
    )
    turn = gated._replace(create=capped.count)
    return Judgement(state, amount, gated.create, turn, reason, budget, capped.reason if capped.count else None)


def _gated(connection: Connection, rows: Sequence[PoolRow], now: datetime) -> dict[int, Quantities]:
    """Of the pools that are being replaced by and by. One statement, and none where none is."""
    pools: dict[str, list[PoolRow]] = defaultdict(list)
    for row in rows:
        pools[row.ref.partition("@")[0]].append(row)
    replacing = [versions for versions in pools.values() if _is_replacing(versions)]
    if not replacing:
        return {}
    running = read_running(connection, [row.preset_id for versions in replacing for row in versions])
    found: dict[int, Quantities] = {}
    for versions in replacing:
        turns = next_turns(
            [
                Version(
                    order=row.preset_id,
                    snapshot=PresetSnapshot(
                        row.preset,
                        tuple(running.get(row.preset_id, ())),
                        starting=row.counts.starting,
                        pending=row.counts.pending,
                    ),
                    rolling=Rolling(row.max_surge, row.ready_timeout) if row.rolling else None,
                )
                for row in versions
            ],
            now,
        )
        found.update({int(preset_id): amount for preset_id, amount in turns.items()})
    return found


def _is_replacing(versions: Sequence[PoolRow]) -> bool:
    active = next((row for row in versions if row.preset.active and row.rolling), None)
    if active is None:
        return False
    outdated = any(row.counts.live + row.counts.expired for row in versions if row is not active)
    return bool(outdated or active.counts.expired or active.counts.aging)


def _cap(row: PoolRow, wanted: int, scene: Scene) -> Capped:
    usage = scene.usage[row.counted.organization_id]
    return cap_creations(
        wanted,
        preset_in_flight=scene.in_flight.get(row.preset_id, 0),
        preset_max=row.counted.max_builds_in_flight,
        organization_in_flight=usage.builds_in_flight,
        organization_max=usage.max_builds_in_flight,
        global_in_flight=_everywhere(scene),
        global_max=scene.global_max or None,
        organization_workspaces=usage.workspaces,
        organization_max_workspaces=usage.max_workspaces,
        slow_start_limit=row.counted.slow_start,
    )


def _budget(row: PoolRow, limit: LimitReason, scene: Scene) -> Budget:
    usage = scene.usage[row.counted.organization_id]
    in_flight = scene.in_flight.get(row.preset_id, 0)
    used, most = {
        LimitReason.SLOW_START: (in_flight, row.counted.slow_start),
        LimitReason.PRESET_BUILDS: (in_flight, row.counted.max_builds_in_flight),
        LimitReason.ORGANIZATION_BUILDS: (usage.builds_in_flight, usage.max_builds_in_flight),
        LimitReason.GLOBAL_BUILDS: (_everywhere(scene), scene.global_max),
        LimitReason.QUOTA: (usage.workspaces, usage.max_workspaces),
    }[limit]
    return Budget(limit, used, most or 0, usage.name, usage.claimed)


def _everywhere(scene: Scene) -> int:
    return sum(scene.in_flight.values()) if scene.global_max else 0
