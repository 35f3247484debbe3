"""Counters of ended builds, claims and events, which do not fall when retention deletes their rows.

Rows after a mark are counted in their tables. Rows before the mark are kept as totals by name, and may be deleted. Both
are counted by the same queries, so that a number does not change when the mark moves. The mark stays behind the clock
by more than any transaction lasts, so that no row appears before it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, exists, func, literal_column, select, update
from sqlalchemy.orm import InstrumentedAttribute

from prebuild_tasks.db.types import age_seconds, bucket_of, conflict_insert
from prebuild_tasks.model.vocabulary import CLAIM_REASON, OPEN_STATUSES, BuildStatus, Transition
from prebuild_tasks.schema import tables as m
from prebuild_tasks.schema.conditions import MISSED_BEFORE, TEMPLATE_OF_VERSION, VERSION_OF_PRESET
from prebuild_tasks.schema.row_locks import lock_setting

POOL_REASON = "deficit"
"""Reason of the starts that fill a pool. It stays when such a start is given to a person who waits."""
COUNTED_EVENTS = ("unhealthy", "host_lost")
"""Events of the history that are counted: prebuilds that were taken out of their pools."""
MARK_KEY = "counted_until"
LAG = timedelta(minutes=10)
"""Distance of the mark from the clock. No transaction is this old: one that is idle for 30 s, or waits for a lock for
15 s, is ended."""
_GRAIN = 1 / (1 << 18)
"""Observed times are rounded up to multiples of this many seconds (4 microseconds). Multiples of a power of two and
their sums, in any order, are exact as doubles up to 272 years, so that no total falls by a rounding error."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400
DAY_CLAIMS = "day_claims"
"""The series of requests to claim by day, which `schema.day_claims` reads."""
_DAYS_KEPT = timedelta(days=2)

CLAIM_BOUNDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
BUILD_BOUNDS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)
TICK_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the histograms' buckets in seconds. Observations under former bounds keep their buckets."""
BEYOND, SUM = "+Inf", "sum"


class Key(NamedTuple):
    """The name of a counter. `preset` is empty for a whole template; both are empty for the installation."""

    series: str
    """created, failed, events, claims, day_claims, misses, builds, claim_seconds, creation_seconds, build_seconds,
    tick_seconds."""
    template: str = ""
    preset: str = ""
    detail: str = ""
    """Further labels; for a histogram also the bucket: its upper bound, `+Inf`, or `sum`."""


Tally = Mapping[Key, float]


def of_day(at: datetime, *, hit: bool) -> str:
    """Return the detail under which requests of the day of `at`, in UTC, are counted."""
    return f"{at.astimezone(UTC):%Y-%m-%d} {'hit' if hit else 'miss'}"


def read_totals(connection: Connection) -> Tally:
    """Read all counters: the totals, and the rows after the mark. Six statements."""
    mark = counted_until(connection)
    tally = _counted(connection, mark, None)
    _add(tally, _builds(connection, m.Build.status.in_(OPEN_STATUSES)))
    table = m.Total
    value = _whole(table.value).label("value")
    query = select(table.series, table.template, table.preset, table.detail, value).where(table.series != DAY_CLAIMS)
    for row in connection.execute(query):
        tally[Key(row.series, row.template, row.preset, row.detail)] += row.value
    return tally


def counted_until(connection: Connection) -> datetime:
    """Read the mark. Rows that ended before it are in the totals."""
    query = select(m.Setting.updated_at).where(m.Setting.key == MARK_KEY)
    return connection.execute(query).scalar_one_or_none() or _EPOCH


def move_mark(connection: Connection, now: datetime) -> None:
    """Add the rows up to `now - LAG` to the totals, and move the mark there. Three counting statements.

    Counts of former days are deleted.
    """
    mark, until = lock_mark(connection), now - LAG
    if until > mark:
        keep(connection, _counted(connection, mark, until))
        connection.execute(update(m.Setting).where(m.Setting.key == MARK_KEY).values(updated_at=until))
    former = and_(m.Total.series == DAY_CLAIMS, m.Total.detail < f"{now.astimezone(UTC) - _DAYS_KEPT:%Y-%m-%d}")
    connection.execute(delete(m.Total).where(former))


