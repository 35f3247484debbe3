"""The steps that repair something, as pages show them: the command, and for who may its button."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.remedy_commands import spell
from prebuild_tasks.web.page.actions import ACTIONS, may_change_pools, page_of_pool
from prebuild_tasks.web.page.installation_actions import RESUME_ALL, SWEEP, may_confirm_sweep, may_resume_all
from prebuild_tasks.web.page.live_kinds import Viewer

_OF_POOL: Mapping[RemedyKind, str] = {
    RemedyKind.RESUME: "resume",
    RemedyKind.UNBLOCK_POOL: "unblock",
    RemedyKind.RECONCILE: "reconcile",
}
"""The actions that carry out a remedy of a pool."""
_RESUME_ALL = Remedy(RemedyKind.RESUME)


@dataclass(frozen=True, slots=True)
class Button:
    """A button, whose form says first what it will do."""

    action: str
    """The path of the form."""
    label: str


@dataclass(frozen=True, slots=True)
class ShownStep:
    """A step that repairs something."""

    command: str
    """Empty: no command does it."""
    why: str
    button: Button | None = None
    """The button that takes the step; None: it has none, or not for who looks."""
    page: str = ""
    """The path of the page that shows what the step is about; empty: none does, or it has a button."""


def shown_step(remedy: Remedy | None, command: str, why: str, viewer: Viewer) -> ShownStep:
    """Return a step with the command that carries out its remedy, and with its button for who may press it."""
    if remedy is None:
        return ShownStep(command, why)
    button = _button(remedy, viewer)
    return ShownStep(command, why, button, "" if button else _page_of(remedy, viewer))


def offered_once(steps: Iterable[ShownStep]) -> list[ShownStep]:
    """Return the steps of a page. Of those that have the same button, the first one keeps it."""
    offered = list[ShownStep]()
    for step in steps:
        is_repeated = step.button is not None and any(step.button == other.button for other in offered)
        offered.append(replace(step, button=None) if is_repeated else step)
    return offered


def resume_all_step(viewer: Viewer) -> ShownStep:
    """Return the step that ends a pause of everything."""
    return shown_step(_RESUME_ALL, spell(_RESUME_ALL), "reconcile all pools again", viewer)


def _button(remedy: Remedy, viewer: Viewer) -> Button | None:
    if remedy.kind is RemedyKind.CONFIRM_LOSS:
        return Button(SWEEP.path, "Confirm") if may_confirm_sweep(viewer) else None
    if remedy == _RESUME_ALL:
        return Button(RESUME_ALL.path, "Resume all") if may_resume_all(viewer) else None
    name = _OF_POOL.get(remedy.kind)
    if not (name and remedy.subject and may_change_pools(viewer)):
        return None
    label = next(action.label for action in ACTIONS if action.name == name)
    return Button(f"{_path_of(remedy)}/{name}", label)


def _page_of(remedy: Remedy, viewer: Viewer) -> str:
    match remedy.kind:
        case RemedyKind.SHOW_LOG:
            return f"/builds/{quote(remedy.subject, safe='')}"
        case RemedyKind.LIST_BUILDS:
            return f"/builds?{urlencode({'preset': remedy.subject})}"
        case RemedyKind.LIST_RUNNING_BUILDS:
            return "/builds?status=running"
        case RemedyKind.LIST_WORKSPACES:
            return "/workspaces"
        case RemedyKind.LIST_PROBLEMS:
            return "/pools"
        case RemedyKind.EXPLAIN_POOL if remedy.subject:
            return _path_of(remedy)
        case RemedyKind.DIAGNOSE if viewer.reach.is_everything:  # the page is about the whole installation
            return "/health"
        case _:
            return ""


def _path_of(remedy: Remedy) -> str:
    """Return the path of the page of the pool that a remedy is for."""
    template, _, preset = remedy.subject.partition("/")
    return page_of_pool(template, preset)
