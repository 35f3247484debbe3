"""`Client` and `AsyncClient` with a web address: what they ask, what they answer, and which errors they raise."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import httpx
import pytest

from prebuild_tasks import errors
from prebuild_tasks.client import Client
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.remote.async_client import AsyncClient
from prebuild_tasks.remote.logins import login_to
from prebuild_tasks.remote.session import RemoteSession
from tests.support.remote_answers import CLAIMED, POOL, VIEW

URL, TOKEN = "https://door.example/prebuilds", "pbt_secret"


class Door:
    """A server whose answers are fixed, which remembers what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.asked = list(answers), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def bodies(self) -> list[object]:
        return [json.loads(request.content) if request.content else None for request in self.asked]


def answer(value: object, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=value, headers={name.replace("_", "-"): text for name, text in headers.items()})


def problem(status: int, fragment: str, **members: object) -> httpx.Response:
    body = {"type": f"/docs#{fragment}", "detail": "a sentence", "hint": "do something", "remedy": None, **members}
    return answer(body, status, retry_after="1")


Make = Callable[..., Client]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function that makes a client of a server whose answers are fixed."""

    def make(door: Callable[[httpx.Request], httpx.Response], deadline: float = 20.0) -> Client:
        monkeypatch.setattr("prebuild_tasks.remote.session.DEADLINE", deadline)
        answer_with(door, monkeypatch)
        return Client(URL, token=TOKEN)

    return make


REAL, REAL_ASYNC = httpx.Client, httpx.AsyncClient


def answer_with(door: Callable[[httpx.Request], httpx.Response], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients that are made from now on reach this server in place of the network."""
    transport = httpx.MockTransport(door)
    monkeypatch.setattr(httpx, "Client", partial(REAL, transport=transport))
    monkeypatch.setattr(httpx, "AsyncClient", partial(REAL_ASYNC, transport=transport))


def test_a_claim(client: Make) -> None:
    door = Door(answer(CLAIMED, 201))
    claimed = client(door).claim("dev/small", owner="ada", request_id="k1")
    assert (claimed.workspace, claimed.id, f"{claimed.claimed_at:%H:%M}") == ("calm-otter", "c1", "12:00")
    [request] = door.asked
    assert (request.method, str(request.url)) == ("POST", f"{URL}/v1/claims")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["idempotency-key"] == "k1"
    assert door.bodies == [{"presets": ["dev/small"], "owner": "ada"}]


def test_a_claim_is_made_again_with_its_key(client: Make) -> None:
    failed = [httpx.ConnectError("refused"), answer({}, 502), problem(429, "rate-limited"), answer("no", 503)]
    door = Door(*failed, answer(CLAIMED, 201))
    assert client(door).claim("dev/small", owner="ada").id == "c1"
    assert len({request.headers["idempotency-key"] for request in door.asked}) == 1
    assert len(door.asked) == 5


