"""The commands `audit` and `sweep`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from prebuild_tasks import insight, upkeep
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.output import ActorOption, JsonOption, opened, write, write_json, write_rows
from prebuild_tasks.cli.progress import Working
from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import AuditError
from prebuild_tasks.insight import audit_twice
from prebuild_tasks.json_views import rows_of
from prebuild_tasks.upkeep import StrayState, ask_for_resources, list_strays

_PAUSE = 2.0
"""Seconds between the two readings of an audit."""
_STRAY_COLUMNS = {
    "provisioner": "PROVISIONER",
    "host": "HOST",
    "workspace_id": "WORKSPACE",
    "resource_id": "RESOURCE",
    "first_seen_at": "SINCE",
    "state": "STATE",
}


def audit(
    database_only: Annotated[
        bool, typer.Option("--database-only", help="Check the database without asking the provisioners")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the invariants of the running system.

    Exits with 8 and names the rows when one is violated.
    """
    runtime = opened(Runtime(load_settings()))
    provisioners = None if database_only else runtime.provisioners
    with Working(
        "listing the resources of the provisioners" if provisioners else "reading the database", quiet=as_json
    ) as working:

        def pause() -> None:
            working.say("checking again, because a finding may only be a change in progress")
            time.sleep(_PAUSE)

        findings = audit_twice(lambda: insight.audit(runtime.database, runtime.settings, provisioners), pause)
    if as_json:
        write_json({"clean": not findings, "findings": rows_of(findings)})
    elif not findings:
        write("clean")
    else:
        for finding in findings:
            write(f"invariant {finding.invariant}: {finding.subject}: {finding.what}")
    if findings:
        raise typer.Exit(AuditError.exit_code)


def sweep(
    confirm: Annotated[bool, typer.Option("--confirm", help="Remove resources that wait for confirmation")] = False,
    *,
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Show strays, and ask every host to look for more.

    A stray is a resource with this installation's mark that belongs to no known workspace. Strays are removed after a
    while; if there are suspiciously many, only after --confirm.
    """
    runtime = opened(Runtime(load_settings()))
    confirmed = upkeep.confirm(runtime.database, actor=actor) if confirm else 0
    with Working("asking the hosts to look for strays", quiet=as_json):
        asked = ask_for_resources(runtime.database, runtime.settings, runtime.messages).asked
    rows = list_strays(runtime.database)
    if as_json:
        write_json({"confirmed": confirmed, "asked": asked, "resources": rows_of(rows)})
        return
    write_rows(rows_of(rows), _STRAY_COLUMNS, empty="no strays")
    if confirmed:
        write(f"{confirmed} confirmed; the next sweep removes them")
    elif waiting := sum(row.state is StrayState.WAITING for row in rows):
        write(f"{waiting} strays are suspiciously many, so none is removed; to remove them: prebuild sweep --confirm")
    write(f"{asked} hosts were asked to look" if asked else "no builds worker is running to look; see: prebuild status")
