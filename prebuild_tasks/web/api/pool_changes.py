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
class PoolChanges:
    """Changes a pool for who asks. The methods raise what the functions of `pools` do."""

    runtime: Runtime
    pool: str
    """`template/preset[@version]`; empty: all pools."""
    actor: Actor
    reach: Reach
    request: str = ""
    """The text by which the history knows the request; empty: it may be made twice."""

    def pause(self, body: PauseBody) -> OperationResult:
        """Stop creating and deleting prebuilds."""
        return pools.pause(
            self.runtime.database,
            self.pool,
            actor=self.actor,
            reason=body.reason,
            until=body.until,
            seconds=parse_duration(body.duration) if body.duration else None,
            request=self.request,
            reach=self.reach,
        )

    def resume(self) -> OperationResult:
        """End the pause."""
        return pools.resume(self.runtime.database, self.pool, actor=self.actor, request=self.request, reach=self.reach)

    def unblock(self) -> OperationResult:
        """Build again after failures."""
        return pools.unblock(self.runtime.database, self.pool, actor=self.actor, reach=self.reach)

    def invalidate(self) -> OperationResult:
        """Replace every prebuild."""
        return pools.invalidate(self.runtime.database, self.pool, actor=self.actor, reach=self.reach)


async def request_turn(redis: RedisCalls, preset_id: int | None, name: str) -> None:
    """Ask for the turn of a preset, or of all for None. Raises ProblemError (503) if Redis did not take the message."""
    if not await redis.request_turn(preset_id, name):
        raise ProblemError(unusable("Redis did not take the message"))
