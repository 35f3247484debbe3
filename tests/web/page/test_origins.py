"""Which origins are the page's own, and which paths lead nowhere else."""

from __future__ import annotations

import pytest

from prebuild_tasks.web.page.origins import is_secure, local_path, origin_of, origin_refusal, own_origin


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://door.example", ("https", "door.example", 443)),
        ("https://door.example:443", ("https", "door.example", 443)),
        ("http://[::1]:8300", ("http", "::1", 8300)),
        ("https://DOOR.example", ("https", "door.example", 443)),
        ("null", None), ("", None), ("https://", None), ("https://door.example/", None),
        ("https://door.example/x", None),
        ("https://ada@door.example", None), ("ftp://door.example", None), ("https://door.example:x", None),
        ("https://door.example:99999", None), ("https://[door", None), ("//door.example", None),
        ("https://door.example?x", None), ("https://door.example#x", None), (" https://door.example", None),
    ],
)  # fmt: skip
def test_origins(text: str, origin: tuple[str, str, int] | None) -> None:
    assert origin_of(text) == origin


def test_the_own_origin_is_that_of_the_public_url_or_else_of_the_request() -> None:
    assert own_origin("", "http", "127.0.0.1:8300") == ("http", "127.0.0.1", 8300)
    assert own_origin("https://door.example/prebuilds", "http", "127.0.0.1:8300") == ("https", "door.example", 443)
    assert own_origin("", "http", "") is None


OWN = ("https", "door.example", 443)


@pytest.mark.parametrize(
    ("origins", "site", "refused"),
    [
        (["https://door.example"], None, False),
        (["https://door.example"], "same-origin", False),
        (["https://door.example"], "same-site", True),
        (["https://door.example"], "cross-site", True),
        (["https://door.example"], "none", True),
        (["http://door.example"], None, True),
        (["https://door.example:8443"], None, True),
        (["https://door.example.evil.example"], None, True),
        (["null"], None, True),
        ([""], None, True),
        ([], None, True),
        (["https://door.example", "https://evil.example"], None, True),
    ],
)
def test_forms_of_other_pages_are_refused(origins: list[str], site: str | None, refused: bool) -> None:
    headers = {} if site is None else {"sec-fetch-site": site}
    assert bool(origin_refusal(headers, origins, OWN)) is refused
    assert origin_refusal(headers, origins, None)


@pytest.mark.parametrize(
    "text", ["/", "/pools", "/pools/dev/small?q=a%20b&x=1", "/history?who=token%3Aada", "/@x", "/%2F/x"]
)
def test_local_paths(text: str) -> None:
    assert local_path(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "pools", "//evil.example", "///evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example",
     "/pools\\x", "/\t/evil.example", "/\n/evil.example", "javascript:alert(1)",
     "/pools\r\nSet-Cookie: a=b", "/\u202epools",
     "/\x00", " /pools", "/" + "x" * 2000],
)  # fmt: skip
def test_what_could_lead_away(text: str) -> None:
    assert local_path(text) == "/pools"


def test_tls_ends_here_or_before() -> None:
    assert is_secure("https://door.example", "http")
    assert is_secure("", "https")
    assert is_secure("http://door.example", "https")
    assert not is_secure("", "http")
    assert not is_secure("http://door.example", "http")
