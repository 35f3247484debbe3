"""The rows of the table of pools, those that lack most first, and their filters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from prebuild_tasks.insight import PoolLine
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.reconcile import Reason


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A pool as a row of the table. Its texts are as they were stored; who renders them makes them safe."""

    ref: PresetRef
    """Its name, with a version unless that is the active one."""
    organization: str
    desired: int
    eligible: int
    second_choices: int
    """Outdated prebuilds that can be claimed until they are replaced."""
    claimed: int
    starting: int
    failed: int
    failed_deletions: int
    state: str
    """`inactive`, `paused`, `hard_limited`, `validation_failed`, `full`, `empty` or `short`."""
    reason: str
    """The code of the reason why it is short; `none` if it is not."""
    sentence: str
    """The reason in words, as in the first line of `explain`; empty if it is not short."""
    next_action: str
    """As in `prebuild status`."""
    last_error: str
    """Empty if it is full: then the error is an old one."""
    next_change_at: datetime | None
    """When a schedule changes the desired size next; None: no schedule does."""
    next_desired: int
    """The desired size from then on."""
    timezone: str
    hit_rate: float | None
    """The share of hits among the requests since midnight, UTC, 0 to 1; None without requests."""
    claims: int
    """The requests since midnight, UTC."""

    @cached_property
    def pool(self) -> str:
        """`template/preset`, with `@version` unless that is the active version."""
        return str(self.ref)

    @cached_property
    def searched(self) -> str:
        """The text in which a search looks for its parts."""
        return f"{self.pool} {self.organization}".casefold()

    @property
    def template(self) -> str:
        """The name of its template."""
        return self.ref.template

    @property
    def shortfall(self) -> int:
        """The prebuilds that are missing."""
        return max(self.desired - self.eligible, 0)

    @property
    def share(self) -> float:
        """The eligible prebuilds as a part of the desired ones, 0 to 1."""
        return min(self.eligible / self.desired, 1.0) if self.desired else 1.0

    @property
    def why(self) -> str:
        """The reason, and what comes next, in one sentence; empty if it is neither short nor paused."""
        if not self.sentence:
            return self.next_action if self.state == Reason.PAUSED else ""
        if not self.next_action:
            return self.sentence
        if self.next_action.startswith(self.sentence):
            return self.next_action
        return f"{self.sentence}; {self.next_action}"

    @property
    def hit_percent(self) -> str:
        """The hit rate as `98 %`, rounded down so that only a rate without a miss is 100 %; empty without requests."""
        return "" if self.hit_rate is None else f"{int(self.hit_rate * 100)} %"


@dataclass(frozen=True)
class PoolFilter:
    """The rows to show. An empty field restricts nothing."""

    search: str = ""
    """Texts separated by spaces, each of which the name or the organization of the pool contains, in either case."""
    template: str = ""
    organization: str = ""
    reason: str = ""

    @cached_property
    def _parts(self) -> Sequence[str]:
        return self.search.casefold().split()

    def __bool__(self) -> bool:
        """Return whether it may leave out a row."""
        return bool(self._parts or self.template or self.organization or self.reason)

    def shows(self, row: TableRow) -> bool:
        """Return whether a row meets every field."""
        return (
            self.template in ("", row.template)
            and self.organization in ("", row.organization)
            and self.reason in ("", row.reason)
            and all(part in row.searched for part in self._parts)
        )


@dataclass(frozen=True, slots=True)
class PoolChoices:
    """The values that a filter can have, each in order."""

    templates: tuple[str, ...]
    organizations: tuple[str, ...]
    reasons: tuple[str, ...]


def pool_rows(lines: Iterable[PoolLine]) -> list[TableRow]:
    """Return the rows by shortfall, the largest first, then by name; versions that are not active come last."""
    return sorted((_row(line) for line in lines), key=_order)


def choices(rows: Sequence[TableRow], chosen: PoolFilter) -> PoolChoices:
    """Return the names that occur in the rows, every reason, which may occur next, and what is chosen now."""
    return PoolChoices(
        _with_chosen(sorted({row.template for row in rows}), chosen.template),
        _with_chosen(sorted({row.organization for row in rows}), chosen.organization),
        _with_chosen([reason.value for reason in Reason], chosen.reason),
    )


def _with_chosen(values: Sequence[str], chosen: str) -> tuple[str, ...]:
    return (*values, chosen) if chosen and chosen not in values else tuple(values)


def _order(row: TableRow) -> tuple[bool, int, float, str]:
    return bool(row.ref.version), -row.shortfall, row.share, row.pool


def _row(line: PoolLine) -> TableRow:
    status, change = line.status, line.next_change
    return TableRow(
        ref=status.preset,
        organization=line.organization,
        desired=status.desired,
        eligible=status.eligible,
        second_choices=status.second_choices,
        claimed=status.claimed,
        starting=status.starting,
        failed=status.failed,
        failed_deletions=status.failed_deletions,
        state=line.state,
        reason=status.reason,
        sentence=line.headline,
        next_action=status.next_action,
        last_error="" if status.full else status.last_error,
        next_change_at=change.at if change else None,
        next_desired=change.desired if change else 0,
        timezone=line.timezone,
        hit_rate=line.hit_rate_today,
        claims=sum(line.claims_today),
    )
