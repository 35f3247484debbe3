"""The errors of claims that found no prebuild: their sentences, and what to do about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prebuild_tasks.errors import ClaimMissError
from prebuild_tasks.model.vocabulary import MissReason
from prebuild_tasks.remedies import Remedy, RemedyKind

if TYPE_CHECKING:
    from datetime import datetime

    from prebuild_tasks.claims.rows import PauseInForce
    from prebuild_tasks.errors import RefusedError
    from prebuild_tasks.model.names import PoolName

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
_ENDED_BY_A_BUILD = (MissReason.EMPTY_POOL, MissReason.EXPIRED, MissReason.NOT_DESIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What becomes of a claim that missed if it is made again, and what prevents that a workspace is built."""

    seconds: int
    """Seconds after which another try makes sense."""
    retryable: bool
    """As of `ClaimMissError`."""
    change: tuple[datetime, int] | None = None
    """When a pool is built again by itself, and its desired size from then on. None: it is already, or nobody knows."""
    pause: PauseInForce | None = None
    """The pause because of which nothing is built for anybody."""
    refusal: RefusedError | None = None
    """Why no workspace would be built, however long the claim waits."""
    offered: PoolName | None = None
    """The pool whose active version has a preset of this name, if the claim named another version."""


def miss(presets: str, reason: MissReason, outlook: Outlook) -> ClaimMissError:
    """Make the error for a claim that found no prebuild of these presets.

    It names what is in the way of a build, or else when the desired size changes.
    """
    at = outlook.change and outlook.change[0].isoformat(timespec="seconds")
    sentence, hint, remedy = _SENTENCES[reason], _HINTS.get(reason, ""), _REMEDIES[reason]
    obstacle = ""
    if reason is MissReason.INACTIVE and outlook.offered:
        hint, remedy = "claim the active version", Remedy(RemedyKind.CLAIM_WORKSPACE, str(outlook.offered))
    elif reason in _ENDED_BY_A_BUILD and (refusal := outlook.refusal):
        obstacle, hint, remedy = refusal.message, refusal.hint, refusal.remedy or remedy
    elif reason in _ENDED_BY_A_BUILD and (pause := outlook.pause):
        obstacle = pause.sentence
        if pause.stored.get("until") is None:
            remedy = Remedy(RemedyKind.RESUME, pause.pool)
        elif at:
            hint = f"try again at {at}, or have one built from that time on"
    elif reason is MissReason.NOT_DESIRED and outlook.change:
        sentence += f", and becomes {outlook.change[1]} at {at}"
    return ClaimMissError(
        f"no prebuild of {presets} can be claimed"
        + (f", and none is being built: {obstacle}" if obstacle else f": {sentence}"),
        reason=reason.value,
        hint=hint,
        remedy=remedy,
        retry_after=outlook.seconds,
        retryable=outlook.retryable,
        next_change=outlook.change and outlook.change[0],
    )
