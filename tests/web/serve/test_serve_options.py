"""Which options of `prebuild serve` are refused, and for which hosts it answers."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from prebuild_tasks.errors import InputError
from prebuild_tasks.web.serve.options import ServeOptions, allows_host, check_options, listening_url, proxy_networks

PROXIES = (ip_network("10.0.0.0/24"),)
HERE = Path(__file__)
TLS = ServeOptions(tls_cert=HERE, tls_key=HERE)


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (ServeOptions(), ""),
        (ServeOptions(bind="::1"), ""),
        (ServeOptions(bind="localhost"), ""),
        (ServeOptions(bind="127.8.9.1"), ""),
        (ServeOptions(bind="0.0.0.0"), "in the clear"),
        (ServeOptions(bind="::"), "in the clear"),
        (ServeOptions(bind="192.0.2.1"), "in the clear"),
        (ServeOptions(bind="db.example"), "in the clear"),
        (ServeOptions(drain=5), "too long to drain"),
        (ServeOptions(bind="http://x"), "not a host name"),
        (replace(TLS, bind="0.0.0.0"), ""),
        (ServeOptions(tls_cert=HERE), "needs its key"),
        (ServeOptions(tls_key=HERE), "needs its key"),
        (ServeOptions(tls_cert=HERE, tls_key=Path("/none")), "no file /none"),
        (ServeOptions(bind="0.0.0.0", behind_proxy=True), "addresses are those of proxies"),
        (ServeOptions(bind="0.0.0.0", behind_proxy=True, trusted_proxies=PROXIES), ""),
        (ServeOptions(behind_proxy=True), "addresses are those of proxies"),
        (ServeOptions(trusted_proxies=PROXIES), "no effect unless"),
        (ServeOptions(public_url="https://prebuilds.example"), ""),
        (ServeOptions(public_url="http://127.0.0.1:8080/prebuilds/"), ""),
        (ServeOptions(public_url="prebuilds.example"), "PREBUILD_PUBLIC_URL"),
        (ServeOptions(public_url="ftp://prebuilds.example"), "PREBUILD_PUBLIC_URL"),
        (ServeOptions(public_url="https://"), "PREBUILD_PUBLIC_URL"),
        (ServeOptions(public_url="https://a.example:x"), "PREBUILD_PUBLIC_URL"),
        (ServeOptions(public_url="https://a.example/?x=1"), "PREBUILD_PUBLIC_URL"),
        (ServeOptions(public_url="https://user@a.example"), "PREBUILD_PUBLIC_URL"),
        (ServeOptions(public_url="https://a.example/door\r\nX: y"), "PREBUILD_PUBLIC_URL"),
        (ServeOptions(public_url="https://a.example/a b"), "PREBUILD_PUBLIC_URL"),
        (ServeOptions(public_url="https://a.example/tür"), "PREBUILD_PUBLIC_URL"),
    ],
)
def test_what_is_refused(options: ServeOptions, refused: str) -> None:
    if not refused:
        check_options(options)
        return
    with pytest.raises(InputError) as raised:
        check_options(options)
    assert refused in raised.value.message


def test_a_public_name_is_checked_in_the_form_that_requests_have() -> None:
    """Every request for a name with other letters than ASCII used to be refused."""
    checked = check_options(ServeOptions(public_url="https://tür.example:8443/door/"))
    assert checked.public_url == "https://xn--tr-xka.example:8443/door"
    assert allows_host(checked, "xn--tr-xka.example:8443")


def test_canonical_forms() -> None:
    checked = check_options(ServeOptions(bind="[::1]", public_url="https://a.example/door/"))
    assert (checked.bind, checked.public_url) == ("::1", "https://a.example/door")
    assert listening_url(checked, 81) == "http://[::1]:81"
    assert listening_url(TLS, 81) == "https://127.0.0.1:81"


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["10.0.0.0/24"], ["10.0.0.0/24"]),
        (["10.0.0.0/24, 192.0.2.7", "2001:db8::/64"], ["10.0.0.0/24", "192.0.2.7/32", "2001:db8::/64"]),
        ([""], []),
        (["*"], None),
        (["0.0.0.0/0"], None),
        (["::/0"], None),
        (["0.0.0.0/1,128.0.0.0/1"], None),
        (["::/1", "10.0.0.0/8", "c000::/2", "8000::/2"], None),
        (["0.0.0.0/1", "8000::/1"], ["0.0.0.0/1", "8000::/1"]),
        (["10.0.0.1/24"], None),
        (["proxy.example"], None),
    ],
)
def test_trusted_proxies_are_networks(texts: list[str], found: list[str] | None) -> None:
    if found is None:
        with pytest.raises(InputError, match="trusted proxies"):
            proxy_networks(texts)
    else:
        assert [str(network) for network in proxy_networks(texts)] == found


PUBLIC = ServeOptions(public_url="https://Prebuilds.example")
PORT = ServeOptions(public_url="http://prebuilds.example:8080/door")


@pytest.mark.parametrize(
    ("options", "header", "allowed"),
    [
        (ServeOptions(), "127.0.0.1:8300", True),
        (ServeOptions(), "localhost:1", True),
        (ServeOptions(), "LOCALHOST", True),
        (ServeOptions(), "[::1]:8300", True),
        (ServeOptions(), "evil.example", False),
        (ServeOptions(), "localhost.evil.example", False),
        (ServeOptions(), "", False),
        (ServeOptions(), "localhost:x", False),
        (ServeOptions(), "evil.example@localhost", False),
        (ServeOptions(), "localhost/x", False),
        (replace(TLS, bind="192.0.2.1"), "192.0.2.1:8300", True),
        (replace(TLS, bind="192.0.2.1"), "192.0.2.2:8300", False),
        (replace(TLS, bind="2001:db8::1"), "[2001:db8::1]:8300", True),
        (PUBLIC, "prebuilds.example", True),
        (PUBLIC, "PREBUILDS.example.", True),
        (PUBLIC, "prebuilds.example:443", True),
        (PUBLIC, "prebuilds.example:8443", False),
        (PUBLIC, "localhost", False),
        (PORT, "prebuilds.example:8080", True),
        (PORT, "prebuilds.example", False),
    ],
)
def test_hosts(options: ServeOptions, header: str, *, allowed: bool) -> None:
    assert allows_host(options, header) is allowed
