"""Collect the facts for `prebuild doctor` from the database, Redis, the provisioners and the disk.

Each part is asked separately, so that one that does not answer does not hide the others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from zoneinfo import ZoneInfo

from redis.exceptions import NoPermissionError, RedisError
from sqlalchemy import Connection, func, select

from prebuild_tasks.access import list_tokens
from prebuild_tasks.builds import pending_by_queue
from prebuild_tasks.clock import utcnow
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database, is_read_only
from prebuild_tasks.db.pooler import pooler_problem, role_defaults, shares_connections
from prebuild_tasks.errors import CannotBuildError, NotFoundError, PrebuildError
from prebuild_tasks.events import log_lag
from prebuild_tasks.fleet import Liveness, read_liveness
from prebuild_tasks.insight.doctor.facts import (
    DefaultsFact,
    Examination,
    ProvisionerFact,
    RedisFact,
    SchemaFact,
    Trouble,
)
from prebuild_tasks.insight.doctor.machine import look_at_machine
from prebuild_tasks.insight.doctor.silences import read_silences
from prebuild_tasks.insight.status.problems import read_problems
from prebuild_tasks.messaging import BUILDS, CONTROL, WEBHOOKS, connect, in_cluster_mode, keys_needed, refused
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.provisioners import Provisioner, Provisioners
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import TEMPLATE_OF_VERSION, VERSION_OF_PRESET, installation_id, is_active_sql
from prebuild_tasks.schema.pauses import global_pause, pause_holds
from prebuild_tasks.webhooks import read_backlog

_PATIENCE = 15.0
"""Seconds that a provisioner may take to list its resources."""


@dataclass(slots=True)
class _Declared:
    """The stored template versions, by the provisioner that builds them."""

    installation: str = ""
    templates: dict[str, set[str]] = field(default_factory=dict)
    """Names of the templates, by provisioner."""
    active: list[tuple[str, str, Mapping[str, object]]] = field(default_factory=list)
    """Template, provisioner and config of each active version."""
    configs: dict[str, list[Mapping[str, object]]] = field(default_factory=dict)
    """Configs of all versions, by provisioner."""


def examine(database: Database, settings: Settings, provisioners: Provisioners | None) -> Examination:
    """Collect all facts, in bounded time and without changing anything.

    A part that does not answer is recorded as a `Trouble`; nothing is raised for it. Without `provisioners`, only the
    database and Redis are asked, as by a process that is not the one to judge its machine.
    """
    control = tuple(settings.queue(name) for name in CONTROL)
    facts = Examination(control, settings.queue(BUILDS), settings.queue(WEBHOOKS))
    redis, waiting = _look_at_redis(settings, [*control, facts.builds_queue])
    facts = replace(facts, redis=redis, waiting=waiting)
    if provisioners is not None:
        facts = look_at_machine(facts, settings)
    try:
        schema = _schema(database)
        pooler = _trouble(pooler_problem(database)) if shares_connections(database) else None
        facts = replace(facts, schema=schema, pooler=pooler)
        if schema.current < schema.needed:
            return facts
        with database.read() as connection:
            refuses = is_read_only(database, connection)
            facts = replace(facts, role_defaults=_defaults(database, connection), database_is_read_only=refuses)
            skew = _clock_skew(database, connection)
            now = database.now(connection)
            life = read_liveness(connection, settings, now)
            paused = global_pause(connection)
            bound = {host: count for host, count in pending_by_queue(connection).items() if host}
            at = _workspaces_at(connection)
            zones = dict(_bad_timezones(connection))
            declared = _read_declared(connection)
            silences = read_silences(connection)
            lag, backlog = log_lag(connection, now), read_backlog(connection, now)
        pools, tokens = read_problems(database, settings), list_tokens(database)
    except PrebuildError as error:
        return replace(facts, database=_trouble(error))
    return replace(
        facts,
        clock_skew=skew,
        liveness=life,
        bound_builds=bound,
        workspaces_at=at,
        bad_timezones=zones,
        silences=silences,
        pools=pools,
        tokens=tokens,
        log_lag=lag,
        backlog=backlog,
        paused_by=str(paused.get("by", "somebody")) if paused and pause_holds(paused, now) else "",
        provisioners=list(_ask(declared, provisioners, may_list=_builds_on_this_host(life, settings))),
    )


def _defaults(database: Database, connection: Connection) -> DefaultsFact | None:
    lacking = role_defaults(database, connection)
    if lacking is None:
        return None
    return DefaultsFact([(value.name, current) for value, current in lacking.differing], lacking.statements)


def _look_at_redis(settings: Settings, queues: list[str]) -> tuple[RedisFact | Trouble, dict[str, int]]:
    client = connect(settings.resolved_redis_url, health_check_interval=0)
    try:
        pipeline = client.pipeline(transaction=False)
        pipeline.info()
        # A write that changes nothing, because only a write shows whether writes are refused.
        pipeline.persist(settings.queue("doctor"))
        pipeline.exists(*keys_needed(settings))
        for queue in queues:
            pipeline.llen(queue)
        info, written, allowed, *lengths = pipeline.execute(raise_on_error=False)
        for answer in (info, allowed, *lengths):
            if isinstance(answer, Exception):
                raise answer
    except (RedisError, OSError) as error:
        trouble = refused(settings, error)
        return _trouble(trouble), {}
    finally:
        client.close()
    if info.get("cluster_enabled"):
        return _trouble(in_cluster_mode(settings)), {}
    fact = RedisFact(
        version=str(info.get("redis_version")),
        policy=str(info.get("maxmemory_policy", "noeviction")),
        used=int(info.get("used_memory", 0)),
        limit=int(info.get("maxmemory", 0)),
        not_writable=_why_not_writable(info, written),
        not_saved="" if isinstance(written, Exception) else _unsaved(info),
    )
    return fact, dict(zip(queues, lengths, strict=True))


def _why_not_writable(info: Mapping[str, object], written: object) -> str:
    if info.get("role") == "slave":
        return f"it is a replica of {info.get('master_host')}:{info.get('master_port')}"
    if not isinstance(written, RedisError) or isinstance(written, NoPermissionError):
        return ""
    unsaved = _unsaved(info)
    return f"it could not write its {unsaved}, as on a full disk" if unsaved else str(written)


def _unsaved(info: Mapping[str, object]) -> str:
    """Return what Redis could not write to its disk."""
    files = (("aof_last_write_status", "append-only file"), ("rdb_last_bgsave_status", "snapshot"))
    return next((what for key, what in files if info.get(key, "ok") != "ok"), "")


def _schema(database: Database) -> SchemaFact:
    current = database.revision() or ""
    return SchemaFact(current, database.head(), database.serves_from() if current else "")


def _clock_skew(database: Database, connection: Connection) -> float | None:
    if database.dialect == "sqlite":
        return None  # the same clock
    before = utcnow()
    of_database = database.now(connection)
    return (before + (utcnow() - before) / 2 - of_database).total_seconds()


def _workspaces_at(connection: Connection) -> dict[str, int]:
    query = select(m.Workspace.host, func.count().label("number"))
    query = query.where(m.Workspace.deleted_at.is_(None), m.Workspace.host != "").group_by(m.Workspace.host)
    return {row.host: row.number for row in connection.execute(query)}


def _bad_timezones(connection: Connection) -> Iterator[tuple[PoolName, str]]:
    query = (
        select(m.Template.name.label("template"), m.Preset.name.label("preset"), m.Preset.timezone)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(is_active_sql(), m.Preset.timezone != "")
    )
    for row in connection.execute(query):
        try:
            ZoneInfo(row.timezone)
        except (KeyError, ValueError, OSError):
            yield PoolName(row.template, row.preset), row.timezone


def _read_declared(connection: Connection) -> _Declared:
    declared = _Declared(installation_id(connection))
    active = m.Template.active_version_id == m.TemplateVersion.id
    query = select(
        m.Template.name, m.TemplateVersion.provisioner, m.TemplateVersion.config, active.label("active")
    ).join(*TEMPLATE_OF_VERSION)
    for row in connection.execute(query.where(m.Template.deleted_at.is_(None)).order_by(m.Template.name)):
        declared.configs.setdefault(row.provisioner, []).append(row.config)
        if row.active:
            declared.templates.setdefault(row.provisioner, set()).add(row.name)
            declared.active.append((row.name, row.provisioner, row.config))
    return declared


def _ask(declared: _Declared, provisioners: Provisioners | None, *, may_list: bool) -> Iterator[ProvisionerFact]:
    """Ask each provisioner that an active version names.

    It must be installed, accept the configs of the active versions and, if `may_list`, list its resources in time.
    """
    if provisioners is None:
        return
    for name, templates in sorted(declared.templates.items()):
        fact = ProvisionerFact(name, tuple(sorted(templates)))
        try:
            adapter = provisioners.get(name)
        except NotFoundError as error:
            yield replace(fact, trouble=_trouble(error), unknown=True)
            continue
        except PrebuildError as error:
            yield replace(fact, trouble=_trouble(error))
            continue
        for template, of, config in declared.active:
            if of == name and (refusal := _refusal(partial(adapter.check_config, config))):
                yield replace(fact, templates=(template,), trouble=refusal)
        answer = None
        if may_list:
            configs = declared.configs[name]
            answer = _within(_PATIENCE, partial(_list, adapter, declared.installation, configs))
        yield replace(fact, trouble=answer)


def _list(adapter: Provisioner, installation: str, configs: Sequence[Mapping[str, object]]) -> int:
    return len(list(adapter.list(installation, configs)))


def _refusal(check: Callable[[], object]) -> Trouble | None:
    try:
        check()
    except CannotBuildError as error:
        trouble = _trouble(error)
        if trouble.hint or trouble.remedy:
            return trouble
        return replace(trouble, hint="correct the pools file and apply it", remedy=Remedy(RemedyKind.APPLY_POOLS_FILE))
    except PrebuildError as error:
        return _trouble(error)
    return None


def _trouble(error: PrebuildError) -> Trouble:
    return Trouble(error.message, error.hint, error.remedy)


def _within(seconds: float, question: Callable[[], object]) -> Trouble | None:
    """Return the trouble with a question that is answered with an error, or not in time.

    The thread of a question that is not answered in time is abandoned.
    """
    answers: list[Trouble | None] = []

    def ask() -> None:
        try:
            answers.append(_refusal(question))
        except Exception as error:  # noqa: BLE001 - whatever a third party's adapter raises
            answers.append(Trouble(f"{type(error).__name__}: {error}"))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else Trouble(f"it did not list its resources within {seconds:g} s")


def _builds_on_this_host(life: Liveness, settings: Settings) -> bool:
    """Return whether builds run on this host, or on none: only there the list of a local provisioner is meaningful."""
    hosts = {process.host for process in life.processes if process.role == "builds"}
    return settings.host in hosts or not hosts
