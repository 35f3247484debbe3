"""The beginning of the log, which moves as retention deletes its oldest events."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from prebuild_tasks.model.event_kinds import ALL_KINDS, EventKind
from prebuild_tasks.model.json_values import JsonObject
from prebuild_tasks.model.vocabulary import RECONCILER
from prebuild_tasks.schema import tables as m

_KEY = "events_pruned"
"""Key of the settings row with the highest numbers that were deleted."""


@dataclass(frozen=True, slots=True)
class PrunedNumbers:
    """The highest numbers that retention deleted; 0: none was."""

    highest: int = 0
    """That of any row of the history."""
    kinds: Mapping[EventKind, int] = field(default_factory=dict)
    """Those of events, by kind."""

    @classmethod
    def up_to(cls, number: int) -> PrunedNumbers:
        """Return those of a log that begins after a number."""
        return cls(number, dict.fromkeys(ALL_KINDS, number))

    def highest_of(self, kinds: Collection[EventKind]) -> int:
        """Return the highest of an event of these kinds: for who reads them, the log begins after it."""
        return max((number for kind, number in self.kinds.items() if kind in kinds), default=0)

    def with_others(self, others: PrunedNumbers) -> PrunedNumbers:
        """Return the highest of these and others."""
        kinds = {kind: max(self.highest_of([kind]), others.highest_of([kind])) for kind in {*self.kinds, *others.kinds}}
        return PrunedNumbers(max(self.highest, others.highest), kinds)


def read_pruned(connection: Connection) -> PrunedNumbers:
    """Return the highest numbers that were deleted. Kept rows with lower ones are in the history only."""
    value = connection.execute(select(m.Setting.value).where(m.Setting.key == _KEY)).scalar_one_or_none()
    if not value:
        return PrunedNumbers()
    highest, kinds = int(str(value["number"])), value.get("kinds")
    if not isinstance(kinds, dict):
        return PrunedNumbers.up_to(highest)  # a process of before wrote it, which did not tell kinds apart
    return PrunedNumbers(highest, {kind: int(str(kinds[kind])) for kind in EventKind if kind in kinds})


def note_pruned(connection: Connection, numbers: PrunedNumbers, now: datetime) -> None:
    """Store the highest numbers of rows that are about to be deleted. One transaction at a time does so."""
    before = read_pruned(connection)
    after = before.with_others(numbers)
    if after == before:
        return
    kinds: JsonObject = {kind.value: number for kind, number in sorted(after.kinds.items())}
    values = {"value": {"number": after.highest, "kinds": kinds}, "updated_at": now, "updated_by": RECONCILER}
    changed = connection.execute(update(m.Setting).where(m.Setting.key == _KEY).values(values))
    if changed.rowcount == 0:
        connection.execute(insert(m.Setting).values(key=_KEY, **values))
