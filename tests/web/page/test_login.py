"""Log-in by a token and by a code, and log-out."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from sqlalchemy import select, update

from prebuild_tasks import clock
from prebuild_tasks.access.authenticator import Authenticator
from prebuild_tasks.access.sessions import new_login_code
from prebuild_tasks.access.tokens import revoke_token
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.schema import tables as m
from prebuild_tasks.web.api.problems import problem
from tests.support.api import Api, Options, serving
from tests.support.browser import Browser

NOBODY = "pbt_" + "x" * 43
AWAY = [
    "//evil.example",
    "https://evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "pools",
    "",
]


@pytest.fixture
def code(api: Api, database: Database) -> str:
    return new_login_code(database, Authenticator(database).authenticate(api.admin).token_id)


def sessions(database: Database) -> int:
    with database.read() as connection:
        return len(connection.execute(select(m.PageSession.digest)).all())


def used(database: Database) -> bool:
    with database.read() as connection:
        return connection.execute(select(m.LoginCode.used_at)).scalar_one() is not None


def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Move the process's clock beyond what it remembers of sessions."""
    now = clock.monotonic
    monkeypatch.setattr(clock, "monotonic", lambda: now() + 2)


@pytest.mark.parametrize("path", ["/pools", "/", "/pools?q=a%20b&reason=paused"])
@pytest.mark.parametrize("accept", ["text/html", "application/json", "*/*"])
def test_without_a_session_a_page_leads_to_the_login_and_back(browser: Browser, path: str, accept: str) -> None:
    answer = browser.get(path, Accept=accept)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login?" + urlencode({"next": path}))
    form = browser.get(answer.headers["Location"])
    assert f'name="next" value="{path.replace("&", "&amp;")}"' in form.text
    answer = browser.post("/login", {"token": browser.api.admin, "next": path})
    assert (answer.status_code, answer.headers["Location"]) == (303, path)
    assert browser.get(path).status_code == 200


@pytest.mark.parametrize(
    ("form", "back"),
    [
        ("/logout", "/"),
        ("/sweep/confirm", "/"),
        ("/pools/a/b/pause", "/pools"),
        ("/workspaces/a/b/release", "/workspaces"),
    ],
)
def test_a_form_without_a_session_leads_to_the_login_and_from_there_to_its_list(
    browser: Browser, form: str, back: str
) -> None:
    answer = browser.post(form, {})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/login?{urlencode({'next': back})}")
    assert browser.log_in().get(back).status_code == 200


@pytest.mark.parametrize("to", AWAY)
def test_the_login_leads_nowhere_else(browser: Browser, to: str) -> None:
    assert 'name="next" value="/pools"' in browser.get(f"/login?{urlencode({'next': to})}").text
    assert browser.post("/login", {"token": browser.api.admin, "next": to}).headers["Location"] == "/pools"
    assert browser.get(f"/login?{urlencode({'next': to})}").headers["Location"] == "/pools", "with a session"


@pytest.mark.parametrize("token", ["", "x", NOBODY, "<script>alert(1)</script>", "\u202e", "x" * 100_000])
def test_a_bad_token_logs_nobody_in(browser: Browser, database: Database, token: str) -> None:
    answer = browser.post("/login", {"token": token, "next": "/pools?q=1"})
    assert answer.status_code == 403
    assert "Not logged in: the token is not one of this installation" in answer.text
    assert 'value="/pools?q=1"' in answer.text
    assert "Set-Cookie" not in answer.headers
    assert token not in answer.text or not token or token == "x"
    assert sessions(database) == 0


def test_a_revoked_token_logs_nobody_in(api: Api, browser: Browser, database: Database) -> None:
    token = api.token("read", name="former")
    revoke_token(database, "former", actor="test")
    answer = browser.post("/login", {"token": token})
    assert (answer.status_code, "the token former was revoked" in answer.text) == (403, True)


def test_a_login_makes_a_new_session_and_ends_the_former_one(browser: Browser, database: Database) -> None:
    browser.log_in()
    former = dict(browser.cookies)
    browser.log_in()
    assert browser.cookies != former
    assert sessions(database) == 1
    browser.cookies = former
    assert not browser.is_logged_in


def test_a_session_that_somebody_else_planted_is_not_taken_over(browser: Browser) -> None:
    planted = "pbs_" + "p" * 43
    browser.cookies = {"prebuild_session": planted}
    browser.log_in()
    assert browser.cookies["prebuild_session"] != planted


