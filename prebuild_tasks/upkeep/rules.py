"""Rules of the upkeep: lost builds and hosts, lost messages, and strays."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from enum import StrEnum

from prebuild_tasks.model.vocabulary import BuildStatus

FEW = 3
SHARE = 0.05
"""More strays than FEW and than this share of all resources wait for a confirmation."""


class StrayState(StrEnum):
    """The next step for a stray."""

    CLAIMED = "claimed"
    """It carries a claim marker: it is reported, and never removed."""
    WAITING = "waiting"
    """Too many strays were found at once, so a person must confirm the removal."""
    CONFIRMED = "confirmed"
    """The removal is confirmed, and takes place in the next sweep of resources."""
    GRACE = "grace"
    """It is removed once it has been known for `stray_grace`."""


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


def stray_state(*, claimed: bool, waiting: bool, confirmed: bool) -> StrayState:
    """Return the next step for a stray."""
    if claimed:
        return StrayState.CLAIMED
    if waiting:
        return StrayState.CONFIRMED if confirmed else StrayState.WAITING
    return StrayState.GRACE


def possible_ids(texts: Iterable[str]) -> list[str]:
    """Select the texts that can be a workspace id, because an adapter may list anything."""
    return [text for text in texts if len(text) == 36 and set(text) <= set("0123456789abcdef-")]
