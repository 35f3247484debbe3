"""`doctor` and `health`."""

from __future__ import annotations

import socket
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer

from prebuild_tasks.cli.output import JsonOption, opened, write, write_json
from prebuild_tasks.cli.remedies import next_step, usual_start_commands
from prebuild_tasks.config import Settings, load_settings, masked_url
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import AuditError, InputError
from prebuild_tasks.insight import Examination, RedisFact, Symptom, check_role, diagnose
from prebuild_tasks.messaging import BUILDS, RECONCILE
from prebuild_tasks.model.text import span


class HealthRole(StrEnum):
    """What can be asked about."""

    WORKER = "worker"
    BUILDS = "builds"
    BEAT = "beat"
    DB = "db"
    REDIS = "redis"


def health(
    role: Annotated[HealthRole, typer.Option("--role", help="What must be alive")],
    host: Annotated[str, typer.Option("--host", help="On this PREBUILD_HOST instead of on this machine")] = "",
    anywhere: Annotated[bool, typer.Option("--any", help="On whichever host")] = False,
    as_json: JsonOption = False,
) -> None:
    """For probes: exit 0 when it is alive, 8 when not, 7 when the database or Redis does not answer.

    Workers and beat say in the database that they are there; nobody is pinged. In a container it is the container's own
    process that is asked about.
    """
    settings = load_settings()
    if role is HealthRole.REDIS:
        from prebuild_tasks.messaging import require_redis

        require_redis(settings)
        healthy, sentence = True, f"Redis at {masked_url(settings.resolved_redis_url)} answers"
    else:
        healthy, sentence = _ask_database(settings, role, host, anywhere=anywhere)
    if as_json:
        write_json({"role": role.value, "healthy": healthy, "message": sentence})
    else:
        write(sentence if healthy else f"{sentence}\n  next: prebuild doctor")
    if not healthy:
        raise typer.Exit(AuditError.exit_code)


def _ask_database(settings: Settings, role: HealthRole, host: str, *, anywhere: bool) -> tuple[bool, str]:
    from prebuild_tasks.fleet import read_liveness

    database = opened(Database(settings.resolved_database_url))
    try:
        with database.read() as connection:
            life = read_liveness(connection, settings, database.now(connection))
    except InputError as error:  # it answers, and can't be worked on
        return False, error.message
    if role is HealthRole.DB:
        return True, f"the database {masked_url(settings.resolved_database_url)} answers"
    queue = {HealthRole.WORKER: settings.queue(RECONCILE), HealthRole.BUILDS: settings.queue(BUILDS)}.get(role, "")
    mine = not host and not anywhere
    where = "" if anywhere else host or settings.host
    return check_role(life, role.value, queue, host=where, machine=socket.gethostname() if mine else "")


def doctor(
    ignore: Annotated[
        list[Symptom] | None, typer.Option("--ignore", help="A finding's code that is meant to be so")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what is wrong with the database, Redis, workers, beat, provisioners and this machine.

    Exit 8 if anything is. Changes nothing. What is wrong with one pool tells: prebuild explain PRESET.
    """
    from prebuild_tasks.bootstrap import Runtime
    from prebuild_tasks.insight import examine

    here = opened(Runtime(load_settings()))
    facts = examine(here.database, here.settings, here.provisioners)
    start = usual_start_commands(here.settings)
    findings = [finding for finding in diagnose(facts) if finding.symptom not in (ignore or ())]
    if as_json:
        rows = [
            {"code": item.symptom.value, "message": item.sentence, "next": next_step(item.hint, item.remedy, start)}
            for item in findings
        ]
        write_json({"healthy": not findings, "findings": rows})
    else:
        for line in _seen(here.settings, facts):
            write(line)
        for finding in findings:
            write(f"{finding.symptom}: {finding.sentence}\n  next: {next_step(finding.hint, finding.remedy, start)}")
        write(f"{len(findings)} found" if findings else "nothing is wrong")
    if findings:
        raise typer.Exit(AuditError.exit_code)


def _seen(settings: Settings, facts: Examination) -> list[str]:
    """What was looked at and answered."""
    lines = []
    if facts.schema:
        lines.append(f"database  {masked_url(settings.resolved_database_url)}, schema {facts.schema.current or 'none'}")
    if isinstance(facts.redis, RedisFact):
        where = masked_url(settings.resolved_redis_url)
        lines.append(f"redis     {where}, version {facts.redis.version}, {facts.redis.policy}")
    if life := facts.liveness:
        lines.append(
            "alive     " + ", ".join(f"{len(life.alive(role))} {role}" for role in ("worker", "builds", "beat"))
        )
        lines.append(
            f"tick      {'none yet' if life.tick_age is None else f'{span(timedelta(seconds=life.tick_age))} ago'}"
        )
    if facts.paused_by:
        lines.append(f"paused    everything, by {facts.paused_by}; to go on: prebuild resume")
    well = [item for item in facts.provisioners if item.trouble is None]
    lines += [f"templates {', '.join(item.templates)}, by {item.name}" for item in well]
    if facts.disk:
        lines.append(f"disk      {facts.disk.free_bytes / 1024**3:.1f} GiB free at {facts.disk.path}")
    return lines
