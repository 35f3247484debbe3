"""The page of a report, and the JSON of views that every face shows alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.web.report_page import page
    from prebuild_tasks.web.views import build_json, explanation_json, report_json

__all__ = ["build_json", "explanation_json", "page", "report_json"]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "report_page": ("page",),
            "views": ("build_json", "explanation_json", "report_json"),
        },
    )
