"""Rules of the upkeep: lost builds and hosts, lost messages, and strays."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.provisioners import Probe

FEW = 3
SHARE = 0.05
"""More strays than FEW and than this share of all resources wait for a confirmation."""


class StrayState(StrEnum):
    """The next step for a stray."""

    CLAIMED = "claimed"
    """It carries a claim marker: it is reported, and not removed unless a person names it."""
    WAITING = "waiting"
    """Too many strays were found at once, so a person must confirm the removal."""
    CONFIRMED = "confirmed"
    """The removal is confirmed, and takes place in the next sweep of resources."""
    GRACE = "grace"
    """It is removed once it has been known for `stray_grace`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """What speaks against a prebuild. Its fields have the names of the columns of the probes."""

    failures: int = 0
    """Probes in a row that found it not ready."""
    message: str = ""
    """What the last of its probes said that was not passed."""
    unanswered_since: datetime | None = None
    missing_since: datetime | None = None
    gone_since: datetime | None = None
    """Time of the first of its probes in a row that found it gone."""
    condemned_at: datetime | None = None

    def after(self, probe: Probe, now: datetime, *, failures_max: int, recheck: timedelta, grace: timedelta) -> Doubts:
        """Return the doubts after one more probe.

        A probe that could not tell decides nothing. It takes two probes in a row that find the prebuild gone: what is
        asked may be wrong for a moment, and more likely for longer if the list lacks the prebuild as well.

        Args:
            probe: The answer.
            now: The database's time.
            failures_max: The number of failed probes in a row after which the prebuild is lost.
            recheck: The least time between two probes that find it gone; zero: the first one settles it.
            grace: The least time between two probes that find it gone, if the list lacks it.
        """
        if probe.unknown:
            return replace(self, unanswered_since=self.unanswered_since or now, message=probe.message)
        if probe.ready:
            return Doubts(missing_since=self.missing_since)
        if not probe.gone:
            doubts = replace(self, failures=self.failures + 1, gone_since=None)
            is_lost = doubts.failures >= failures_max
        else:
            doubts = replace(self, gone_since=self.gone_since or now)
            is_lost = (doubts.gone_since or now) <= now - (grace if self.missing_since else recheck)
        condemned_at = self.condemned_at or (now if is_lost else None)
        return replace(doubts, condemned_at=condemned_at, unanswered_since=None, message=probe.message)

    @property
    def is_serious(self) -> bool:
        """Whether claims take other prebuilds first."""
        return bool(self.failures or self.unanswered_since or self.gone_since or self.condemned_at)


def unreplaced(changes: Iterable[int]) -> int:
    """Return how many of a pool's lost prebuilds have no replacement yet.

    Args:
        changes: What changed that number, newest first: 1 for a prebuild that was taken out of the pool, -1 for a start
            that was begun and has succeeded. Each start replaces one prebuild that was taken out before.
    """
    number = 0
    for change in reversed(list(changes)):
        number = max(number + change, 0)
    return number


def may_lose(*, size: int, max_surge: int, missing: int, unreplaced: int) -> int:
    """Return how many more prebuilds may be taken out of a pool as lost, before some of them are replaced.

    It is a third of the pool, or `max_surge` if that is more. If what replaces them fails too, or the verdict was
    wrong, the rest of the pool is still there.

    Args:
        size: The pool's size.
        max_surge: The pool's `max_surge`.
        missing: The prebuilds that the pool lacks.
        unreplaced: The prebuilds that were taken out as lost and have no replacement yet.
    """
    return max(max(size // 3, max_surge, 1) - min(missing, unreplaced), 0)


def after_loss(status: BuildStatus, attempt: int, attempts: int) -> tuple[BuildStatus, str]:
    """Return the status of a build that lost its worker, and the error to store; empty: it is tried again.

    Args:
        status: The build's status so far.
        attempt: The number of the attempt that was lost.
        attempts: How many attempts a build has.
    """
    if status is BuildStatus.CANCELING:
        return BuildStatus.CANCELED, "canceled"
    if attempt < attempts:
        return BuildStatus.PENDING, ""
    return BuildStatus.FAILED, f"it lost its worker {'once' if attempt == 1 else f'{attempt} times'}"


def place_wanted(pools: Iterable[tuple[int, int]], leaving: int) -> int:
    """Return how many places are wanted: `pools` has each one's desired and live prebuilds; `leaving` go anyway."""
    return max(sum(max(desired - live, 0) for desired, live in pools) - leaving, 0)


def messages_missing(pending: int, queued: int | None, unsent: int, limit: int) -> int:
    """Return how many pending builds of a queue lack a message at least; not positive: perhaps none.

    Args:
        pending: The pending builds.
        queued: The messages in the queue; None: unknown, so that every build may lack one.
        unsent: The pending builds whose message is about to be sent.
        limit: The most that is returned.
    """
    return limit if queued is None else min(pending - queued - unsent, limit)


def lost_hosts(
    holding: Iterable[str], last_seen: Mapping[str, datetime], observers: Collection[str], before: datetime
) -> list[str]:
    """Return the hosts that were last seen before `before`, while another host was there to see them.

    Args:
        holding: The hosts that hold workspaces.
        last_seen: The last announcement of each host's builds workers. A host without one had a worker of an older
            release.
        observers: The hosts that have been present since `before`.
        before: The instant.
    """
    return [host for host in holding if host in last_seen and last_seen[host] < before and set(observers) - {host}]


def too_many(unknown: int, resources: int) -> bool:
    """Return whether there are so many strays among all resources that none is removed without a confirmation."""
    return unknown > max(FEW, SHARE * resources)


def stray_state(*, claimed: bool, waiting: bool, confirmed: bool, removed: bool) -> StrayState:
    """Return the next step for a stray. `removed`: a person named it as one to be removed."""
    if removed:
        return StrayState.CONFIRMED
    if claimed:
        return StrayState.CLAIMED
    if waiting:
        return StrayState.CONFIRMED if confirmed else StrayState.WAITING
    return StrayState.GRACE


def possible_ids(texts: Iterable[str]) -> list[str]:
    """Select the texts that can be a workspace id, because an adapter may list anything."""
    return [text for text in texts if len(text) == 36 and set(text) <= set("0123456789abcdef-")]