def test_the_link_shows_one_button_and_the_button_logs_in(browser: Browser, database: Database, code: str) -> None:
    for _ in range(2):
        page = browser.get(f"/login?code={code}")
        assert (page.status_code, page.text.count("<button")) == (200, 1)
        assert "Set-Cookie" not in page.headers
    assert not used(database), "fetching the link uses nothing up"
    answer = browser.post("/login", {"code": code, "next": "/pools"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/pools")
    assert used(database)
    assert browser.is_logged_in


def test_a_code_works_once(api: Api, browser: Browser, code: str) -> None:
    assert browser.post("/login", {"code": code}).status_code == 303
    other = Browser(api)
    answer = other.post("/login", {"code": code})
    assert (answer.status_code, "used before, or is older" in answer.text) == (403, True)
    assert not other.is_logged_in


def test_a_code_that_has_expired_logs_nobody_in(browser: Browser, database: Database, code: str) -> None:
    with database.write() as connection:
        connection.execute(update(m.LoginCode).values(expires_at=database.now(connection)))
    assert browser.post("/login", {"code": code}).status_code == 403
    assert not browser.is_logged_in


def test_a_code_of_a_revoked_token_logs_nobody_in(browser: Browser, database: Database, code: str) -> None:
    revoke_token(database, "t1", actor="test")
    assert browser.post("/login", {"code": code}).status_code == 403


@pytest.mark.parametrize("sent", ["pbc_" + "x" * 43, "x", "<script>alert(1)</script>", "\u202e"])
def test_what_is_not_a_code(browser: Browser, sent: str) -> None:
    page = browser.get(f"/login?{urlencode({'code': sent})}")
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert "\u202e" not in page.text
    assert browser.post("/login", {"code": sent}).status_code == 403


def test_a_log_out_ends_the_session(browser: Browser, database: Database) -> None:
    browser.log_in()
    former = dict(browser.cookies)
    answer = browser.submit("/logout")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login?done=logged_out")
    assert browser.cookies == {}
    assert sessions(database) == 0
    assert "You are logged out." in browser.get(answer.headers["Location"]).text
    browser.cookies = former
    assert not browser.is_logged_in


def test_a_log_out_ends_the_session_in_another_process(
    browser: Browser, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.log_in()
    with serving(database, settings) as another:
        other = Browser(another)
        other.cookies = dict(browser.cookies)
        assert other.is_logged_in
        browser.submit("/logout")
        later(monkeypatch)
        assert not other.is_logged_in


def test_a_session_ends_with_its_token(
    api: Api, browser: Browser, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.log_in(api.token("read", name="short"))
    assert browser.is_logged_in
    revoke_token(database, "short", actor="test")
    later(monkeypatch)
    assert not browser.is_logged_in


class Impatient:
    """A limiter that refuses after two bad tokens, and counts."""

    def __init__(self) -> None:
        self.bad, self.requests = 0, list[bool]()

    async def count(self, _principal: object, *, claims: bool) -> None:
        self.requests.append(claims)
        if len(self.requests) > 4:
            raise problem(429, "rate_limited", "the token makes too many requests")

    async def count_bad(self, _address: str) -> None:
        self.bad += 1

    def require_patience(self, _address: str) -> None:
        if self.bad >= 2:
            raise problem(429, "rate_limited", "this address has sent too many bad tokens")


def test_who_guesses_is_slowed_down(api: Api, browser: Browser) -> None:
    known, new = api.token(), api.token()
    assert api.get("/v1/pools", known).status_code == 200
    api.app.state.door.limiter = Impatient()
    statuses = [
        browser.post("/login", fields).status_code for fields in ({"token": NOBODY}, {"code": "x"}, {"token": new})
    ]
    assert statuses == [403, 403, 429]
    assert browser.post("/login", {"token": known}).status_code == 303, "a token that was good a moment ago goes on"


def test_who_makes_sessions_up_is_slowed_down_and_others_at_the_address_go_on(api: Api, browser: Browser) -> None:
    browser.log_in()
    assert browser.is_logged_in
    api.app.state.door.limiter = Impatient()
    stranger, statuses = Browser(api), list[int]()
    for letter in "abc":
        stranger.cookies = {"prebuild_session": "pbs_" + letter * 43}
        statuses.append(stranger.get("/pools").status_code)
    assert statuses == [303, 303, 429]
    assert browser.is_logged_in


def test_requests_of_a_session_count_as_those_of_its_token(api: Api, browser: Browser) -> None:
    browser.log_in()
    api.app.state.door.limiter = limiter = Impatient()
    for _ in range(3):
        assert browser.is_logged_in
    assert browser.submit("/logout").status_code == 429
    assert limiter.requests == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("public_url", "origin", "name", "is_secure"),
    [
        ("", "http://127.0.0.1", "prebuild_session", False),
        ("", "https://127.0.0.1", "__Host-prebuild_session", True),
        ("https://door.example", "https://door.example", "__Host-prebuild_session", True),
        ("https://door.example", "http://door.example", "__Host-prebuild_session", True),  # TLS ends before
        ("http://door.example", "http://door.example", "prebuild_session", False),
    ],
)
def test_the_cookie(
    database: Database, settings: Settings, public_url: str, origin: str, name: str, is_secure: bool
) -> None:
    with serving(database, settings, Options(public_url=public_url)) as api:
        browser = Browser(api, origin)
        answer = browser.post("/login", {"token": api.admin}, Origin=public_url or origin)
        [cookie] = answer.headers.get_list("set-cookie")
        start, *attributes = cookie.split("; ")
        assert start.startswith(f"{name}=pbs_")
        assert attributes == ["Path=/", "Max-Age=86400", "HttpOnly", "SameSite=Lax", *(["Secure"] if is_secure else [])]
        assert browser.is_logged_in
        other = "prebuild_session" if is_secure else "__Host-prebuild_session"
        browser.cookies = {other: browser.cookies[name]}
        assert not browser.is_logged_in, "a cookie of the other name may come from anywhere"


def test_paths_begin_with_that_of_the_public_url(database: Database, settings: Settings) -> None:
    with serving(database, settings, Options(public_url="https://door.example/prebuilds")) as api:
        browser = Browser(api, "https://door.example")
        assert browser.get("/pools").headers["Location"] == "/prebuilds/login?next=%2Fpools"
        assert browser.post("/login", {"token": api.admin}).headers["Location"] == "/prebuilds/pools"
        page = browser.get("/pools").text
        assert 'action="/prebuilds/logout"' in page
        assert 'href="/prebuilds/static/page.css?v=' in page
        assert "https://door.example" not in page
