"""The changes of pools that requests ask for. The HTTP API and the page make them in the same way."""

from __future__ import annotations

from dataclasses import dataclass

from prebuild_tasks import pools
from prebuild_tasks.access import Reach
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.model.actors import Actor
from prebuild_tasks.model.durations import parse_duration
from prebuild_tasks.pools import OperationResult
from prebuild_tasks.web.api.models import PauseBody
from prebuild_tasks.web.api.problems import ProblemError, unusable
from prebuild_tasks.web.api.redis_calls import RedisCalls


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRequest:
    """A request to change a pool, and who makes it."""

    runtime: Runtime
    pool: str
    """`template/preset[@version]`; empty: all pools."""
    actor: Actor
    reach: Reach
    mark: str = ""
    """The text by which the history knows the request; empty: it may be made twice."""


# Each of these raises what the function of `pools` does.
def pause_as_asked(asked: PoolRequest, body: PauseBody) -> OperationResult:
    """Stop creating and deleting prebuilds."""
    return pools.pause(
        asked.runtime.database,
        asked.pool,
        actor=asked.actor,
        reason=body.reason,
        until=body.until,
        seconds=parse_duration(body.duration) if body.duration else None,
        request=asked.mark,
        reach=asked.reach,
    )


def resume_as_asked(asked: PoolRequest) -> OperationResult:
    """End the pause."""
    return pools.resume(asked.runtime.database, asked.pool, actor=asked.actor, request=asked.mark, reach=asked.reach)


def unblock_as_asked(asked: PoolRequest) -> OperationResult:
    """Build again after failures."""
    return pools.unblock(asked.runtime.database, asked.pool, actor=asked.actor, reach=asked.reach)


def invalidate_as_asked(asked: PoolRequest) -> OperationResult:
    """Replace every prebuild."""
    return pools.invalidate(asked.runtime.database, asked.pool, actor=asked.actor, reach=asked.reach)


async def ask_for_turn(redis: RedisCalls, preset_id: int | None, name: str) -> None:
    """Ask for the turn of a preset, or of all for None. Raises ProblemError (503) if Redis did not take the message."""
    if not await redis.request_turn(preset_id, name):
        raise ProblemError(unusable("Redis did not take the message"))
