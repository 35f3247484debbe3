"""`audit` and `sweep`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from prebuild_tasks import insight, upkeep
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.json_views import rows_of
from prebuild_tasks.cli.output import ActorOption, JsonOption, opened, write, write_json, write_rows
from prebuild_tasks.cli.progress import Working
from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import AuditError
from prebuild_tasks.insight import audit_twice
from prebuild_tasks.upkeep import StrayState, ask_for_resources, list_strays

_PAUSE = 2.0
_STRAY_COLUMNS = {
    "provisioner": "PROVISIONER",
    "host": "HOST",
    "workspace_id": "WORKSPACE",
    "resource_id": "RESOURCE",
    "first_seen_at": "SINCE",
    "state": "STATE",
}


def audit(
    database_only: Annotated[bool, typer.Option("--database-only", help="Do not ask the provisioners")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the invariants on the live system; exit 8 and name the rows when one is broken."""
    here = opened(Runtime(load_settings()))
    provisioners = None if database_only else here.provisioners
    with Working("asking the provisioners what there is" if provisioners else "reading", quiet=as_json) as working:

        def pause() -> None:
            working.say("something was found: looking again, for it may be on its way")
            time.sleep(_PAUSE)

        findings = audit_twice(lambda: insight.audit(here.database, here.settings, provisioners), pause)
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
    confirm: Annotated[bool, typer.Option("--confirm", help="Remove what waits for confirmation")] = False,
    *,
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Show resources that carry our mark and that no workspace knows of, and have every host look again."""
    here = opened(Runtime(load_settings()))
    confirmed = upkeep.confirm(here.database, actor=actor) if confirm else 0
    with Working("asking the hosts to look", quiet=as_json):
        asked = ask_for_resources(here.database, here.settings, here.messages)["asked"]
    rows = list_strays(here.database)
    if as_json:
        write_json({"confirmed": confirmed, "asked": asked, "resources": rows_of(rows)})
        return
    write_rows(rows_of(rows), _STRAY_COLUMNS, empty="nothing unknown")
    if confirmed:
        write(f"{confirmed} confirmed: they are removed at the next look")
    elif waiting := sum(row.state is StrayState.WAITING for row in rows):
        write(f"{waiting} are too many to be an accident, so none is removed; if they may go: prebuild sweep --confirm")
    write(f"{asked} hosts were asked to look" if asked else "no builds worker is there to look; see: prebuild status")