def lock_mark(connection: Connection) -> datetime:
    """Lock the mark until the transaction ends, and read it. Call it before locking rows that are counted."""
    values = {"key": MARK_KEY, "value": {}, "updated_at": _EPOCH, "updated_by": "reconciler"}
    connection.execute(conflict_insert(connection, m.Setting).values(values).on_conflict_do_nothing())
    return lock_setting(connection, MARK_KEY)


def keep_builds(connection: Connection, ids: Sequence[str]) -> None:
    """Add ended builds to the totals that are deleted before the mark passes them."""
    mark = lock_mark(connection)
    keep(connection, _builds(connection, m.Build.id.in_(ids), m.Build.completed_at >= mark))


def keep_preset(connection: Connection, preset_id: int) -> None:
    """Add a preset's claims and events to the totals, because they cannot be named once the preset is deleted."""
    mark = lock_mark(connection)
    tally = _claims(connection, m.ClaimEvent.preset_id == preset_id, m.ClaimEvent.at >= mark)
    keep(connection, _add(tally, _events(connection, m.History.preset_id == preset_id, m.History.at >= mark)))


def keep(connection: Connection, tally: Tally) -> None:
    """Add counts to the totals."""
    rows = [{**key._asdict(), "value": value} for key, value in sorted(tally.items()) if value]
    if not rows:
        return
    insert = conflict_insert(connection, m.Total)
    # Totals of an earlier release may not be multiples of the grain; they are rounded as they are when read.
    values = {"value": _whole(m.Total.value) + insert.excluded.value}
    connection.execute(insert.on_conflict_do_update(index_elements=list(Key._fields), set_=values), rows)


def observed(series: str, seconds: float, bounds: Iterable[float]) -> Tally:
    """Return the counts of one observation in a histogram of the installation."""
    bucket = next((str(bound) for bound in bounds if seconds <= bound), BEYOND)
    return {Key(series, detail=bucket): 1.0, Key(series, detail=SUM): seconds}


