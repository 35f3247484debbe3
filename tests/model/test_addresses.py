"""Hosts, addresses and paths in URLs."""

from __future__ import annotations

import pytest

from prebuild_tasks.model.addresses import host_in_url, path_in_url, plain_host


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("::1", "[::1]"), ("2001:db8::7", "[2001:db8::7]"), ("fe80::1%eth0", "[fe80::1%25eth0]"),
        ("10.0.0.7", "10.0.0.7"),
        ("box.example.com", "box.example.com"), ("odd%name", "odd%25name"),
    ],
)  # fmt: skip
def test_a_host_in_a_url(host: str, shown: str) -> None:
    assert host_in_url(host) == shown
    assert plain_host(host) == host


@pytest.mark.parametrize(("text", "host"), [("[::1]", "::1"), ("[fe80::1%25eth0]", "fe80::1%eth0"), ("", "")])
def test_brackets_are_taken_off(text: str, host: str) -> None:
    assert plain_host(text) == host


@pytest.mark.parametrize("text", ["http://box", "box:8080", "[::1]:80", "a/b", "[box]", "a b", "user@box", ":::1"])
def test_what_is_not_a_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a host name or an address"):
        plain_host(text)


def test_a_path_in_a_url() -> None:
    assert path_in_url("/a b/%41?x#ä") == "/a b/%2541%3Fx%23ä"
