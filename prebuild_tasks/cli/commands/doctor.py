"""The commands `doctor` and `health`."""

from __future__ import annotations

import socket
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer

from prebuild_tasks.cli.output import JsonOption, opened, write, write_json
from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import AuditError, InputError
from prebuild_tasks.insight import Examination, RedisFact, Symptom, check_api, check_role, diagnose
from prebuild_tasks.messaging import BUILDS, RECONCILE, WEBHOOKS
from prebuild_tasks.model.addresses import masked_url
from prebuild_tasks.model.text import span
from prebuild_tasks.remedy_commands import next_step
from prebuild_tasks.start_commands import usual_start_commands


class HealthRole(StrEnum):
    """A part of the service that a health probe can check."""

    WORKER = "worker"
    BUILDS = "builds"
    WEBHOOKS = "webhooks"
    BEAT = "beat"
    DB = "db"
    REDIS = "redis"
    SERVE = "serve"


def health(
    role: Annotated[HealthRole, typer.Option("--role", help="The part to check")],
    host: Annotated[str, typer.Option("--host", help="Check on this PREBUILD_HOST instead of this machine")] = "",
    anywhere: Annotated[bool, typer.Option("--any", help="Check on any host")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check one part of the service, for health probes.

    Exits with 0 when it is healthy, 8 when it is not, and 7 when the database or Redis does not answer. Workers and
    beat announce themselves in the database, so this sends them nothing. In a container, only the container's own
    process is checked, unless --host or --any is used. serve asks this machine's HTTP API whether it is ready.
    """
    settings = load_settings()
    if role is HealthRole.REDIS:
        from prebuild_tasks.messaging import require_redis

        require_redis(settings)
        healthy, sentence = True, f"Redis at {masked_url(settings.resolved_redis_url)} answers"
    elif role is HealthRole.SERVE:
        healthy, sentence = check_api(settings)
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

    database = opened(Database.of(settings))
    try:
        with database.read() as connection:
            life = read_liveness(connection, settings, database.now(connection))
    except InputError as error:  # the database answers, but its schema cannot be used
        return False, error.message
    if role is HealthRole.DB:
        return True, f"the database {masked_url(settings.resolved_database_url)} answers"
    queues = {HealthRole.WORKER: RECONCILE, HealthRole.BUILDS: BUILDS, HealthRole.WEBHOOKS: WEBHOOKS}
    queue = settings.queue(queues[role]) if role in queues else ""
    only_this_machine = not host and not anywhere
    where = "" if anywhere else host or settings.host
    machine = socket.gethostname() if only_this_machine else ""
    return check_role(life, role.value, queue, host=where, machine=machine)


def doctor(
    ignore: Annotated[
        list[Symptom] | None,
        typer.Option(
            "--ignore", metavar="CODE", help="Code of a finding to leave out, such as two_beats; may be repeated"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Diagnose the database, Redis, workers, beat, provisioners, pools and this machine.

    Exits with 8 if anything is wrong, such as a pool that is blocked, or empty for too long, and changes nothing. For
    a single pool, run: prebuild explain PRESET.
    """
    from prebuild_tasks.bootstrap import Runtime
    from prebuild_tasks.insight import examine

    runtime = opened(Runtime(load_settings()))
    facts = examine(runtime.database, runtime.settings, runtime.provisioners)
    start = usual_start_commands(runtime.settings)
    findings = [finding for finding in diagnose(facts) if finding.symptom not in (ignore or ())]
    if as_json:
        rows = [
            {"code": item.symptom.value, "message": item.sentence, "next": next_step(item.hint, item.remedy, start)}
            for item in findings
        ]
        write_json({"healthy": not findings, "findings": rows})
    else:
        for line in _working_parts(runtime.settings, facts):
            write(line)
        for finding in findings:
            write(f"{finding.symptom}: {finding.sentence}\n  next: {next_step(finding.hint, finding.remedy, start)}")
        write(f"{len(findings)} found" if findings else "nothing is wrong")
    if findings:
        raise typer.Exit(AuditError.exit_code)


def _working_parts(settings: Settings, facts: Examination) -> list[str]:
    """Return a line about each part that answered."""
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
    if facts.api and not facts.api.trouble:
        lines.append(f"api       {facts.api.url}, {facts.api.ready[:50]}")
    if facts.paused_by:
        lines.append(f"paused    everything, by {facts.paused_by}; to end the pause: prebuild resume")
    usable = [item for item in facts.provisioners if item.trouble is None]
    lines += [f"templates {', '.join(item.templates)}, by {item.name}" for item in usable]
    if facts.disk:
        lines.append(f"disk      {facts.disk.free_bytes / 1024**3:.1f} GiB free at {facts.disk.path}")
    return lines
