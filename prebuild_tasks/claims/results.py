"""The values and the result of the claim's statement, whichever library sends it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from prebuild_tasks.claims.rows import ClaimedRow
from prebuild_tasks.claims.rules import answer_of, body_digest, event_key
from prebuild_tasks.claims.types import Attempt, Claimed
from prebuild_tasks.clock import monotonic
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import CLAIM_REASON, BuildStatus, Transition
from prebuild_tasks.workspaces import FollowUp, NewBuild, work_of

ANSWER_NAMES = (
    "id", "name", "owner", "url", "directory", "resource_id", "claimed_at", "claimed_until", "status", "reason",
    "preset_id", "build_number", "organization_id", "host",
)  # fmt: skip
"""The columns of a claimed workspace that its answer, its build and its follow-up are made of."""
RESULT_NAMES = (
    *ANSWER_NAMES, "is_served", "template_name", "preset_name", "version_name", "is_active", "max_per_owner",
    "limited_by",
)  # fmt: skip
"""The columns of the statement's result."""


ACTOR_NAMES = ("actor", "actor_kind", "actor_name", "actor_subject")
"""The columns of the history that say who claimed."""


@dataclass(frozen=True, slots=True)
class Hit:
    """The statement's result for a preset that exists."""

    row: ClaimedRow | None
    """The claimed workspace; None: no prebuild was claimed."""
    ref: PresetRef
    max_per_owner: int | None
    """The limit of the organization; None: there is none, or it was checked before."""
    limited_by: int
    """The organization that has the limit."""


def statement_values(attempt: Attempt, ref: PresetRef, build_id: uuid.UUID) -> dict[str, object]:
    """Return the values of the statement, but for the clock of a test."""
    return {
        "template": ref.template, "preset": ref.preset, "version": ref.version, "owner": attempt.owner,
        "name": attempt.request.name, "build_id": build_id, "elapsed_ms": (monotonic() - attempt.started) * 1000,
        "below_limit": False, "alive_s": attempt.alive_within, **request_values(attempt),
    }  # fmt: skip


def request_values(attempt: Attempt) -> dict[str, object]:
    """Return the values of the rows by which a request is known: its own, its event, and that of the history."""
    request = attempt.request
    return {
        "principal": request.principal,
        "key": request.request_id,
        "claim_id": uuid.UUID(attempt.claim_id),
        "body_digest": body_digest(request, attempt.owner),
        "request_id": event_key(request.principal, request.request_id),
        "actor": str(attempt.actor),
        "actor_kind": attempt.actor.kind.value,
        "actor_name": attempt.actor.name,
        "actor_subject": attempt.actor.subject,
    }


def read_hit(result: Sequence[Any] | None) -> Hit | None:
    """Make a typed result of the values that the driver returns."""
    if result is None:
        return None
    columns, more = result[: len(ANSWER_NAMES)], result[len(ANSWER_NAMES) :]
    is_served, template, preset, version, is_active, max_per_owner, limited_by = more
    row = None
    if columns[0] is not None:
        values = dict(zip(ANSWER_NAMES, columns, strict=True))
        values["id"] = str(values["id"])
        values["status"] = BuildStatus(values["status"])
        for name in ("claimed_at", "claimed_until"):
            values[name] = values[name] and values[name].astimezone(UTC)
        row = ClaimedRow(**values, is_served=is_served)
    return Hit(row, PresetRef.of(template, preset, version, active=bool(is_active)), max_per_owner, limited_by)


def claimed_of(row: ClaimedRow, ref: PresetRef, attempt: Attempt, build_id: uuid.UUID) -> Claimed:
    """Return the claim of a workspace, whose build has this id."""
    builds = [NewBuild(str(build_id), row.host, work_of(Transition.START, CLAIM_REASON, row.name))]
    answer = answer_of(row, ref, attempt.request.request_id, attempt.claim_id)
    return Claimed(answer, FollowUp.of(builds, [row.preset_id], ref=ref))
