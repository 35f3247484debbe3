"""The report of today, or of the last days, on all pools or on one."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from enum import StrEnum

from starlette.responses import Response

from prebuild_tasks.insight import Report, compile_report, find_pool
from prebuild_tasks.web.api.auth import require_scope
from prebuild_tasks.web.api.models import Name, Nothing
from prebuild_tasks.web.page.kinds import Page, may_open
from prebuild_tasks.web.page.values import read_values
from prebuild_tasks.web.page.visit import Visit
from prebuild_tasks.web.report_page import report_content


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


async def show_report(visit: Visit) -> Response:
    """Show the report on the pool that the query names, or on all; of who does not see all, the choice of a pool."""
    query = read_values(_ReportQuery, visit.query)
    database, settings, reach = visit.door.runtime.database, visit.door.settings, visit.principal.reach
    names = visit.principal.presets
    if not query.preset and not may_open(_WHOLE, visit.session):
        return visit.show("report", content=None, shown=query, pools=names, periods=list(Period))

    def compile_it() -> Report:
        if query.preset:
            find_pool(database, reach, query.preset)
        else:
            require_scope(_WHOLE, visit.principal)
        return compile_report(database, settings, since=query.period.since, preset=query.preset)

    report = await visit.in_thread(compile_it)
    return visit.show("report", content=report_content(report), shown=query, pools=names, periods=list(Period))


PAGES = (Page(path="/report", handle=show_report, title="Report"),)
_WHOLE = Page(path="/report", handle=show_report, sees_all=True)
"""The report on all pools."""
