"""The parts of one pool's page: its state, why it is short, its buttons, versions, prebuilds and builds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prebuild_tasks.errors import NotFoundError
from prebuild_tasks.insight import (
    BuildView,
    Explained,
    PoolMembers,
    VersionView,
    explain_preset,
    find_pool,
    list_builds,
    pool_members,
    pool_state,
    versions,
)
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.remedy_commands import spell
from prebuild_tasks.start_commands import usual_start_commands, why_of
from prebuild_tasks.web.page.actions import (
    ACTIONS,
    PoolAction,
    may_change_pools,
    page_of_pool,
)
from prebuild_tasks.web.page.live_kinds import LiveKind, Viewer, ViewRead, seen_alike
from prebuild_tasks.web.page.parts import Part
from prebuild_tasks.web.page.render import Frame, render_part
from prebuild_tasks.web.page.steps import ShownStep, shown_step
from prebuild_tasks.web.page.visit import root_of

_MEMBERS, _BUILDS = 100, 15
"""The most rows of each table; the lists of workspaces and builds have the rest."""


@dataclass(frozen=True, slots=True)
class ShownPool:
    """A pool, as the views of the command line and the API show it."""

    name: str
    path: str
    """Of its page, below the root."""
    root: str
    """Begins every path."""
    explained: Explained
    commands: Sequence[str]
    """The command of each step."""
    members: PoolMembers
    builds: Sequence[BuildView]
    versions: Sequence[VersionView]
    """Those that are active or have workspaces of the pool, newest first."""


async def _read(look: ViewRead) -> ShownPool:
    """Read the pool that the path names. Raises NotFoundError, also for one that is out of reach."""
    view = await look.in_thread(lambda: _view(look))
    lock = await look.door.redis.look_at_turn(view.explained.preset_id)
    explained = view.explained.with_lock(lock)
    start = usual_start_commands(look.door.settings)
    commands = [spell(step.remedy, start) for step in explained.explanation.steps]
    return replace(view, explained=explained, commands=commands)


def _view(look: ViewRead) -> ShownPool:
    database, reach, name = look.door.runtime.database, look.viewer.reach, pool_name(look.viewer)
    find_pool(database, reach, name)  # which names no pool that is out of reach
    explained = explain_preset(database, look.door.settings, None, name, reach)
    ref = explained.facts.ref
    stored = versions(database, ref.template, ref.preset)
    return ShownPool(
        name,
        page_of_pool(look.viewer.field("template"), look.viewer.field("preset")),
        root_of(look.door),
        explained,
        (),
        pool_members(database, reach, name, _MEMBERS),
        list_builds(database, reach, None, _BUILDS, preset=name),
        [item for item in stored if item.active or item.ready or item.starting or item.claimed],
    )


def pool_name(viewer: Viewer) -> str:
    """Return the name of the pool whose page it is. Raises NotFoundError for one that no pool can have."""
    name = str(PoolName(viewer.field("template"), viewer.field("preset")))
    if not name.isprintable():
        raise NotFoundError(f"there is nothing named {name!r}")
    return name


def _parts(view: ShownPool, viewer: Viewer) -> Sequence[Part]:
    frame, facts, why = Frame(root=view.root), view.explained.facts, view.explained.explanation
    share = min(facts.state.eligible / facts.state.desired, 1.0) if facts.state.desired else 1.0
    state = pool_state(
        facts.counted.preset, facts.status, why.reason,
        is_paused=facts.pause is not None, desired=facts.state.desired, eligible=facts.state.eligible,
    )  # fmt: skip
    steps = [
        shown_step(step.remedy, command, why_of(step), viewer)
        for step, command in zip(why.steps, view.commands, strict=True)
    ]
    parts = {
        "pool-head": render_part("pool_parts", "head", view.name, facts, share, state),
        "pool-why": render_part("pool_parts", "why_card", frame, why, steps),
        "pool-versions": render_part("pool_tables", "versions_table", view.versions),
        "pool-members": render_part("pool_tables", "members_table", view.members, view.name, view.root),
        "pool-builds": render_part("pool_tables", "builds_table", view.builds, view.name, view.root),
    }
    if may_change_pools(viewer):
        offered = _offered(view.explained, steps)
        parts["pool-actions"] = render_part("pool_parts", "actions_card", frame, view.path, offered)
    return [Part(part_id, html) for part_id, html in parts.items()]


def _offered(explained: Explained, steps: Sequence[ShownStep]) -> list[PoolAction]:
    """Return the actions that may change something at present, without those that a step offers."""
    facts = explained.facts
    is_paused = facts.pause is not None and not facts.pause.everything
    is_blocked = facts.failures_in_row > 0 or facts.backs_off_until is not None or facts.status.value != "healthy"
    offered = {"pause": not is_paused, "resume": is_paused, "unblock": is_blocked}
    of_steps = {step.button.label for step in steps if step.button}
    return [action for action in ACTIONS if offered.get(action.name, True) and action.label not in of_steps]


POOL = LiveKind(name="pool", read=_read, parts=_parts, fields=("template", "preset"), subject=seen_alike)
