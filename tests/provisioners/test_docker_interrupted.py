"""An engine that was restarted, or a registry that was away, closed a pool for good."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from prebuild_tasks.builds.silence import SilentProvisioners
from prebuild_tasks.builds.types import Endpoint, Outcome
from prebuild_tasks.errors import CannotAskError, CannotBuildError, InterruptedStartError, ProvisionerError
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.provisioners.docker.image import pull_error
from prebuild_tasks.provisioners.docker.ready import check_not_killed
from tests.provisioners.context import Context


class Waits(Context):
    def __init__(self) -> None:
        super().__init__()
        self.waited = 0.0

    def wait(self, seconds: float) -> None:
        self.waited += seconds


def check(why: str, attempt: int = 1) -> float:
    context = Waits()
    check_not_killed(SimpleNamespace(ping=lambda: True), why, attempt, context)
    return context.waited


@pytest.mark.parametrize("code", [137, 143])
def test_a_container_that_is_killed_is_started_again(code: int) -> None:
    with pytest.raises(CannotAskError, match=f"exited with {code}: Killed"):
        check(f"the container exited with {code}: Killed")
    check(f"the container exited with {code}: Killed", attempt=3)


@pytest.mark.parametrize("why", ["the container exited with 1: no", "the container ran out of memory: "])
def test_one_that_ends_by_itself_fails(why: str) -> None:
    assert check(why) == 0


def test_the_engine_is_asked_after_a_moment() -> None:
    context = Waits()

    def ping() -> bool:
        assert context.waited > 0
        raise ConnectionError("away")

    with pytest.raises(ConnectionError):
        check_not_killed(SimpleNamespace(ping=ping), "the container exited with 137: ", 1, context)


@pytest.mark.parametrize(
    "reason",
    [
        "toomanyrequests: You have reached your pull rate limit.",
        "received unexpected HTTP status: 503 Service Unavailable",
        "error parsing HTTP 403 response body: toomanyrequests",
        "unexpected status code 429",
        'Get "https://registry.example/v2/": EOF',
        'Get "https://registry.example/v2/": dial tcp: lookup registry.example: no such host',
        'Get "https://registry.example/v2/": net/http: TLS handshake timeout',
    ],
)
@pytest.mark.parametrize("permanent", [False, True])
def test_a_registry_that_is_away_or_throttles_is_asked_again(reason: str, permanent: bool) -> None:
    assert isinstance(pull_error("app:1", reason, permanent=permanent), InterruptedStartError)


def test_what_a_registry_answers_counts() -> None:
    assert isinstance(pull_error("app:1", "manifest unknown", permanent=True), CannotBuildError)
    error = pull_error("app:1", "no space left on device", permanent=False)
    assert isinstance(error, ProvisionerError)
    assert not isinstance(error, CannotAskError)


def test_other_starts_of_the_engine_go_on() -> None:
    silent = SilentProvisioners()
    assert not silent.note(Endpoint("docker"), Outcome(BuildStatus.FAILED, "429", CannotAskError.code, alone=True))
    assert not silent.avoided()
