"""Web pages: the report with its charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.web.report_page import page

__all__ = ["page"]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(__name__, {"report_page": ("page",)})
