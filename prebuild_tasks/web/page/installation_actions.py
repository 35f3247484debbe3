"""The buttons that concern the whole installation: confirm what sweeps hold back, and resume all pools."""

from __future__ import annotations

from starlette.responses import Response

from prebuild_tasks import upkeep
from prebuild_tasks.access import EVERYTHING
from prebuild_tasks.insight import pool_lines
from prebuild_tasks.model.text import number
from prebuild_tasks.web.api.auth import may_use
from prebuild_tasks.web.api.pool_changes import PoolRequest, resume_as_asked
from prebuild_tasks.web.page.actions import CONFIRM
from prebuild_tasks.web.page.effects import resume_all_effects
from prebuild_tasks.web.page.kinds import Form
from prebuild_tasks.web.page.live_kinds import Viewer
from prebuild_tasks.web.page.visit import Visit


async def _confirm_sweep(visit: Visit) -> Response:
    """Confirm what sweeps hold back, or ask whether to."""
    database = visit.door.runtime.database
    if CONFIRM in visit.fields:
        confirmed = await visit.in_thread(lambda: upkeep.confirm(database, actor=visit.actor()))
        return visit.go("/health", "sweep_confirmed" if confirmed else "nothing_to_confirm", changed=bool(confirmed))
    waiting = await visit.in_thread(lambda: upkeep.waiting(database))
    told = (
        f"{number(waiting, 'stray or missing prebuild')} held back, because there are suspiciously many.",
        "The next sweep removes the strays, and replaces the missing prebuilds as lost.",
    )
    return visit.show(
        "confirm",
        title="Confirm what sweeps hold back?",
        label="Confirm",
        action=SWEEP.path,
        back="/health",
        effects=told if waiting else ("Nothing waits for a confirmation.",),
        fields={},
        failed="",
        danger=True,
    )


async def _resume_all(visit: Visit) -> Response:
    """End the pause of everything, or ask whether to."""
    runtime = visit.door.runtime
    if CONFIRM not in visit.fields:
        lines = await visit.in_thread(lambda: pool_lines(runtime.database, visit.door.settings, EVERYTHING))
        return visit.show(
            "confirm",
            title="Resume all pools?",
            label="Resume all",
            action=RESUME_ALL.path,
            back="/pools",
            effects=resume_all_effects(lines),
            fields={},
            failed="",
            danger=False,
        )
    asked = PoolRequest(runtime=runtime, pool="", actor=visit.actor(), reach=visit.principal.reach)

    def work() -> bool:
        done = resume_as_asked(asked)
        visit.send_later(done.follow_up)
        return done.changed

    changed = await visit.in_thread(work)
    return visit.go("/pools", "all_resumed" if changed else "not_all_paused", changed=changed)


SWEEP = Form(path="/sweep/confirm", handle=_confirm_sweep, sees_all=True)
RESUME_ALL = Form(path="/pools/resume", handle=_resume_all, of_pools=True, sees_all=True)
FORMS = (SWEEP, RESUME_ALL)


def may_confirm_sweep(viewer: Viewer) -> bool:
    """Return whether a viewer may confirm what sweeps hold back."""
    return may_use(SWEEP, viewer.scope, viewer.reach)


def may_resume_all(viewer: Viewer) -> bool:
    """Return whether a viewer may end the pause of everything."""
    return may_use(RESUME_ALL, viewer.scope, viewer.reach)
