"""One pool: why it is short, the buttons that repair it, its versions, prebuilds, builds, schedule and plots."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote, urlencode

from starlette.responses import Response

from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.insight import (
    BuildView,
    Explained,
    PoolCurves,
    PoolMembers,
    PoolWeek,
    Step,
    VersionView,
    explain_preset,
    list_builds,
    pool_curves,
    pool_members,
    pool_week,
    versions,
)
from prebuild_tasks.reconcile import Reason
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.remedy_commands import spell
from prebuild_tasks.start_commands import usual_start_commands, why_of
from prebuild_tasks.web.page.actions import (
    ACTIONS,
    POOL_PATH,
    SWEEP,
    PoolAction,
    may_change_pools,
    may_confirm_sweep,
    named_pool,
    pool_path_of,
)
from prebuild_tasks.web.page.bands import week_band
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.plots import Plot, plots
from prebuild_tasks.web.page.visit import Visit

_MEMBERS, _BUILDS = 100, 15
"""The most rows of each table; the lists of workspaces and builds have the rest."""
_DAY, _WEEK = timedelta(days=1), timedelta(days=7)
_BUTTONS = {RemedyKind.RESUME: "resume", RemedyKind.UNBLOCK_POOL: "unblock", RemedyKind.RECONCILE: "reconcile"}
"""The actions that carry out a remedy of the pool itself."""


@dataclass(frozen=True, slots=True)
class ShownStep:
    """A step that repairs the pool."""

    command: str
    why: str
    action: str = ""
    """The path of the form that takes the step; empty: it has none, or not for who looks."""
    label: str = ""
    """The words on its button."""
    page: str = ""
    """The path of the page that shows what the step is about; empty: none does."""


@dataclass(frozen=True, slots=True)
class _PoolView:
    """A pool, as the views of the command line and the API show it."""

    explained: Explained
    members: PoolMembers
    builds: list[BuildView]
    versions: list[VersionView]
    """Those that are active or have workspaces of the pool, newest first."""
    week: PoolWeek
    last_day: PoolCurves
    last_week: PoolCurves


async def show_pool(visit: Visit) -> Response:
    """Show a pool within reach."""
    name = await named_pool(visit)
    view = await visit.in_thread(lambda: _read(visit, name))
    lock = await visit.door.redis.look_at_turn(view.explained.preset_id)
    explained = view.explained.with_lock(lock)
    facts, why = explained.facts, explained.explanation
    missing = max(facts.state.desired - facts.state.eligible, 0)
    return visit.show(
        "pool",
        name=name,
        path=pool_path_of(visit),
        facts=facts,
        why=why,
        share=min(facts.state.eligible / facts.state.desired, 1.0) if facts.state.desired else 1.0,
        state="full" if not missing and why.reason is Reason.NONE else why.reason.value,
        steps=[shown_step(visit, step) for step in why.steps],
        actions=_offered(explained) if may_change_pools(visit) else (),
        members=view.members,
        builds=view.builds,
        versions=view.versions,
        band=week_band(view.week),
        periods=(_period("The last day", view.last_day), _period("The last week", view.last_week)),
    )


def shown_step(visit: Visit, step: Step) -> ShownStep:
    """Return a step of `explain` with its command, and its button for who may press it."""
    remedy = step.remedy
    command, why = spell(remedy, usual_start_commands(visit.door.settings)), why_of(step)
    if remedy.kind is RemedyKind.CONFIRM_LOSS and may_confirm_sweep(visit):
        return ShownStep(command, why, SWEEP.path, "Confirm")
    name = _BUTTONS.get(remedy.kind)
    if name and remedy.subject and may_change_pools(visit):
        action = next(action for action in ACTIONS if action.name == name)
        return ShownStep(command, why, f"{pool_path_of(visit)}/{name}", action.label)
    return ShownStep(command, why, page=_page_of(remedy))


def _page_of(remedy: Remedy) -> str:
    match remedy.kind:
        case RemedyKind.SHOW_LOG:
            return f"/builds/{quote(remedy.subject, safe='')}"
        case RemedyKind.LIST_BUILDS:
            return f"/builds?{urlencode({'preset': remedy.subject})}"
        case RemedyKind.LIST_RUNNING_BUILDS:
            return "/builds?status=running"
        case RemedyKind.LIST_WORKSPACES:
            return "/workspaces"
        case _:
            return ""


def _read(visit: Visit, name: str) -> _PoolView:
    database, settings, reach = visit.door.runtime.database, visit.door.settings, visit.principal.reach
    explained = explain_preset(database, settings, None, name, reach)
    ref = explained.facts.ref
    stored = versions(database, ref.template, ref.preset)
    return _PoolView(
        explained,
        pool_members(database, reach, name, _MEMBERS),
        list_builds(database, reach, None, _BUILDS, preset=name),
        [item for item in stored if item.active or item.ready or item.starting or item.claimed],
        pool_week(database, reach, name),
        pool_curves(database, settings, reach, name, _DAY),
        pool_curves(database, settings, reach, name, _WEEK),
    )


def _offered(explained: Explained) -> list[PoolAction]:
    """Return the actions that may change something at present."""
    facts = explained.facts
    is_paused = facts.pause is not None and not facts.pause.everything
    is_blocked = facts.failures_in_row > 0 or facts.backs_off_until is not None or facts.status.value != "healthy"
    offered = {"pause": not is_paused, "resume": is_paused, "unblock": is_blocked}
    return [action for action in ACTIONS if offered.get(action.name, True)]


def _period(title: str, curves: PoolCurves) -> tuple[str, list[Plot], tuple[str, ...]]:
    return title, plots(curves), curves.notes


async def show_none(visit: Visit) -> Response:
    """Tell that a path below `/pools` names nothing. Raises NotFoundError."""
    raise NotFoundError(f"there is no page {visit.request.url.path}")


PAGES = (Page(path=POOL_PATH, handle=show_pool), Page(path="/pools/{rest:path}", handle=show_none))
