"""The kinds of events of the event log, and which row of the history is of which kind."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from prebuild_tasks.model.vocabulary import (
    CLAIM_REASON,
    FINAL_STATUSES,
    UNHEALTHY_REASON,
    BuildStatus,
    PresetStatus,
    RequestState,
    Transition,
)


class EventKind(StrEnum):
    """The kind of an event."""

    CLAIM = "claim"
    """A ready prebuild was claimed."""
    MISS = "miss"
    """A claim found no ready prebuild. With a workspace, one is being built for its owner."""
    HANDED_OVER = "handed_over"
    """A workspace that was built for whoever waited is theirs by now."""
    RELEASED = "released"
    """The owner gave the workspace back."""
    ENDED = "ended"
    """A workspace, or the wait for one, ends otherwise: by an operator, its time, its host, or because nobody came."""
    BUILD_ENDED = "build_ended"
    """A build has its final status."""
    POOL_SHORT = "pool_short"
    """A pool that had its desired size has fewer claimable prebuilds."""
    POOL_FULL = "pool_full"
    """A pool that was short has its desired size again."""
    PAUSED = "paused"
    RESUMED = "resumed"
    VERSION_PROMOTED = "version_promoted"
    """Another version of a template is the active one."""
    PREBUILD_REPLACED = "prebuild_replaced"
    """A prebuild leaves its pool because it is unhealthy, expired, or of a former version."""
    HOST_LOST = "host_lost"
    """A prebuild leaves its pool because its host is silent."""
    LIMITS_REACHED = "limits_reached"
    """A pool creates nothing: too many of its builds failed in a row, or its organization's quota is used up."""
    TOKEN_CREATED = "token_created"
    """A token was created, or rotated."""
    TOKEN_REVOKED = "token_revoked"


ALL_KINDS = frozenset(EventKind)
ALL_POOLS_KINDS = frozenset({EventKind.PAUSED, EventKind.RESUMED})
"""The kinds that are about every pool if they are about no single one."""
TOKEN_KINDS = frozenset({EventKind.TOKEN_CREATED, EventKind.TOKEN_REVOKED})
"""The kinds that only principals of scope `admin` see."""

CLAIMED = "claimed"
"""The event of a row of the history whose kind its reason tells."""
EXPIRED, INACTIVE = "expired", "inactive"
"""Why a turn replaces prebuilds: they are outdated, or their version is no longer active."""
CLAIMED_TTL = "claimed_ttl"
"""Why a claimed workspace ends by itself."""


def build_event(transition: Transition, reason: str, outcome: BuildStatus | str) -> str:
    """Return the event of the history for what became of a build, such as `start_succeeded` or `claim_failed`."""
    return f"{'claim' if reason == CLAIM_REASON else transition.value}_{outcome}"


_BUILDS = (*((transition, "") for transition in Transition), (Transition.START, CLAIM_REASON))
KINDS: Mapping[str, EventKind] = MappingProxyType(
    {
        "missed": EventKind.MISS,
        "reserved": EventKind.MISS,
        "released": EventKind.RELEASED,
        "operator": EventKind.ENDED,
        "host_forgotten": EventKind.ENDED,
        CLAIMED_TTL: EventKind.ENDED,
        RequestState.GIVEN_UP.value: EventKind.ENDED,
        RequestState.NOT_COLLECTED.value: EventKind.ENDED,
        **{build_event(*build, status): EventKind.BUILD_ENDED for build in _BUILDS for status in FINAL_STATUSES},
        "pool_short": EventKind.POOL_SHORT,
        "pool_full": EventKind.POOL_FULL,
        "paused": EventKind.PAUSED,
        "resumed": EventKind.RESUMED,
        "promoted_by_file": EventKind.VERSION_PROMOTED,
        "promoted": EventKind.VERSION_PROMOTED,
        UNHEALTHY_REASON: EventKind.PREBUILD_REPLACED,
        EXPIRED: EventKind.PREBUILD_REPLACED,
        INACTIVE: EventKind.PREBUILD_REPLACED,
        "host_lost": EventKind.HOST_LOST,
        PresetStatus.HARD_LIMITED.value: EventKind.LIMITS_REACHED,
        "quota_reached": EventKind.LIMITS_REACHED,
        "token_created": EventKind.TOKEN_CREATED,
        "token_rotated": EventKind.TOKEN_CREATED,
        "token_revoked": EventKind.TOKEN_REVOKED,
    }
)
"""The kind by the event of a row of the history, but for `claimed`. Other rows are in the history only."""


def kind_of(event: str, reason: str) -> EventKind | None:
    """Return the kind of a row of the history; None: it is in the history only."""
    if event == CLAIMED:
        return EventKind.CLAIM if reason == CLAIM_REASON else EventKind.HANDED_OVER
    return KINDS.get(event)
