"""The command `versions`."""

from __future__ import annotations

from typing import Annotated

import typer

from prebuild_tasks import insight
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.completion import complete_template
from prebuild_tasks.cli.output import JsonOption, opened, write_json, write_rows
from prebuild_tasks.config import load_settings
from prebuild_tasks.json_views import fields_of, rows_of

_COLUMNS = {
    "version": "VERSION",
    "is_active": "ACTIVE",
    "created_at": "CREATED (UTC)",
    "ready": "READY",
    "last_ready_at": "LAST READY",
    "last_error": "LAST ERROR",
}


def versions(
    template: Annotated[str, typer.Argument(help="Name of the template", autocompletion=complete_template)],
    as_json: JsonOption = False,
) -> None:
    """List the versions of a template, newest first, and how well each can be built.

    To activate one of them: prebuild promote TEMPLATE VERSION.
    """
    rows = insight.versions(opened(Runtime(load_settings())).database, template)
    if as_json:
        write_json(rows_of(rows))
        return
    shown = [
        {
            **fields_of(row),
            "is_active": "yes" if row.active else "",
            "created_at": f"{row.created_at:%Y-%m-%d %H:%M}",
            "last_ready_at": f"{row.last_ready_at:%Y-%m-%d %H:%M}" if row.last_ready_at else "never",
            "last_error": " ".join(row.last_error.split()),
        }
        for row in rows
    ]
    write_rows(shown, _COLUMNS, empty="no versions")
