"""Each guard of the page refuses by itself: origin, form token, session, scope; and every answer has its headers."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
from starlette.responses import Response

from prebuild_tasks import clock
from prebuild_tasks.access.sessions import PageSessions
from prebuild_tasks.access.types import Scope
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import UnreachableError
from prebuild_tasks.web.api.problems import ProblemDetails
from prebuild_tasks.web.page import headers
from prebuild_tasks.web.page.kinds import Form, Page
from prebuild_tasks.web.page.render import static_files
from prebuild_tasks.web.page.routes import FORMS, PageRoute, entering
from prebuild_tasks.web.page.visit import Visit
from tests.support.api import Api
from tests.support.browser import Browser

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
FOREIGN = {
    "null": {"Origin": "null"},
    "other": {"Origin": "https://evil.example"},
    "other port": {"Origin": "http://127.0.0.1:8300"},
    "other scheme": {"Origin": "https://127.0.0.1"},
    "missing": {"Origin": ""},
    "cross-site": {"sec_fetch_site": "cross-site"},
    "same-site": {"sec_fetch_site": "same-site"},
    "of nobody": {"sec_fetch_site": "none"},
}
foreign = pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)


@foreign
def test_a_login_from_another_page_is_refused(browser: Browser, headers: dict[str, str]) -> None:
    answer = browser.post("/login", {"token": browser.api.admin}, **headers)
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (403, False)
    assert browser.cookies == {}


@foreign
@pytest.mark.parametrize("path", [form.path for form in FORMS])
def test_a_form_from_another_page_is_refused(browser: Browser, path: str, headers: dict[str, str]) -> None:
    browser.log_in()
    answer = browser.submit(path.format(template="dev", preset="small", owner="ada", name="hers"), **headers)
    assert answer.status_code == 403
    assert "comes from another page" in answer.text or "does not say from which page" in answer.text
    assert browser.is_logged_in, "nothing was done"


def test_the_own_origin_by_the_fetch_metadata_of_a_browser(browser: Browser) -> None:
    answer = browser.post("/login", {"token": browser.api.admin}, sec_fetch_site="same-origin")
    assert answer.status_code == 303


@pytest.mark.parametrize("path", [form.path for form in FORMS])
def test_a_form_needs_the_token_of_its_own_session(api: Api, path: str) -> None:
    browser, other = Browser(api).log_in(), Browser(api).log_in()
    own = browser.form_token()
    path = path.format(template="dev", preset="small", owner="ada", name="hers")
    for wrong in ("", "x", own[:-1], own[:32] + "0" * 64, other.form_token()):
        assert browser.post(path, {"form_token": wrong}).status_code == 403
    assert browser.post(path, {}).status_code == 403
    assert browser.is_logged_in, "nothing was done"


def test_the_token_of_a_form_differs_in_every_page(browser: Browser) -> None:
    browser.log_in()
    assert browser.form_token() != browser.form_token()


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda _: "pbs_" + "x" * 43,
        lambda own: own[:-1],
        lambda own: own + "x",
        lambda own: own.upper(),
        lambda own: f'"{own}"',
        lambda _: "pbt_" + "x" * 43,
    ],
)
def test_stale_and_foreign_cookies_are_nobody(browser: Browser, change: Callable[[str], str]) -> None:
    browser.log_in()
    [(name, own)] = browser.cookies.items()
    browser.cookies = {name: change(own)}
    assert browser.post("/logout", {}).status_code == 303
    browser.cookies = {name: change(own)}
    assert browser.get("/pools").status_code == 303
    assert not browser.cookies.get(name), "the browser forgets it"


def test_a_cookie_that_is_sent_twice_is_nobody(browser: Browser) -> None:
    """Of two, one may have been planted by a page of another port or path."""
    browser.log_in()
    [(name, own)] = browser.cookies.items()
    assert browser.get("/pools", Cookie=f"{name}=pbs_{'x' * 43}; {name}={own}").status_code == 303
    assert browser.get("/pools", Cookie=f"theme=dark; {name}={own}").status_code == 200


def test_a_token_is_not_a_cookie_and_a_session_is_not_a_token(api: Api, browser: Browser) -> None:
    browser.log_in()
    [(name, own)] = browser.cookies.items()
    assert Browser(api).get("/pools", Authorization=f"Bearer {api.admin}").status_code == 303
    assert Browser(api).get("/pools", Cookie=f"{name}={api.admin}").status_code == 303
    assert browser.get("/v1/pools").status_code == 401
    assert api.get("/v1/pools", own).status_code == 401


async def show(visit: Visit) -> Response:
    return visit.show("error", details=ProblemDetails(status=200, code="x", detail="done"), request_id="", again="")


@pytest.mark.parametrize(
    ("scope", "restrictions", "page"),
    [
        ("read", {}, Form(path="/form", handle=show)),
        ("claim", {}, Form(path="/form", handle=show)),
        ("operate", {"owner": "ada"}, Form(path="/form", handle=show, of_pools=True)),
        ("admin", {"organization": "acme"}, Page(path="/page", handle=show, sees_all=True)),
        ("read", {"owner": "ada"}, Page(path="/page", handle=show, sees_all=True)),
        ("read", {}, Page(path="/page", handle=show, scope=Scope.ADMIN)),
    ],
)
def test_what_a_token_may_not_do_is_refused(api: Api, scope: str, restrictions: dict[str, str], page: Page) -> None:
    route = PageRoute(api.app.state.door, page.path, {page.method: entering(api.app.state.door, page)})
    api.app.router.routes.insert(0, route)
    may_not, may = Browser(api).log_in(api.token(scope, **restrictions)), Browser(api).log_in()
    answers = [one.submit(page.path) if page.method == "POST" else one.get(page.path) for one in (may_not, may)]
    assert [answer.status_code for answer in answers] == [403, 200]
    assert "The token t2 has the scope" in answers[0].text or "This concerns everybody" in answers[0].text
    assert Browser(api).get(page.path).status_code in (303, 405)


def test_a_page_beyond_reach_is_not_in_the_navigation(api: Api) -> None:
    everything = Page(path="/everything", handle=show, title="Everything", sees_all=True)
    door = api.app.state.door
    api.app.router.routes.insert(
        0, PageRoute(door, "/x", {"GET": entering(door, Page(path="/x", handle=show), (everything,))})
    )
    assert 'href="/everything"' in Browser(api).log_in().get("/x").text
    assert 'href="/everything"' not in Browser(api).log_in(api.token("read", owner="ada")).get("/x").text


def test_the_use_of_a_session_is_noted(api: Api, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    browser.log_in()
    noted: list[str] = []
    monkeypatch.setattr(PageSessions, "note_use", lambda _, session: noted.append(session.principal.name))
    browser.get("/pools")
    assert noted == ["t1"]


@pytest.mark.parametrize(
    "path", ["/pools", "/", "/login", "/login?code=x", "/static/page.css", "/static/none", "/static/icon.svg"]
)
@pytest.mark.parametrize("is_logged_in", [True, False])
def test_every_answer_has_the_headers(browser: Browser, path: str, is_logged_in: bool) -> None:
    if is_logged_in:
        browser.log_in()
    headers = browser.get(path).headers
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == ("no-cache" if path in ("/static/page.css", "/static/icon.svg") else "no-store")


@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_addresses_of_nothing_have_the_headers_too(browser: Browser, accept: str) -> None:
    for path in ("/none", "/favicon.ico", "/robots.txt", "/pools/a/b/c"):
        answer = browser.log_in().get(path, accept=accept)
        assert answer.status_code == 404
        assert {name: answer.headers[name] for name in headers.PAGE} == headers.PAGE


def test_refusals_have_the_headers_too(browser: Browser) -> None:
    for answer in (browser.post("/login", {"token": "x"}), browser.post("/login", {}, Origin="null")):
        assert (answer.status_code, answer.headers["Content-Security-Policy"]) == (403, POLICY)
        assert answer.headers["Cache-Control"] == "no-store"


def test_an_unknown_address_is_told_as_a_page_to_browsers(browser: Browser) -> None:
    for path, accept, media_type in (
        ("/nothing", "text/html,*/*", "text/html; charset=utf-8"),
        ("/nothing", "*/*", "application/problem+json"),
        ("/v1/nothing", "text/html,*/*", "application/problem+json"),
    ):
        answer = browser.get(path, Accept=accept)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, media_type)
    page = browser.get("/nothing", Accept="text/html")
    assert "There is no such page." in page.text
    assert page.headers["Content-Security-Policy"] == POLICY


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/logout"),
        ("GET", "/sweep/confirm"),
        ("GET", "/workspaces/a/b/release"),
        ("PUT", "/pools"),
        ("OPTIONS", "/"),
    ],
)
def test_a_page_says_that_its_address_does_not_take_a_method(browser: Browser, method: str, path: str) -> None:
    answer = browser.api.call(method, browser.origin + path, "")
    assert (answer.status_code, answer.headers["Content-Type"]) == (405, "text/html; charset=utf-8")
    assert method not in answer.headers["Allow"].split(", ")
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert f"This address does not take {method}." in answer.text


def test_problems_are_not_sniffed(browser: Browser) -> None:
    for path in ("/nothing", "/v1/nothing", "/v1/pools"):
        assert browser.get(path, Accept="*/*").headers["X-Content-Type-Options"] == "nosniff"


def test_pages_have_nothing_inline_and_no_other_address(browser: Browser) -> None:
    pages = [browser.get("/login").text, browser.post("/login", {"token": "x"}).text]
    pages.append(browser.log_in().get("/pools").text)
    for page in pages:
        assert "style=" not in page
        assert "<style" not in page
        assert "onclick" not in page
        assert "<script>" not in page
        assert "://" not in page


@pytest.mark.parametrize("name", [*static_files()])
def test_a_file_under_its_own_address_is_kept_for_good(browser: Browser, name: str) -> None:
    page = browser.get("/login").text
    address = f"/static/{name}?v={static_files()[name].digest}"
    assert address in page
    assert browser.get(address).headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert browser.get(f"/static/{name}?v=other").headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("name", ["..%2Fapi%2Fapp.py", "%2Fetc%2Fpasswd", "page.css%00", "nothing.css"])
def test_no_other_file_is_served(browser: Browser, name: str) -> None:
    assert browser.get(f"/static/{name}").status_code == 404


def test_pages_are_compressed_for_who_understands_it(api: Api, browser: Browser) -> None:
    assert browser.get("/static/page.css", accept_encoding="identity").headers.get("Content-Encoding") is None
    answer = browser.get("/static/page.css", accept_encoding="gzip")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(gzip.compress(answer.content)) < len(answer.content)


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"token=x", "text/plain", 415),
        (b'{"token": "x"}', "application/json", 415),
        (b"token=x", "multipart/form-data; boundary=x", 415),
        (b"token=a&token=b", "application/x-www-form-urlencoded", 400),
        (b"token=%ff%fe", "application/x-www-form-urlencoded", 400),
        (b"a=1&" * 200, "application/x-www-form-urlencoded", 400),
        (b"token=" + b"x" * 2_000_000, "application/x-www-form-urlencoded", 413),
    ],
)
def test_what_browsers_do_not_send(api: Api, content: bytes, media_type: str, status: int) -> None:
    headers = {"Origin": "http://127.0.0.1", "Content-Type": media_type}
    answer = api.post("/login", "", headers=headers, content=content)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")


def test_a_database_that_is_away_is_told_as_a_page(
    browser: Browser, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise UnreachableError("the database is at secret.example")

    browser.log_in()
    now = clock.monotonic
    monkeypatch.setattr(clock, "monotonic", lambda: now() + 2)  # beyond what is remembered
    monkeypatch.setattr(Database, "read", away)
    answer = browser.get("/pools")
    assert (answer.status_code, "The database does not answer." in answer.text) == (503, True)
    assert "secret.example" not in answer.text
