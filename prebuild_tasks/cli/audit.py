"""`audit`."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

import typer

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.output import JsonOption, opened, write, write_json
from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import AuditError
from prebuild_tasks.services import audit as service

_PAUSE = 2.0


def audit(
    database_only: Annotated[bool, typer.Option("--database-only", help="Do not ask the provisioners")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the invariants on the live system; exit 8 and name the rows when one is broken."""
    here = opened(Runtime(load_settings()))
    provisioners = None if database_only else here.provisioners
    findings = service.audit_twice(
        lambda: service.audit(here.database, here.settings, provisioners), lambda: time.sleep(_PAUSE)
    )
    if as_json:
        write_json({"clean": not findings, "findings": [asdict(finding) for finding in findings]})
    elif not findings:
        write("clean")
    else:
        for finding in findings:
            write(f"invariant {finding.invariant}: {finding.subject}: {finding.what}")
    if findings:
        raise typer.Exit(AuditError.exit_code)
