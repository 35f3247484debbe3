"""Which addresses and URLs webhooks may reach."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebuild_tasks.config import load_settings
from prebuild_tasks.errors import InputError
from prebuild_tasks.webhooks.addresses import AllowedReceivers, Receiver, is_outside, may_reach, parse_receiver

NOTHING = AllowedReceivers()
INSIDE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "100.64.0.1", "169.254.169.254", "172.31.255.255",
    "192.0.0.192", "192.168.1.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16",
    "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "100.100.100.200",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1", "fe80::1", "fe80::1%eth0",
    "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "100::1", "5f00::1",
    "2001::1", "2001:db8::1", "2001:20::1", "3fff::1",
    "2002:7f00:1::", "2002:a00:1::", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8",
]  # fmt: skip
OUTSIDE = ["8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"]


@pytest.mark.parametrize("text", INSIDE)
def test_inside(text: str) -> None:
    assert not is_outside(ip_address(text))
    assert not may_reach("hooks.example.com", ip_address(text), NOTHING)


@pytest.mark.parametrize("text", OUTSIDE)
def test_outside(text: str) -> None:
    assert is_outside(ip_address(text))
    assert may_reach("hooks.example.com", ip_address(text), NOTHING)


@given(st.ip_addresses())
def test_an_address_outside_is_global_to_python_too(address: IPv4Address | IPv6Address) -> None:
    assert address.is_global or not is_outside(address)
    assert not (address.is_multicast and is_outside(address))


@given(st.ip_addresses(v=4), st.sampled_from([0, 0xFFFF << 32, 0x64FF9B << 96, 0xFFFF0000 << 32]))
def test_an_address_with_one_of_ipv4_in_it_is_inside(address: IPv4Address, start: int) -> None:
    assert not is_outside(IPv6Address(start | int(address)))
    assert not is_outside(IPv6Address(0x2002 << 112 | int(address) << 80))


def test_what_an_operator_allows() -> None:
    allowed = AllowedReceivers.of(["10.1.0.0/16", "fd00::/8", "CI.example.com", "192.168.7.7"])
    assert may_reach("any", ip_address("10.1.2.3"), allowed)
    assert may_reach("any", ip_address("fd00::5"), allowed)
    assert may_reach("any", ip_address("192.168.7.7"), allowed)
    assert may_reach("ci.example.com", ip_address("127.0.0.1"), allowed)
    assert not may_reach("any", ip_address("10.2.0.1"), allowed)
    assert not may_reach("any", ip_address("::ffff:10.1.2.3"), allowed)
    assert not may_reach("other.example.com", ip_address("127.0.0.1"), allowed)


@pytest.mark.parametrize(
    ("url", "receiver"),
    [
        ("https://hooks.example.com", Receiver("https", "hooks.example.com", 443, "/")),
        ("HTTPS://Hooks.Example.COM:8443/a/b?c=%20[d]", Receiver("https", "hooks.example.com", 8443, "/a/b?c=%20[d]")),
        ("https://hooks.example.com?a=b@c:d/e", Receiver("https", "hooks.example.com", 443, "/?a=b@c:d/e")),
        ("https://8.8.8.8/x", Receiver("https", "8.8.8.8", 443, "/x")),
        ("https://[2606:4700:0::1111]:444/", Receiver("https", "2606:4700::1111", 444, "/")),
        ("https://under_score.example.com/", Receiver("https", "under_score.example.com", 443, "/")),
    ],
)
def test_a_url(url: str, receiver: Receiver) -> None:
    assert parse_receiver(url, NOTHING) == receiver
    assert parse_receiver(str(receiver), NOTHING) == receiver


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://hooks.example.com/", "begins with https://"),
        ("https://user@hooks.example.com/", "no user and no password"),
        ("https://user:secret@hooks.example.com/", "no user and no password"),
        ("https://hooks.example.com@127.0.0.1/", "no user and no password"),
        ("https://127.0.0.1/", "is an address inside"), ("https://169.254.169.254/latest", "is an address inside"),
        ("https://[::1]/", "is an address inside"), ("https://[::ffff:127.0.0.1]/", "is an address inside"),
        ("https://[64:ff9b::7f00:1]/", "is an address inside"),
        ("https://2130706433/", "not a host name"), ("https://0x7f000001/", "not a host name"),
        ("https://0x7f.0.0.1/", "not a host name"), ("https://0177.0.0.1/", "not a host name"),
        ("https://127.1/", "not a host name"), ("https://hooks.0x1/", "not a host name"),
        ("https://hooks.example.com./", "not a host name"), ("https://a..b/", "not a host name"),
        ("https://-a.example.com/", "not a host name"), (f"https://{'a' * 64}.com/", "not a host name"),
        ("https://hooks.example.com:0/", "not a port"), ("https://hooks.example.com:65536/", "not a port"),
        ("https://[hooks]/", "not the URL"), ("https://[1:2]/", "not an address of IPv6"),
        ("https://hooks.example.com/#part", "not the URL"), ("ftp://hooks.example.com/", "not the URL"),
        ("https://hooks.example.com\\@127.0.0.1/", "no user and no password"),
        ("https://hooks.example.com\\/x", "not the URL"), ("https://hooks.example.com/a b", "not the URL"),
        ("https://hooks.example.com/\r\nx: y", "not the URL"), ("https://hooks.example.com\n", "not the URL"),
        ("https://h\u00f6oks.example.com/", "not the URL"), ("https://\u2488.example.com/", "not the URL"),
        ("https://hooks.example.com/\u212a", "not the URL"), ("//hooks.example.com/", "not the URL"),
        ("https:///path", "not the URL"), ("https://%31%32/", "not the URL"), ("", "not the URL"),
        (f"https://hooks.example.com/{'a' * 2000}", "not the URL"),
    ],
)  # fmt: skip
def test_a_url_to_which_nothing_is_sent(url: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parse_receiver(url, NOTHING)


@pytest.mark.parametrize(
    "url",
    [
        "https://user:secret@hooks.example.com/#part", "https://user:secret@hooks.example.com/a b",
        "ftp://user:secret@hooks.example.com/", "user:secret@hooks.example.com", "https://u :secret@@hooks.example.com",
        f"https://user:secret@hooks.example.com/{'a' * 2000}", "https://user:s@secret#@hooks.example.com/",
    ],
)  # fmt: skip
def test_an_error_repeats_no_password(url: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_receiver(url, NOTHING)
    assert "secret" not in f"{refused.value.message} {refused.value.hint}"


def test_http_is_for_what_is_allowed() -> None:
    allowed = AllowedReceivers.of(["10.1.0.0/16", "ci.example.com"])
    assert parse_receiver("http://ci.example.com/", allowed) == Receiver("http", "ci.example.com", 80, "/")
    assert parse_receiver("http://10.1.2.3:8080/", allowed).authority == "10.1.2.3:8080"
    assert parse_receiver("https://10.1.2.3/", allowed).authority == "10.1.2.3"
    for url in ("http://hooks.example.com/", "http://8.8.8.8/", "http://10.2.0.1/"):
        with pytest.raises(InputError):
            parse_receiver(url, allowed)


def test_the_setting() -> None:
    settings = load_settings({"PREBUILD_WEBHOOK_ALLOW": "10.1.0.0/16, CI.Example.com,::1"})
    assert settings.webhook_allow == ("10.1.0.0/16", "ci.example.com", "::1/128")
    assert AllowedReceivers.of(settings.webhook_allow).networks[0] == IPv4Network("10.1.0.0/16")
    assert load_settings({}).webhook_allow == ()


@pytest.mark.parametrize("value", ["10.1.2.3/16", "*.example.com", "https://ci.example.com", "ci:80", "0x7f.1", "1.2"])
def test_a_setting_that_allows_nothing_is_refused(value: str) -> None:
    with pytest.raises(InputError, match=r"PREBUILD_WEBHOOK_ALLOW.*is not a network"):
        load_settings({"PREBUILD_WEBHOOK_ALLOW": value})
