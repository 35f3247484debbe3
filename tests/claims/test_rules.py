"""The rules of claims, without a database."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from prebuild_tasks.claims.rows import Pool, RequestedRow
from prebuild_tasks.claims.rules import (
    body_digest,
    check_buildable,
    check_form,
    check_repeated,
    check_request,
    event_key,
    may_begin,
    miss_reason_of,
    refuse_at_limit,
    retry_after,
)
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.errors import InputError, RefusedError, RequestReusedError
from prebuild_tasks.model.names import PresetRef
from prebuild_tasks.model.vocabulary import MissReason, PresetStatus, RequestState
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
    ("wrong", "sentence"),
    [
        ({}, "name either presets, or a template"),
        ({"presets": ["dev/small"], "template": "dev"}, "name either presets, or a template"),
        ({"presets": ["dev/none", "small"]}, "small.* is not a preset name"),
        ({"presets": ["dev/small"], "name": "A B"}, "not a valid workspace name"),
        ({"presets": ["dev/small"], "owner": ""}, "the owner is empty"),
    ],
)
def test_all_that_is_malformed_is_found_before_anything_is_read(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        check_form(ClaimRequest(**{"owner": "ada", **wrong}))
    for fine in ({"presets": ["dev/small@v1", "12"]}, {"template": "dev", "parameters": {"a": "b"}}):
        assert check_form(ClaimRequest("ada", **fine)) == "ada"


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


BODY = ClaimRequest("ada", ["dev/small", "dev/large"], template="", parameters={"a": "1", "b": "2"}, name="one")


@pytest.mark.parametrize(
    "same",
    [
        {"presets": ("dev/small", "dev/large")},
        {"parameters": {"b": "2", "a": "1"}},
        {"wait": True, "repeated": True, "request_id": "other", "principal": "portal"},
    ],
)
def test_the_digest_is_of_what_is_asked_for(same: dict[str, Any]) -> None:
    assert body_digest(replace(BODY, **same), "ada") == body_digest(BODY, "ada")


@pytest.mark.parametrize(
    "other",
    [
        {"presets": ["dev/large", "dev/small"]},
        {"presets": ["dev/small"]},
        {"parameters": {"a": "1"}},
        {"template": "dev"},
        {"name": ""},
        {"name": "\ud800"},
    ],
)
def test_another_body_has_another_digest(other: dict[str, Any]) -> None:
    assert body_digest(replace(BODY, **other), "ada") != body_digest(BODY, "ada")
    assert body_digest(BODY, "bob") != body_digest(BODY, "ada")


def test_the_digest_is_the_same_in_every_release() -> None:
    """It is compared with one that another release may have written."""
    assert body_digest(BODY, "ada") == "971e08f70d6bd09fd750c7e9330aa5d64fb71d7a1243082252b98922b65b9443"


def test_events_of_tokens_have_a_digest_for_their_key() -> None:
    assert event_key("local", "k") == "k"
    assert event_key("portal", "k") == hashlib.sha256(b"portal\0k").hexdigest()
    assert len({event_key("portal", "k"), event_key("portal-k", ""), event_key("porta", "lk")}) == 3


@pytest.mark.parametrize(
    ("principal", "owner", "digest", "error"),
    [
        ("local", "ada", "same", None),
        ("local", "ada", None, None),
        ("local", "ada", "other", RequestReusedError),
        ("local", "bob", "same", RefusedError),
        ("local", "bob", None, RefusedError),
        ("portal", "ada", "same", None),
        ("portal", "bob", "other", RequestReusedError),
        ("portal", "bob", None, RefusedError),
    ],
)
def test_a_request_is_repeated_unchanged(
    principal: str, owner: str, digest: str | None, error: type[RefusedError] | None
) -> None:
    """`owner` is the one of the earlier request."""
    request = replace(BODY, principal=principal, request_id="r")
    stored = body_digest(request, owner) if digest == "same" else digest
    earlier = RequestedRow(
        id="", principal=principal, request_id="r", owner=owner, body_digest=stored, state=RequestState.GIVEN,
        ended_at=None, ended_by="", workspace_id="", workspace=None,
    )  # fmt: skip
    if error is None:
        check_repeated(request, "ada", earlier)
    else:
        with pytest.raises(error) as refused:
            check_repeated(request, "ada", earlier)
        assert type(refused.value) is error


@pytest.mark.parametrize(
    ("measured", "elapsed", "on_the_way", "seconds"),
    [
        ([], 0, False, 60),
        ([10.0], 0, False, 60),
        ([], 0, True, 60),
        ([], 59.5, True, 1),
        ([30.0], 0, True, 30),
        ([30.0, 90.0], 10, True, 50),
        ([5.0, 100.0, 20.0], 4.5, True, 16),
        ([20.0], 25, True, 1),
        ([3600.0], 0, True, 300),
        ([0.2], 0, True, 1),
    ],
)
def test_when_to_ask_again(measured: list[float], elapsed: float, *, on_the_way: bool, seconds: int) -> None:
    assert retry_after(measured, elapsed, on_the_way=on_the_way) == seconds
