"""The findings of `prebuild doctor`, as far as a serving process can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.responses import Response

from prebuild_tasks.insight import Examination, Finding, RedisFact, diagnose, examine
from prebuild_tasks.remedy_commands import StartCommands, hint_and_command
from prebuild_tasks.start_commands import usual_start_commands
from prebuild_tasks.web.api.problems import ProblemError, unusable
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.live import read_live, show_live
from prebuild_tasks.web.page.live_kinds import LiveKind, Viewer, ViewRead
from prebuild_tasks.web.page.parts import Part
from prebuild_tasks.web.page.render import Frame, render_part
from prebuild_tasks.web.page.steps import ShownStep, offered_once, resume_all_step, shown_step
from prebuild_tasks.web.page.visit import Visit, root_of

_KINDS = ("head", "findings", "answers")
"""The parts of the page, which are macros of its template."""
_REST = 10.0
"""Seconds between two reads: each asks Redis and reads all pools."""
_ROLES = ("worker", "builds", "beat")


@dataclass(frozen=True, slots=True)
class HealthView:
    """The findings, and which parts answered."""

    root: str
    """Begins every path."""
    facts: Examination
    findings: Sequence[Finding]
    """Causes first."""
    start: StartCommands
    """The commands that start each process."""

    @property
    def redis(self) -> RedisFact | None:
        """The answer of Redis; None: it gave none."""
        return self.facts.redis if isinstance(self.facts.redis, RedisFact) else None

    @property
    def alive(self) -> Mapping[str, int]:
        """The running processes by role, if those are known."""
        life = self.facts.liveness
        return {role: len(life.alive(role)) for role in _ROLES} if life else {}


async def show_health(visit: Visit) -> Response:
    """Show what is wrong, causes first, and which parts answered."""
    return show_live(visit, HEALTH, await read_live(visit, HEALTH), "health")


async def _read(look: ViewRead) -> HealthView:
    database, settings = look.door.runtime.database, look.door.settings
    # Its provisioners may need sockets and files that only workers have; the machine is for who is logged in there.
    facts = await look.in_thread(lambda: examine(database, settings, None))
    if facts.database:
        raise ProblemError(unusable("the database does not answer"))
    return HealthView(root_of(look.door), facts, diagnose(facts), usual_start_commands(settings))


def _parts(view: HealthView, viewer: Viewer) -> Sequence[Part]:
    frame = Frame(root=view.root)
    steps = offered_once(_step(finding, view.start, viewer) for finding in view.findings)
    pairs = list(zip(view.findings, steps, strict=True))
    values: Mapping[str, Sequence[object]] = {"findings": [pairs], "answers": [resume_all_step(viewer)]}
    return [
        Part(f"health-{kind}", render_part("health_parts", kind, frame, view, *values.get(kind, ()))) for kind in _KINDS
    ]


def _step(finding: Finding, start: StartCommands, viewer: Viewer) -> ShownStep:
    following = hint_and_command(finding.hint, finding.remedy, start)
    return shown_step(finding.remedy, following.command, following.lead, viewer)


HEALTH = LiveKind(name="health", read=_read, parts=_parts, rest=_REST)
PAGES = (Page(path="/health", handle=show_health, title="Health", sees_all=True, live=HEALTH),)
