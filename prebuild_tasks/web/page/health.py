"""The findings of `prebuild doctor`, as far as a serving process can tell."""

from __future__ import annotations

from starlette.responses import Response

from prebuild_tasks.insight import RedisFact, diagnose, examine
from prebuild_tasks.web.api.problems import ProblemError, unusable
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.visit import Visit


async def show_health(visit: Visit) -> Response:
    """Show what is wrong, causes first, and which parts answered."""
    database, settings = visit.door.runtime.database, visit.door.settings
    # Its provisioners may need sockets and files that only workers have; the machine is for who is logged in there.
    facts = await visit.in_thread(lambda: examine(database, settings, None))
    if facts.database:
        raise ProblemError(unusable("the database does not answer"))
    life = facts.liveness
    return visit.show(
        "health",
        findings=diagnose(facts),
        at=life.now if life else None,
        schema=facts.schema,
        redis=facts.redis if isinstance(facts.redis, RedisFact) else None,
        alive={role: len(life.alive(role)) for role in ("worker", "builds", "beat")} if life else {},
        tick=life.tick_age if life else None,
        paused_by=facts.paused_by,
    )


PAGES = (Page(path="/health", handle=show_health, title="Health", sees_all=True),)
