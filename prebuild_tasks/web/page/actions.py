"""The buttons that change a pool: each says first what it will do, and does it once that is confirmed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from starlette.responses import Response

from prebuild_tasks import pools
from prebuild_tasks.errors import InputError
from prebuild_tasks.insight import explain_preset, find_pool
from prebuild_tasks.pools import OperationResult
from prebuild_tasks.web.api.auth import may_use
from prebuild_tasks.web.api.models import PauseBody
from prebuild_tasks.web.api.pool_changes import (
    PoolRequest,
    ask_for_turn,
    invalidate_as_asked,
    pause_as_asked,
    resume_as_asked,
    unblock_as_asked,
)
from prebuild_tasks.web.api.problems import ProblemError
from prebuild_tasks.web.page import effects
from prebuild_tasks.web.page.effects import Effects, PoolBefore
from prebuild_tasks.web.page.kinds import Form
from prebuild_tasks.web.page.live_kinds import Viewer
from prebuild_tasks.web.page.values import FormInstant, read_values
from prebuild_tasks.web.page.visit import Visit

POOL_PATH = "/pools/{template}/{preset}"
CONFIRM = "confirm"
"""The field whose presence confirms."""


class _PauseFields(PauseBody):
    """The reason and the end of a pause, as a form sends them."""

    until: FormInstant | None = None


_NO_FIELDS = _PauseFields()
_TURN = "reconcile"
"""The action that asks for a turn, and changes nothing by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolAction:
    """A button of a pool."""

    name: str
    """The last part of its path."""
    label: str
    effects: Effects
    done: str
    """What the page of the pool says afterwards, by its key in `DONE`."""
    not_done: str = ""
    """What it says if nothing was changed."""
    takes_pause: bool = False
    """Whether its form has the fields of a pause."""


ACTIONS = (
    PoolAction(name="pause", label="Pause", effects=effects.pause_effects, takes_pause=True, done="paused"),
    PoolAction(name="resume", label="Resume", effects=effects.resume_effects, done="resumed", not_done="not_paused"),
    PoolAction(
        name="unblock", label="Unblock", effects=effects.unblock_effects, done="unblocked", not_done="not_blocked"
    ),
    PoolAction(name="invalidate", label="Invalidate", effects=effects.invalidate_effects, done="invalidated"),
    PoolAction(name=_TURN, label="Reconcile", effects=effects.reconcile_effects, done="turn_requested"),
)


async def _named_pool(visit: Visit) -> str:
    """Return the name of the pool in the path. Raises NotFoundError, also for one that is out of reach."""
    name = "/".join((visit.named("template"), visit.named("preset")))
    await visit.in_thread(lambda: find_pool(visit.door.runtime.database, visit.principal.reach, name))
    return name


def page_of_pool(template: str, preset: str) -> str:
    """Return the path of a pool's page."""
    return "/".join(("/pools", quote(template, safe=""), quote(preset, safe="")))


def _path_of(visit: Visit) -> str:
    return page_of_pool(visit.named("template"), visit.named("preset"))


async def _ask_or_do(action: PoolAction, visit: Visit) -> Response:
    name = await _named_pool(visit)
    try:
        fields = read_values(_PauseFields, visit.fields) if action.takes_pause else _NO_FIELDS
    except ProblemError as error:
        return await _ask(action, visit, name, failed=error.details.detail)
    if CONFIRM not in visit.fields:
        return await _ask(action, visit, name, fields)
    try:
        changed = await _do(action, visit, name, fields)
    except InputError as error:
        return await _ask(action, visit, name, fields, failed=error.message)
    return visit.go(_path_of(visit), action.done if changed else action.not_done, changed=changed)


async def _ask(
    action: PoolAction, visit: Visit, name: str, fields: PauseBody = _NO_FIELDS, *, failed: str = ""
) -> Response:
    database, settings, reach = visit.door.runtime.database, visit.door.settings, visit.principal.reach

    def read() -> PoolBefore:
        explained = explain_preset(database, settings, None, name, reach)
        return PoolBefore(explained, pools.would_invalidate(database, name, reach))

    before, told = await visit.in_thread(read), list[str]()
    try:
        told += () if failed else action.effects(before, fields)
    except InputError as error:
        failed = error.message
    sent = {key: visit.fields.get(key, "") for key in PauseBody.model_fields} if action.takes_pause else {}
    if fields.until:  # as the field of the form takes it
        sent["until"] = f"{fields.until:%Y-%m-%dT%H:%M:%S}"
    return visit.show(
        "confirm",
        422 if failed else 200,
        title=f"{action.label} {name}?",
        label=action.label,
        action=f"{_path_of(visit)}/{action.name}",
        back=_path_of(visit),
        effects=told,
        fields=sent,
        failed=failed,
        danger=action.name == "invalidate",
    )


async def _do(action: PoolAction, visit: Visit, name: str, fields: PauseBody) -> bool:
    """Do what was confirmed, and return whether anything was changed."""
    runtime, reach = visit.door.runtime, visit.principal.reach
    if action.name == _TURN:
        preset_id = await visit.in_thread(lambda: find_pool(runtime.database, reach, name))
        await ask_for_turn(visit.door.redis, preset_id, name)
        return True
    asked = PoolRequest(runtime=runtime, pool=name, actor=visit.actor(), reach=reach)

    def work() -> bool:
        done = _change(action, asked, fields)
        visit.send_later(done.follow_up)
        return done.changed or not action.not_done

    return await visit.in_thread(work)


def _change(action: PoolAction, asked: PoolRequest, fields: PauseBody) -> OperationResult:
    match action.name:
        case "pause":
            return pause_as_asked(asked, fields)
        case "resume":
            return resume_as_asked(asked)
        case "unblock":
            return unblock_as_asked(asked)
        case _:
            return invalidate_as_asked(asked)


FORMS = tuple(
    Form(path=f"{POOL_PATH}/{action.name}", handle=partial(_ask_or_do, action), of_pools=True) for action in ACTIONS
)


def may_change_pools(viewer: Viewer) -> bool:
    """Return whether a viewer gets the buttons of pools."""
    return may_use(FORMS[0], viewer.scope, viewer.reach)
