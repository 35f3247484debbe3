"""The errors of claims that found no prebuild: their sentences, and what to do about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.model.vocabulary import MissReason
from prebuild_tasks.remedies import Remedy, RemedyKind

if TYPE_CHECKING:
    from datetime import datetime

    from prebuild_tasks.claims.rows import PauseInForce

_SENTENCES: Mapping[MissReason, str] = {
    MissReason.EMPTY_POOL: "the pool is empty and nothing is being built",
    MissReason.STARTING: "all are taken, and more are starting",
    MissReason.EXPIRED: "the remaining ones have expired and are being replaced",
    MissReason.INACTIVE: "the preset is no longer offered, and no prebuild of it is left",
    MissReason.NOT_DESIRED: "its desired size is 0 right now",
}
_WAIT = Remedy(RemedyKind.WAIT_FOR_WORKSPACE)
_REMEDIES: Mapping[MissReason, Remedy] = {
    MissReason.EMPTY_POOL: _WAIT,
    MissReason.STARTING: _WAIT,
    MissReason.EXPIRED: _WAIT,
    MissReason.INACTIVE: Remedy(RemedyKind.LIST_POOLS),
    MissReason.NOT_DESIRED: _WAIT,
}
_HINTS: Mapping[MissReason, str] = {MissReason.STARTING: "try again soon, or have one built"}
_BLOCKED = (MissReason.EMPTY_POOL, MissReason.EXPIRED)
"""Reasons that last, if no claim can hit later, because no pool is built."""
_ENDED_BY_A_BUILD = (MissReason.EMPTY_POOL, MissReason.EXPIRED, MissReason.NOT_DESIRED)


# Six arguments: the error says all that is known of the miss.
def miss(
    presets: str,
    reason: MissReason,
    pause: PauseInForce | None,
    *,
    seconds: int,
    retryable: bool,
    change: tuple[datetime, int] | None = None,
) -> ClaimMissError:
    """Make the error for a claim that found no prebuild of these presets. It names the pause, if there is one.

    `seconds` is the time until another try makes sense, `retryable` as of `ClaimMissError`, and `change` when a
    schedule changes the desired size next, and to what.
    """
    if pause and reason in _ENDED_BY_A_BUILD:
        return ClaimMissError(
            f"no prebuild of {presets} can be claimed, and none is being built: {pause.sentence}",
            reason=reason.value,
            remedy=Remedy(RemedyKind.RESUME, pause.pool),
            retry_after=seconds,
            retryable=retryable,
        )
    sentence, remedy = _SENTENCES[reason], _REMEDIES.get(reason)
    if change:
        sentence += f", and becomes {change[1]} at {change[0].isoformat(timespec='seconds')}"
    if reason in _BLOCKED and not retryable:
        remedy = Remedy(RemedyKind.LIST_PROBLEMS)  # one that waits would be refused
    return ClaimMissError(
        f"no prebuild of {presets} can be claimed: {sentence}",
        reason=reason.value,
        hint=_HINTS.get(reason, ""),
        remedy=remedy,
        retry_after=seconds,
        retryable=retryable,
    )
