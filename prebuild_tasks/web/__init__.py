"""The page and the HTTP API with their server, a report's page, and the JSON of views that every face shows alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prebuild_tasks.faces import lazy

if TYPE_CHECKING:
    from prebuild_tasks.web.api.app import make_app
    from prebuild_tasks.web.report_page import report_html
    from prebuild_tasks.web.serve.options import ServeOptions, check_options, proxy_networks
    from prebuild_tasks.web.serve.run import serve_api
    from prebuild_tasks.web.serve.served import make_served
    from prebuild_tasks.web.views import build_json, explanation_json, report_json

__all__ = [
    "ServeOptions",
    "build_json",
    "check_options",
    "explanation_json",
    "make_app",
    "make_served",
    "proxy_networks",
    "report_html",
    "report_json",
    "serve_api",
]

if not TYPE_CHECKING:  # mypy would take every name for defined
    __getattr__ = lazy(
        __name__,
        {
            "api.app": ("make_app",),
            "report_page": ("report_html",),
            "serve.options": ("ServeOptions", "check_options", "proxy_networks"),
            "serve.run": ("serve_api",),
            "serve.served": ("make_served",),
            "views": ("build_json", "explanation_json", "report_json"),
        },
    )
