"""The commands `audit`, `sweep` and `adopt`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from prebuild_tasks import insight, upkeep
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.json_views import audit_json
from prebuild_tasks.cli.output import ActorOption, JsonOption, opened, write, write_json, write_rows
from prebuild_tasks.cli.progress import Working
from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import AuditError, InputError
from prebuild_tasks.insight import Violation, audit_twice
from prebuild_tasks.json_views import fields_of, rows_of
from prebuild_tasks.model.text import number
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.remedy_commands import StartCommands, spell
from prebuild_tasks.start_commands import usual_start_commands, why_of
from prebuild_tasks.upkeep import StrayState, ask_for_resources, list_strays

PAUSE = 2.0
"""Seconds between the two readings of an audit."""
_STRAY_COLUMNS = {
    "provisioner": "PROVISIONER",
    "host": "HOST",
    "workspace_id": "WORKSPACE",
    "resource_id": "RESOURCE",
    "owner": "OWNER",
    "first_seen_at": "SINCE (UTC)",
    "state": "STATE",
    "problem": "NOT REMOVED",
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
            time.sleep(PAUSE)

        findings = audit_twice(lambda: insight.audit(runtime.database, runtime.settings, provisioners), pause)
    if as_json:
        write_json(audit_json(findings, usual_start_commands(runtime.settings)))
    elif not findings:
        write("clean")
    else:
        for finding in findings:
            _write_finding(finding, usual_start_commands(runtime.settings))
    if findings:
        raise typer.Exit(AuditError.exit_code)


def _write_finding(finding: Violation, start: StartCommands) -> None:
    by_whom = f", which {finding.owner} claimed" if finding.owner else ""
    write(f"invariant {finding.invariant}: {finding.subject}: {finding.what}{by_whom}")
    if finding.problem:
        write(f"  its removal failed: {finding.problem}")
    for step in finding.steps:
        write(f"  {spell(step.remedy, start)}\n    # {why_of(step)}")


def sweep(
    confirm: Annotated[bool, typer.Option("--confirm", help="Remove resources that wait for confirmation")] = False,
    remove: Annotated[
        str, typer.Option("--remove", metavar="RESOURCE", help="Remove this stray, even if a person claimed it")
    ] = "",
    owner: Annotated[
        str, typer.Option("--owner", metavar="NAME", help="Its owner for --remove, if the claim marker does not tell")
    ] = "",
    *,
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Show strays, and ask every host to look for more.

    A stray is a resource with this installation's mark that belongs to no known workspace. Strays are removed after a
    while; if there are suspiciously many, only after --confirm. One with a claim marker stays until it is adopted, or
    removed by name.
    """
    if owner and not remove:
        raise InputError("--owner is the owner of the stray that --remove names", hint="add --remove RESOURCE")
    runtime = opened(Runtime(load_settings()))
    claimed_by = upkeep.remove_stray(runtime.database, remove, owner=owner, actor=actor) if remove else ""
    confirmed = upkeep.confirm(runtime.database, actor=actor) if confirm else 0
    with Working("asking the hosts to look for strays", quiet=as_json):
        asked = ask_for_resources(runtime.database, runtime.settings, runtime.messages).asked
    rows = list_strays(runtime.database)
    if as_json:
        write_json({"confirmed": confirmed, "removed": remove, "asked": asked, "resources": rows_of(rows)})
        return
    if remove:
        of_whom = f", which {claimed_by} had claimed," if claimed_by else ""
        write(f"{remove}{of_whom} is removed by the next sweep")
    shown = [{**fields_of(row), "first_seen_at": row.first_seen_at} for row in rows]
    write_rows(shown, _STRAY_COLUMNS, empty="no strays", below=("problem",))
    if refused := [row for row in rows if row.problem and not row.owner and row.state is StrayState.CONFIRMED]:
        remedy = spell(Remedy(RemedyKind.REMOVE_STRAY_AS_OWNER, refused[0].workspace_id))
        write(f"if a recipe refuses to delete what somebody else claimed: {remedy}")
    if confirmed:
        write(f"{confirmed} confirmed; the next sweep removes them")
    elif waiting := sum(row.state is StrayState.WAITING for row in rows):
        write(
            f"{number(waiting, 'stray')} at once: suspiciously many, so none is removed; "
            "to remove them: prebuild sweep --confirm"
        )
    looking = f"{number(asked, 'host')} {'was' if asked == 1 else 'were'} asked to look"
    write(looking if asked else "no builds worker is running to look; see: prebuild status")


# Seven arguments: one for each option of the command.
def adopt(
    resource: Annotated[str, typer.Argument(help="The resource or workspace id that prebuild sweep lists")],
    *,
    owner: Annotated[str, typer.Option(help="Its owner, if the claim marker does not tell")] = "",
    preset: Annotated[str, typer.Option(help="template/preset, if it is not known")] = "",
    name: Annotated[str, typer.Option(help="The name of the workspace; by default its former one")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done")] = False,
    actor: ActorOption,
    as_json: JsonOption = False,
) -> None:
    """Give a resource with a claim marker that no workspace knows back to its owner.

    After a restore, this makes a claimed workspace of it again. It shows whose it is, and then does it.
    """
    runtime = opened(Runtime(load_settings()))
    wishes = upkeep.Wishes(owner, preset, name)
    seen = upkeep.give_back(runtime.database, resource, wishes, actor=actor, dry_run=True)
    if not as_json:
        until = f", until {seen.claimed_until:%Y-%m-%d %H:%M} UTC" if seen.claimed_until else ""
        write(f"{seen.resource_id} was claimed by {seen.owner}: {seen.owner}/{seen.workspace} of {seen.preset}{until}")
        for place in (seen.url, seen.directory, seen.host and f"on {seen.host}"):
            if place:
                write(f"  {place}")
    done = seen if dry_run else upkeep.give_back(runtime.database, resource, wishes, actor=actor)
    if as_json:
        write_json(fields_of(done) | {"adopted": not dry_run})
    elif not dry_run:
        write(f"{done.owner}/{done.workspace} is a workspace of {done.owner} again")
