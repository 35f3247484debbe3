"""The report of today, or of the last days, on all pools or on one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum

from starlette.responses import Response

from prebuild_tasks.insight import Report, compile_report, find_pool
from prebuild_tasks.web.api.auth import may_use
from prebuild_tasks.web.api.models import Name, Nothing
from prebuild_tasks.web.api.problems import problem
from prebuild_tasks.web.page.kinds import Page
from prebuild_tasks.web.page.live import read_live, show_live, viewer_of
from prebuild_tasks.web.page.live_kinds import LiveKind, Viewer, ViewRead, seen_alike
from prebuild_tasks.web.page.parts import Part
from prebuild_tasks.web.page.render import Frame, render_part
from prebuild_tasks.web.page.values import read_values
from prebuild_tasks.web.page.visit import Visit, root_of
from prebuild_tasks.web.report_page import ReportContent, report_content


class Period(StrEnum):
    """The period of the report, up to now."""

    TODAY = "today"
    """Since midnight, UTC."""
    WEEK = "week"
    MONTH = "month"

    def since(self, now: datetime) -> datetime:
        """Return its begin."""
        match self:
            case Period.TODAY:
                midnight = datetime.combine(now.date(), time(), now.tzinfo)
                return midnight if midnight < now else now - timedelta(seconds=1)
            case Period.WEEK:
                return now - timedelta(days=7)
            case Period.MONTH:
                return now - timedelta(days=30)


class _ReportQuery(Nothing):
    """The period and the pool of the report."""

    period: Period = Period.TODAY
    preset: Name = ""


@dataclass(frozen=True, slots=True)
class ReportView:
    """A report, ready to be shown."""

    root: str
    """Begins every path."""
    content: ReportContent


async def show_report(visit: Visit) -> Response:
    """Show the report on the pool that the query names, or on all; of who does not see all, the choice of a pool."""
    viewer = viewer_of(visit, REPORT)
    query = _query(viewer)
    pools, periods = visit.principal.presets, list(Period)
    if not _may_read(query, viewer):
        return visit.show("report", is_chosen=False, shown=query, pools=pools, periods=periods)
    view = await read_live(visit, REPORT)
    return show_live(
        visit, REPORT, view, "report",
        is_chosen=True, shown=query, pools=pools, periods=periods, headings=view.content.headings,
    )  # fmt: skip


async def _read(look: ViewRead) -> ReportView:
    query, database, settings = _query(look.viewer), look.door.runtime.database, look.door.settings
    if not _may_read(query, look.viewer):
        refusal = "the report on all pools needs a token without a restriction"
        raise problem(403, "reach_too_narrow", refusal, hint="name a pool")

    def compile_it() -> Report:
        if query.preset:
            find_pool(database, look.viewer.reach, query.preset)
        return compile_report(database, settings, since=query.period.since, preset=query.preset)

    return ReportView(root_of(look.door), report_content(await look.in_thread(compile_it)))


def _parts(view: ReportView, _: Viewer) -> Sequence[Part]:
    frame, content = Frame(root=view.root), view.content
    plots = [
        Part(f"report-plot-{number}", render_part(_PARTS, "plot", f"report-plot-{number}", plot), "report-plots")
        for number, plot in enumerate(content.plots)
    ]
    names = [f"report-of-{row.name.replace(' ', '-')}" for row in content.rows] if content.has_pools else []
    rows = [
        Part(name, render_part(_PARTS, "row", name, row, content.headings), "report-rows")
        for name, row in zip(names, content.rows, strict=False)
    ]
    return [*(Part(f"report-{kind}", render_part(_PARTS, kind, frame, content)) for kind in _KINDS), *plots, *rows]


def _query(viewer: Viewer) -> _ReportQuery:
    return read_values(_ReportQuery, dict(viewer.fields))


def _may_read(query: _ReportQuery, viewer: Viewer) -> bool:
    return bool(query.preset) or may_use(_WHOLE, viewer.scope, viewer.reach)


_PARTS, _KINDS = "report_parts", ("head", "notes", "tiles", "advice", "empty")
"""The template of the parts of the page, and those of its macros that are shown once."""
_REST = 5.0
"""Seconds between two reads: each goes through all that happened in the period."""
REPORT = LiveKind(name="report", read=_read, parts=_parts, fields=("period", "preset"), subject=seen_alike, rest=_REST)
PAGES = (Page(path="/report", handle=show_report, title="Report", live=REPORT),)
_WHOLE = Page(path="/report", handle=show_report, sees_all=True)
"""The report on all pools."""
