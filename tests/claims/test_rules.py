"""The rules of claims, without a database."""

from __future__ import annotations

from typing import Any

import pytest

from prebuild_tasks.claims.rules import (
    check_buildable,
    check_request,
    may_begin,
    miss_reason_of,
    refuse_at_limit,
)
from prebuild_tasks.claims.types import ClaimRequest, Pool
from prebuild_tasks.errors import InputError, RefusedError
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import MissReason, PresetStatus
from prebuild_tasks.reconcile.rules.limits import Limits
from prebuild_tasks.reconcile.rules.model import Usage


def pool(**values: Any) -> Pool:
    usual: dict[str, Any] = {
        "id": 1, "ref": PresetRef("dev", "small"), "organization_id": 1, "claimed_ttl": None, "hook": False,
        "max_per_owner": None, "max_builds_in_flight": None, "recipe_digest": "", "status": PresetStatus.HEALTHY,
        "status_reason": "", "paused": None, "active": True, "deleted": False, "rolling": False,
    }  # fmt: skip
    return Pool(**(usual | values))


def test_a_request_is_checked_and_its_owner_trimmed() -> None:
    assert check_request(ClaimRequest(" ada ", ["dev/small"], request_id="x" * 100)) == "ada"
    for wrong in ("", "x" * 101, "a\nb"):
        with pytest.raises(InputError, match="1 to 100 printable"):
            check_request(ClaimRequest("ada", ["dev/small"], request_id=wrong))
    with pytest.raises(InputError, match="not a valid workspace name"):
        check_request(ClaimRequest("ada", ["dev/small"], name="A B"))


@pytest.mark.parametrize(
    ("pools", "starting", "expired", "reason"),
    [
        ([pool(deleted=True, active=False)], 1, 1, MissReason.INACTIVE),
        ([pool(), pool(deleted=True)], 1, 1, MissReason.STARTING),
        ([pool(active=False)], 1, 0, MissReason.STARTING),
        ([pool(active=False)], 0, 1, MissReason.INACTIVE),
        ([pool(active=False), pool()], 0, 1, MissReason.EXPIRED),
        ([pool()], 0, 0, None),
    ],
)
def test_the_most_helpful_reason(pools: list[Pool], starting: int, expired: int, reason: MissReason | None) -> None:
    assert miss_reason_of(pools, starting=starting, expired=expired) is reason


def test_a_limit_that_is_reached_refuses() -> None:
    refuse_at_limit("ada", 1, 2)
    with pytest.raises(RefusedError, match="ada has 2 workspaces, the limit is 2"):
        refuse_at_limit("ada", 2, 2)


def limits(organization: Usage, **values: Any) -> Limits:
    usual: dict[str, Any] = {"in_flight": 1, "max_in_flight": None, "slow_start": None, "everywhere": 1}
    return Limits(organization=organization, **(usual | values))


@pytest.mark.parametrize(
    ("reached", "below"),
    [
        ({"max_in_flight": 1}, {"max_in_flight": 2}),
        ({"max_in_flight": 0}, {}),
        ({"max_everywhere": 1}, {"max_everywhere": 2}),
        ({"organization": Usage("team", 10, 1, 9, 1)}, {"organization": Usage("team", 10, 2, 9, 1)}),
    ],
)
def test_a_build_for_a_person_waits_for_each_limit(reached: dict[str, Any], below: dict[str, Any]) -> None:
    unlimited = {"organization": Usage("team", None, None, 9, 1)}
    assert may_begin(limits(**(unlimited | below)))
    assert not may_begin(limits(**(unlimited | reached)))


@pytest.mark.parametrize("other", [{}, {"max_in_flight": 1}, {"max_everywhere": 1}])
def test_a_full_organization_refuses_whatever_else_is_reached(other: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="organization team has 10 workspaces, the limit is 10"):
        may_begin(limits(Usage("team", 10, 1, 10, 1), **other))


def test_only_an_active_and_healthy_pool_builds() -> None:
    check_buildable(pool())
    with pytest.raises(RefusedError, match="dev/small is not active"):
        check_buildable(pool(active=False))
    with pytest.raises(RefusedError, match=r"not built at present \(hard limited\): no more"):
        check_buildable(pool(status=PresetStatus.HARD_LIMITED, status_reason="no more"))