def delete_orphans(connection: Connection) -> int:
    """Delete the totals of templates and presets that no longer exist, so that a new one of the name starts at 0."""
    lock_mark(connection)  # totals that may be deleted are changed under this lock only
    table = m.Total
    template = exists().where(m.Template.name == table.template)
    preset = (
        select(m.Preset.id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(m.Template.name == table.template, m.Preset.name == table.preset)
        .exists()
    )
    gone = and_(table.template != "", ~template | and_(table.preset != "", ~preset))
    return connection.execute(delete(table).where(gone)).rowcount


def _counted(connection: Connection, since: datetime, until: datetime | None) -> defaultdict[Key, float]:
    """Count the rows that ended from `since` on and before `until`. Three statements."""

    def within(at: InstrumentedAttribute[Any]) -> list[ColumnElement[bool]]:
        return [at >= since] if until is None else [at >= since, at < until]

    tally = _builds(connection, *within(m.Build.completed_at))
    _add(tally, _claims(connection, *within(m.ClaimEvent.at)))
    return _add(tally, _events(connection, *within(m.History.at)))


def _builds(connection: Connection, *conditions: ColumnElement[bool]) -> defaultdict[Key, float]:
    build = m.Build
    took = age_seconds(build.completed_at, build.started_at)
    made = age_seconds(build.completed_at, build.created_at)
    query = (
        select(
            m.Template.name.label("template"),
            m.Preset.name.label("preset"),
            build.transition,
            build.status,
            build.reason,
            func.count().label("number"),
            *_histogram("took", took, BUILD_BOUNDS),
            *_histogram("made", made, BUILD_BOUNDS),
        )
        .join(m.Preset, m.Preset.id == build.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(*conditions)
        .group_by(m.Template.name, m.Preset.name, build.transition, build.status, build.reason)
    )
    tally: defaultdict[Key, float] = defaultdict(float)
    for row in connection.execute(query):
        kind = "claim" if row.reason == CLAIM_REASON else row.transition.value
        tally[Key("builds", row.template, detail=f"{kind} {row.status}")] += row.number
        succeeded = row.status is BuildStatus.SUCCEEDED
        if succeeded:
            _observe(tally, row, "took", Key("build_seconds", row.template, detail=f"{kind} "), BUILD_BOUNDS)
        if row.transition is Transition.START and row.reason == POOL_REASON:
            tally[Key("created", row.template, row.preset)] += row.number
            if succeeded:
                _observe(tally, row, "made", Key("creation_seconds", row.template, row.preset), BUILD_BOUNDS)
            elif row.status is BuildStatus.FAILED:
                tally[Key("failed", row.template, row.preset)] += row.number
    return tally


def _claims(connection: Connection, *conditions: ColumnElement[bool]) -> defaultdict[Key, float]:
    event = m.ClaimEvent
    day = bucket_of(event.at, literal_column(str(_DAY))).label("day")
    query = (
        select(
            m.Template.name.label("template"),
            m.Preset.name.label("preset"),
            event.hit,
            event.miss_reason,
            day,
            func.count().label("number"),
            *_histogram("took", event.latency_ms / 1000.0, CLAIM_BOUNDS),
        )
        .join(m.Preset, m.Preset.id == event.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(~MISSED_BEFORE, *conditions)
        .group_by(m.Template.name, m.Preset.name, event.hit, event.miss_reason, day)
    )
    tally: defaultdict[Key, float] = defaultdict(float)
    for row in connection.execute(query):
        date = datetime.fromtimestamp(row.day * _DAY, UTC)
        tally[Key(DAY_CLAIMS, row.template, row.preset, of_day(date, hit=row.hit))] += row.number
        tally[Key("claims", row.template, row.preset, "hit" if row.hit else "miss")] += row.number
        if row.hit:
            _observe(tally, row, "took", Key("claim_seconds", row.template, row.preset), CLAIM_BOUNDS)
        else:
            tally[Key("misses", row.template, row.preset, row.miss_reason)] += row.number
    return tally


def _events(connection: Connection, *conditions: ColumnElement[bool]) -> defaultdict[Key, float]:
    history = m.History
    query = (
        select(
            m.Template.name.label("template"),
            m.Preset.name.label("preset"),
            history.event,
            func.count().label("number"),
        )
        .join(m.Preset, m.Preset.id == history.preset_id)
        .join(*VERSION_OF_PRESET)
        .join(*TEMPLATE_OF_VERSION)
        .where(history.event.in_(COUNTED_EVENTS), *conditions)
        .group_by(m.Template.name, m.Preset.name, history.event)
    )
    tally: defaultdict[Key, float] = defaultdict(float)
    for row in connection.execute(query):
        tally[Key("events", row.template, row.preset, row.event)] += row.number
    return tally


def _histogram(name: str, seconds: ColumnElement[Any], bounds: Sequence[float]) -> list[ColumnElement[Any]]:
    """Build the columns of a histogram: total number, sum, and the number up to each bound."""
    within = [func.count().filter(seconds <= bound).label(f"{name}_{index}") for index, bound in enumerate(bounds)]
    return [func.count(seconds).label(f"{name}_all"), func.sum(_whole(seconds)).label(f"{name}_sum"), *within]


def _whole(value: ColumnElement[Any] | InstrumentedAttribute[float]) -> ColumnElement[Any]:
    """Round up to a multiple of the grain; a multiple stays as it is. Without CEIL, which not every SQLite has."""
    return func.round(value * (1 / _GRAIN) + 0.499) * _GRAIN


def _observe(
    tally: defaultdict[Key, float], row: Row[*tuple[Any, ...]], name: str, key: Key, bounds: Sequence[float]
) -> None:
    """Add a row's histogram to the tally.

    Buckets are not cumulative, so that the totals stay right when a later release changes the bounds.
    """
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's documented name
    below = 0
    for index, bound in enumerate(bounds):
        within = values[f"{name}_{index}"]
        tally[key._replace(detail=f"{key.detail}{bound}")] += within - below
        below = within
    tally[key._replace(detail=f"{key.detail}{BEYOND}")] += values[f"{name}_all"] - below
    tally[key._replace(detail=f"{key.detail}{SUM}")] += float(values[f"{name}_sum"] or 0)


def _add(tally: defaultdict[Key, float], other: Tally) -> defaultdict[Key, float]:
    for key, value in other.items():
        tally[key] += value
    return tally
