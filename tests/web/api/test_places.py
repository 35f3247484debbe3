"""Places for streams: some for each token, and not more than there are in all."""

from __future__ import annotations

import pytest

from prebuild_tasks.web.api.places import Places
from prebuild_tasks.web.api.problems import ProblemError


def refusal(places: Places, token: str) -> tuple[int, str, str]:
    with pytest.raises(ProblemError) as refused:
        places.take(token, f"name-{token}")
    details = refused.value.details
    assert "Retry-After" in details.headers
    return details.status, details.code, details.detail


def test_a_token_has_some_places_and_all_together_not_more_than_there_are() -> None:
    places = Places(per_token=2, in_all=3)
    for token in "aab":
        places.take(token, "")
    assert refusal(places, "a")[:2] == (429, "too_many_streams")
    assert "name-a" in refusal(places, "a")[2]
    assert refusal(places, "b")[:2] == (503, "busy")
    places.leave("a")
    places.take("b", "")
    assert refusal(places, "c")[:2] == (503, "busy")
    assert places.taken == 3


def test_all_sessions_of_a_token_have_half_of_the_places() -> None:
    places = Places(per_token=2, in_all=6)
    for session in ("s1", "s1", "s2"):
        places.take(session, "this session", "a")
    with pytest.raises(ProblemError, match="all sessions of this token") as refused:
        places.take("s3", "this session", "a")
    assert refused.value.details.status == 429
    places.take("s4", "this session", "b")
    places.take("a", "the token")
    places.leave("s1", "a")
    places.take("s3", "this session", "a")
    assert places.taken == 5