def test_there_is_an_end_to_it(client: Make) -> None:
    def refused(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused")

    with pytest.raises(errors.UnreachableError, match=r"door\.example/prebuilds does not answer: Connection refused"):
        client(refused, deadline=0.5).claim("dev/small", owner="ada")


def test_a_claim_that_waits_repeats_its_request(client: Make) -> None:
    being_built = answer({**CLAIMED, "state": "building"}, 202)
    door = Door(problem(429, "miss/none-ready", reason="none_ready"), being_built, answer(CLAIMED, 201))
    assert client(door).claim("dev/small", owner="ada", wait=120).id == "c1"
    assert len({request.headers["idempotency-key"] for request in door.asked}) == 1
    assert [dict(body)["wait"] for body in door.bodies] == [55, 55, 55]  # type: ignore[call-overload]


def test_a_wait_that_ends_says_how_to_go_on(client: Make) -> None:
    door = Door(answer({**CLAIMED, "state": "building"}, 202))
    with pytest.raises(errors.WaitTimeoutError, match="calm-otter is being built for ada") as raised:
        client(door).claim("dev/small", owner="ada", request_id="k1", wait=0.000001)
    assert raised.value.remedy
    assert raised.value.remedy.kind is RemedyKind.REPEAT_REQUEST


@pytest.mark.parametrize(
    ("response", "kind", "exit_code"),
    [
        (problem(400, "malformed-query"), errors.InputError, 2),
        (problem(401, "token-unknown"), errors.AuthenticationError, 5),
        (problem(401, "token-expired"), errors.TokenExpiredError, 5),
        (problem(401, "token-revoked"), errors.TokenRevokedError, 5),
        (problem(403, "scope-too-narrow"), errors.RefusedError, 5),
        (problem(403, "owner-not-allowed"), errors.OwnerNotAllowedError, 5),
        (problem(404, "not-found"), errors.NotFoundError, 3),
        (problem(409, "refused"), errors.RefusedError, 5),
        (problem(409, "build-failed"), errors.BuildFailedError, 5),
        (problem(410, "request-ended", state="ended"), errors.RequestEndedError, 5),
        (problem(413, "too-large"), errors.InputError, 2),
        (problem(415, "unsupported-media-type"), errors.InputError, 2),
        (problem(422, "bad-input"), errors.InputError, 2),
        (problem(422, "request-reused"), errors.RequestReusedError, 5),
        (problem(429, "miss/none-ready", reason="none_ready"), errors.ClaimMissError, 4),
        (problem(410, "events-gone"), errors.EventsGoneError, 5),
        (problem(429, "rate-limited"), errors.RateLimitedError, 6),
        (problem(503, "unreachable"), errors.UnreachableError, 7),
        (httpx.Response(502, text="<html>"), errors.UnreachableError, 7),
        (httpx.Response(404, text="<html>"), errors.NotFoundError, 3),
        (httpx.Response(500, text="oops"), errors.PrebuildError, 1),
        (problem(503, "something-newer"), errors.UnreachableError, 7),
    ],
)
def test_errors_by_the_type_of_the_problem(
    response: httpx.Response, kind: type[errors.PrebuildError], exit_code: int, client: Make
) -> None:
    with pytest.raises(errors.PrebuildError) as raised:
        client(lambda _: response, deadline=0).claim("dev/small", owner="ada")
    assert type(raised.value) is kind
    assert raised.value.exit_code == exit_code


def test_what_an_error_carries(client: Make) -> None:
    remedy = {"kind": "explain_pool", "subject": "dev/small", "version": "", "call": None}
    at = "2026-03-02T03:00:00+00:00"
    response = problem(429, "miss/none-ready", reason="none_ready", retryable=False, remedy=remedy, next_change=at)
    with pytest.raises(errors.ClaimMissError) as raised:
        client(lambda _: response).claim("dev/small", owner="ada")
    error = raised.value
    assert (error.reason, error.retry_after, error.retryable) == ("none_ready", 1, False)
    assert error.next_change == datetime.fromisoformat(at)
    assert (error.hint, error.remedy) == ("do something", Remedy(RemedyKind.EXPLAIN_POOL, "dev/small"))
    ended = {"state": "ended", "workspace": "calm-otter", "workspace_id": "w1", "ended_by": "ada", "reason": "released"}
    with pytest.raises(errors.RequestEndedError) as gone:
        client(lambda _: problem(410, "request-ended", **ended)).claim("dev/small", owner="ada")
    assert {name: getattr(gone.value, name) for name in ended} == ended


def test_lists_are_read_to_their_end(client: Make) -> None:
    other = {**VIEW, "workspace": "prebuild-x", "owner": "prebuilds", "id": "a"}
    door = Door(answer({"items": [other], "next": "c"}), answer({"items": [VIEW], "next": None}))
    assert [view.workspace for view in client(door).workspaces()] == ["calm-otter", "prebuild-x"]
    assert [request.url.params.get("cursor") for request in door.asked] == [None, "c"]


def test_a_workspace_by_name_by_id_and_with_its_owner(client: Make) -> None:
    every = answer({"items": [VIEW], "next": None})
    door = Door(answer(VIEW), every, every)
    assert client(door).get("ada/calm-otter").owner == "ada"
    assert door.asked[0].url.path == "/prebuilds/v1/workspaces/ada/calm-otter"
    assert client(door).get("calm-otter").owner == "ada"
    assert client(door).get(str(VIEW["id"])).owner == "ada"
    # All workspaces used to be read, a page at a time.
    asked = [{key: value for key, value in request.url.params.items() if key != "limit"} for request in door.asked]
    assert asked == [{}, {"name": "calm-otter"}, {"id": VIEW["id"]}]
    with pytest.raises(errors.NotFoundError):
        client(Door(answer({"items": [], "next": None}))).get("other")
    twice = {"items": [VIEW, {**VIEW, "owner": "bob", "id": "b"}], "next": None}
    with pytest.raises(errors.RefusedError, match="as of ada, bob"):
        client(Door(answer(twice))).get("calm-otter")


def test_a_name_cannot_leave_its_place_in_the_path(client: Make) -> None:
    door = Door(answer({**VIEW, "owner": "ada/x?y=..", "workspace": "z", "id": "w?1"}), answer({"id": "w?1"}))
    client(door).release("ada/x?y=../z", actor="ada")
    path = b"/prebuilds/v1/workspaces/ada%2Fx%3Fy%3D../z"
    assert [request.url.raw_path for request in door.asked] == [path, path + b"/release?id=w%3F1"]


def test_release_extend_and_availability(client: Make) -> None:
    extended = answer({"claimed_until": "2026-11-29T12:00:00+00:00"})
    door = Door(answer(VIEW), answer({"id": "w1"}), extended, answer(VIEW))
    with client(door) as made:
        made.release("ada/calm-otter", actor="ada")
        assert made.extend("ada/calm-otter", 3600, actor="ada").workspace == "calm-otter"
    assert door.bodies == [None, None, {"duration": "3600s"}, None]
    assert door.asked[1].url.params["id"] == VIEW["id"]
    assert door.asked[2].headers["idempotency-key"]
    pools = answer({"items": [POOL, {**POOL, "preset": "dev/small@v1"}], "next": None})
    [pool] = client(Door(pools)).availability()
    assert (pool.preset, pool.available, pool.eligible, pool.paused) == ("dev/small", 3, 1, False)
    with pytest.raises(errors.NotFoundError):
        client(Door(pools)).availability("dev/none")


def test_what_answers_is_not_this_api(client: Make) -> None:
    for response in (httpx.Response(200, text="<html>"), answer([1]), answer({"workspace": 1})):
        with pytest.raises(errors.PrebuildError, match="the answer is not"):
            client(lambda _, response=response: response).claim("dev/small", owner="ada")  # type: ignore[misc]


def test_a_log_that_is_cut_off_is_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cut(httpx.SyncByteStream):
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield b"one "
            raise httpx.ReadError("gone")

    running, ended = ({"build": "b1", "completed_at": at} for at in (None, "now"))
    door = Door(answer(running), httpx.Response(200, stream=Cut()), httpx.Response(200, text="one two"), answer(ended))
    answer_with(door, monkeypatch)
    session = RemoteSession(login_to(URL, TOKEN))
    assert "".join(session.log("b1", follow=True)) == "one two"


def test_the_async_client_has_the_same_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(httpx.ReadTimeout("slow"), answer(CLAIMED, 201), answer(VIEW), answer({"items": [POOL], "next": None}))

    answer_with(door, monkeypatch)

    async def use() -> Sequence[str]:
        async with AsyncClient(URL, token=TOKEN) as made:
            claimed = await made.claim("dev/small", owner="ada", request_id="k1")
            view = await made.get("ada/calm-otter")
            [pool] = await made.availability("dev/small")
            return [claimed.id, view.workspace, pool.preset]

    assert asyncio.run(use()) == ["c1", "calm-otter", "dev/small"]
    public = {name for name in vars(AsyncClient) if not name.startswith("_")}
    assert public == {"availability", "claim", "close", "extend", "get", "release", "wait_until_usable", "workspaces"}
    assert public <= {name for name in dir(Client) if not name.startswith("_")}


def test_what_does_not_go_together_is_refused() -> None:
    for arguments in ({"database_url": URL}, {"database_url": URL, "token": TOKEN, "redis_url": "redis://x"}):
        with pytest.raises(errors.InputError):
            Client(**arguments)
    with pytest.raises(errors.InputError):
        Client("sqlite:///x.db", token=TOKEN)
    with pytest.raises(errors.InputError), Client(URL, token=TOKEN) as made:
        _ = made.database
