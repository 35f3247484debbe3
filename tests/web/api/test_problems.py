"""Each error of a service becomes problem details; each remedy names the call that carries it out, if there is one."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prebuild_tasks import errors
from prebuild_tasks.errors import BuildFailedError, ClaimMissError, InputError, PrebuildError, Remedy, RemedyKind
from prebuild_tasks.model.vocabulary import MissReason
from prebuild_tasks.web.api.docs_page import docs_page
from prebuild_tasks.web.api.links import call_of
from prebuild_tasks.web.api.problems import TITLES, fragment_of, problem_of

NGINX = Path(__file__).parents[3] / "deploy/nginx/prebuild.conf"
RETRY = {"Retry-After"}
TABLE: list[tuple[PrebuildError, int, str, set[str]]] = [
    (InputError("x"), 422, "bad-input", set()),
    (errors.UnfitDatabaseError("x"), 503, "unreachable", RETRY),
    (errors.NotFoundError("x"), 404, "not-found", set()),
    (errors.RefusedError("x"), 409, "refused", set()),
    (errors.BusyError("x"), 503, "busy", RETRY),
    (errors.RequestEndedError("x"), 410, "request-ended", set()),
    (errors.EventsGoneError("x", oldest=7), 410, "events-gone", set()),
    (errors.RequestReusedError("x"), 422, "request-reused", set()),
    (errors.OwnerNotAllowedError("x"), 403, "owner-not-allowed", set()),
    (errors.AuthenticationError("x"), 401, "token-unknown", {"WWW-Authenticate"}),
    (errors.TokenExpiredError("x"), 401, "token-expired", {"WWW-Authenticate"}),
    (errors.TokenRevokedError("x"), 401, "token-revoked", {"WWW-Authenticate"}),
    (errors.UnreachableError("x"), 503, "unreachable", RETRY),
    (BuildFailedError("x"), 409, "build-failed", set()),
    (ClaimMissError("x", reason="starting"), 429, "miss/starting", RETRY),
    (ClaimMissError("x", reason="empty_pool"), 429, "miss/empty-pool", RETRY),
    (PrebuildError("x"), 500, "error", set()),
]


@pytest.mark.parametrize(("error", "status", "fragment", "headers"), TABLE, ids=lambda value: str(value)[:30])
def test_an_error_becomes_a_problem(error: PrebuildError, status: int, fragment: str, headers: set[str]) -> None:
    details = problem_of(error)
    body = details.to_json("https://door", "r1")
    assert (details.status, set(details.headers)) == (status, headers)
    assert body["type"] == f"https://door/docs#{fragment}"
    assert {"title", "status", "detail", "code", "hint", "remedy", "request_id"} <= body.keys()
    assert (body["status"], body["request_id"]) == (status, "r1")
    # Where a service is, and why it cannot be used, is not told: whoever asks may have no valid token.
    assert body["detail"] == "x" or (status >= 500 and "x" not in str(body["detail"]).split())


def test_every_type_of_problem_is_on_the_page() -> None:
    codes = {*TITLES} - {"miss"} | {f"miss/{reason}" for reason in MissReason}
    page = docs_page().text
    assert [code for code in codes if f'id="{fragment_of(code)}"' not in page] == []


def test_what_the_proxy_answers_is_of_the_same_types() -> None:
    """nginx answers by itself to what is too large, malformed, or for a server that is away."""
    answers = re.findall(r"'(\"type\".*)';$", NGINX.read_text(), re.MULTILINE)
    problems = [json.loads(f"{{{answer}}}") for answer in answers]
    assert {problem["code"] for problem in problems} >= {"too_large", "server_away"}
    for problem in problems:
        assert problem["type"] == f"/docs#{fragment_of(problem['code'])}"
        assert problem["title"] == TITLES[problem["code"]]


def raised() -> Iterator[PrebuildError]:
    needed: dict[str, Any] = {"reason": "starting", "workspace": "w", "preset_id": 1}
    for kind in vars(errors).values():
        if inspect.isclass(kind) and issubclass(kind, PrebuildError) and kind is not errors.PoolsFileError:
            names = inspect.signature(kind.__init__).parameters
            yield kind("x", **{name: needed[name] for name in names if name in needed})


def test_every_error_has_a_title() -> None:
    assert [problem_of(error).to_json("", "")["title"] for error in raised()].count("") == 0


NOT_OVER_HTTP = frozenset(RemedyKind) - {
    RemedyKind.SHOW_SETTINGS, RemedyKind.LIST_POOLS, RemedyKind.LIST_PROBLEMS, RemedyKind.EXPLAIN_POOL,
    RemedyKind.RECONCILE, RemedyKind.RESUME, RemedyKind.UNBLOCK_POOL, RemedyKind.CLAIM_WORKSPACE,
    RemedyKind.RELEASE_WORKSPACE, RemedyKind.DELETE_WORKSPACE, RemedyKind.LIST_WORKSPACES, RemedyKind.LIST_BUILDS,
    RemedyKind.LIST_RUNNING_BUILDS, RemedyKind.LIST_FAILED_BUILDS, RemedyKind.SHOW_LOG, RemedyKind.FOLLOW_LOG,
    RemedyKind.WAIT_FOR_WORKSPACE, RemedyKind.NAME_OWNER, RemedyKind.NAME_PRESET, RemedyKind.CHOOSE_OTHER_NAME,
    RemedyKind.REPEAT_REQUEST, RemedyKind.NEW_REQUEST, RemedyKind.SHOW_HISTORY, RemedyKind.LIST_WEBHOOKS,
    RemedyKind.ENABLE_WEBHOOK, RemedyKind.LIST_DELIVERIES,
}  # fmt: skip
"""What is done on a machine of the installation, or by the command line."""
CALLS = [
    (Remedy(RemedyKind.EXPLAIN_POOL, "dev/small"), "GET", "/v1/pools/dev/small/explain"),
    (Remedy(RemedyKind.RESUME), "POST", "/v1/pools/resume"),
    (Remedy(RemedyKind.RESUME, "dev/small"), "POST", "/v1/pools/dev/small/resume"),
    (Remedy(RemedyKind.RECONCILE, "dev/small@v1"), "POST", "/v1/pools/dev/small@v1/reconcile"),
    (Remedy(RemedyKind.UNBLOCK_POOL, "dev/small"), "POST", "/v1/pools/dev/small/unblock"),
    (Remedy(RemedyKind.RELEASE_WORKSPACE, "ada/x"), "POST", "/v1/workspaces/ada/x/release"),
    (Remedy(RemedyKind.DELETE_WORKSPACE, "x"), "DELETE", "/v1/workspaces/prebuilds/x"),
    (Remedy(RemedyKind.SHOW_HISTORY, "a b/x"), "GET", "/v1/workspaces/a%20b/x/history"),
    (Remedy(RemedyKind.LIST_BUILDS, "dev/small"), "GET", "/v1/builds?preset=dev%2Fsmall"),
    (Remedy(RemedyKind.SHOW_LOG, "b2a4c7de"), "GET", "/v1/builds/b2a4c7de/log"),
    (Remedy(RemedyKind.LIST_WEBHOOKS), "GET", "/v1/webhooks"),
    (Remedy(RemedyKind.ENABLE_WEBHOOK, "ci"), "POST", "/v1/webhooks/ci/enable"),
    (Remedy(RemedyKind.LIST_DELIVERIES, "ci"), "GET", "/v1/webhooks/ci/deliveries"),
    (Remedy(RemedyKind.CLAIM_WORKSPACE, "dev/small"), "POST", "/v1/claims"),
    (Remedy(RemedyKind.NEW_REQUEST), "POST", "/v1/claims"),
    (Remedy(RemedyKind.NEW_REQUEST, "ada/x"), "POST", "/v1/workspaces/ada/x/extend"),
]


@pytest.mark.parametrize(("remedy", "method", "path"), CALLS, ids=str)
def test_a_remedy_names_its_call(remedy: Remedy, method: str, path: str) -> None:
    call = call_of(remedy)
    assert call
    assert (call.method, call.path) == (method, path)


@pytest.mark.parametrize("kind", sorted(RemedyKind))
def test_every_remedy_has_a_call_or_is_not_over_http(kind: RemedyKind) -> None:
    calls = [call_of(Remedy(kind, subject)) for subject in ("dev/small", "b2a4c7de")]
    assert any(calls) == (kind not in NOT_OVER_HTTP)


@pytest.mark.parametrize("cause", ["ada/x is changing at this moment", "every database connection of this process"])
def test_the_title_of_busy_fits_each_of_its_causes(cause: str) -> None:
    title = problem_of(errors.BusyError(cause)).to_json("", "")["title"]
    assert title == "Something that the request needs is in use"
