"""Requests to receivers: nothing reaches inside, and each one ends in time."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from ipaddress import ip_address

import pytest

from prebuild_tasks.webhooks.addresses import Address, AllowedReceivers
from prebuild_tasks.webhooks.addresses import Receiver as Target
from prebuild_tasks.webhooks.connector import ANSWER_MAX, TIMEOUT_S, Connector
from prebuild_tasks.webhooks.rules import IN_FLIGHT_MAX, LEASE
from prebuild_tasks.webhooks.types import ReceiverAnswer
from tests.support.http_proxy import HttpProxy
from tests.support.receiver import Handler, Receiver

NOTHING = AllowedReceivers()
LOOPBACK = AllowedReceivers.of(["127.0.0.0/8"])
NAME = "hooks.example.com"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().run() as running:
        yield running


class Names:
    """A resolver, with one list of addresses for each look-up; the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [ip_address(text) for text in answer]


def post(
    receiver: Receiver, host: str = NAME, names: Names | None = None, allowed: AllowedReceivers = LOOPBACK,
    tls: ssl.SSLContext | None = None, timeout: float = 10,
) -> ReceiverAnswer:  # fmt: skip
    connector = Connector(allowed, resolve=names, tls=tls or receiver.trusting, timeout_s=timeout)
    return connector.post(Target("https", host, receiver.server_port, "/in?x=1"), {"webhook-id": "d1"}, b"{}")


def test_a_delivery(receiver: Receiver) -> None:
    answer = post(receiver, names=Names(["127.0.0.1"]))
    assert (answer, answer.is_success) == (ReceiverAnswer(204), True)
    [request] = receiver.received
    assert (request.path, request.body) == ("/in?x=1", b"{}")
    assert request.headers["host"] == f"{NAME}:{receiver.server_port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "d1"
    assert receiver.server_names == [NAME]


INSIDE = [
    "10.0.0.1", "100.64.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1", "0.0.0.0", "127.0.0.1",
    "::1", "fe80::1", "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
    "224.0.0.1", "ff02::1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_a_name_of_an_address_inside(receiver: Receiver, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("a connection was made"))
    answer = post(receiver, names=Names([address]), allowed=NOTHING)
    assert answer.status is None
    assert answer.error == f"{NAME} has the address {ip_address(address)}, inside"
    assert not receiver.received


@pytest.mark.parametrize("addresses", [("8.8.8.8", "127.0.0.1"), ("127.0.0.1", "8.8.8.8"), ("2606:4700::1", "::1")])
def test_a_name_of_a_good_and_a_bad_address(
    receiver: Receiver, addresses: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("a connection was made"))
    assert "inside" in post(receiver, names=Names(addresses), allowed=NOTHING).error


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "017700000001", "127.1", "0x7f.0.0.1", "127.0.0.1", "::ffff:127.0.0.1",
             "::1", "localhost"],
)  # fmt: skip
def test_spellings_of_loopback_as_the_system_reads_them(receiver: Receiver, host: str) -> None:
    answer = post(receiver, host, allowed=NOTHING)
    assert answer.status is None
    assert "inside" in answer.error or "cannot be looked up" in answer.error, "some systems do not read all of them"
    assert not receiver.received


def test_a_name_that_changes_its_address_between_two_look_ups(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = []

    def refuse(address: tuple[str, int], *_: object, **__: object) -> None:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    names = Names(["8.8.8.8"], ["127.0.0.1"])
    assert post(receiver, names=names, allowed=NOTHING).status is None
    assert (names.asked, connected) == ([NAME], ["8.8.8.8"]), "it is looked up once, and the checked address is used"
    assert "inside" in post(receiver, names=names, allowed=NOTHING).error, "and again for each delivery"
    assert connected == ["8.8.8.8"]


def test_another_address_is_tried(receiver: Receiver) -> None:
    assert post(receiver, names=Names(["127.0.0.2", "127.0.0.1"])).is_success


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    with Receiver(encrypted=False).run() as inside:
        location = f"http://127.0.0.1:{inside.server_port}/secret"
        receiver.answer = lambda request: request.reply(status, location=location)
        answer = post(receiver, names=Names(["127.0.0.1"]))
        assert (answer.status, answer.is_success) == (status, False)
        assert (len(receiver.received), inside.received) == (1, [])


def test_no_proxy_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with HttpProxy().run() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_port}")
        assert post(receiver, names=Names(["127.0.0.1"])).is_success
        assert "inside" in post(receiver, names=Names(["10.0.0.1"]), allowed=NOTHING).error
    assert proxy.asked == set()


def test_a_receiver_that_does_not_answer(receiver: Receiver) -> None:
    def hang(request: Handler) -> None:
        receiver.stopping.wait(30)

    receiver.answer = hang
    began = time.monotonic()
    assert post(receiver, names=Names(["127.0.0.1"]), timeout=0.5).error == "no answer within 0.5 s"
    assert time.monotonic() - began < 5


def test_a_receiver_that_answers_one_byte_at_a_time(receiver: Receiver) -> None:
    def drip(request: Handler) -> None:
        for letter in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1000:
            request.wfile.write(bytes([letter]))
            if receiver.stopping.wait(0.05):
                return

    receiver.answer = drip
    began = time.monotonic()
    assert post(receiver, names=Names(["127.0.0.1"]), timeout=1).error == "no answer within 1 s"
    assert time.monotonic() - began < 5


def test_a_receiver_that_never_speaks_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connector = Connector(LOOPBACK, timeout_s=0.5)
        answer = connector.post(Target("https", "127.0.0.1", silent.getsockname()[1], "/"), {}, b"{}")
    assert answer.error == "no answer within 0.5 s"


def test_an_answer_without_end(receiver: Receiver) -> None:
    sent = 0

    stopped = threading.Event()

    def flood(request: Handler) -> None:
        nonlocal sent
        request.send_response(500)
        request.end_headers()
        try:
            while not receiver.stopping.is_set():
                request.wfile.write(b"no room left\n" + b"x" * 8192)
                sent += 8192
        finally:
            stopped.set()

    receiver.answer = flood
    answer = post(receiver, names=Names(["127.0.0.1"]))
    assert answer == ReceiverAnswer(500, "no room left")
    assert stopped.wait(10)
    assert sent < 100 * ANSWER_MAX, "it is read no further, so that the receiver cannot go on"


def test_headers_without_end(receiver: Receiver) -> None:
    def flood(request: Handler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not receiver.stopping.is_set():
            request.wfile.write(b"x: " + b"y" * 8192 + b"\r\n")

    receiver.answer = flood
    assert post(receiver, names=Names(["127.0.0.1"])).status is None


def test_a_body_that_stops_does_not_undo_the_status(receiver: Receiver) -> None:
    def stop(request: Handler) -> None:
        request.send_response(200)
        request.send_header("content-length", "10")
        request.end_headers()
        request.wfile.write(b"ok")
        receiver.stopping.wait(30)

    receiver.answer = stop
    assert post(receiver, names=Names(["127.0.0.1"]), timeout=1) == ReceiverAnswer(200)


def test_a_certificate_for_another_name(receiver: Receiver) -> None:
    answer = post(receiver, "other.example.com", names=Names(["127.0.0.1"]))
    assert answer.status is None
    assert answer.error.startswith("its certificate is not valid: Hostname mismatch")
    assert not receiver.received


def test_a_certificate_of_an_unknown_authority(receiver: Receiver) -> None:
    answer = post(receiver, names=Names(["127.0.0.1"]), tls=ssl.create_default_context())
    assert answer.error == "its certificate is not valid: unable to get local issuer certificate"
    assert not receiver.received


def test_nobody_listens_or_the_name_is_unknown() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = Target("https", "127.0.0.1", unused.getsockname()[1], "/")
        assert "no connection" in Connector(LOOPBACK).post(target, {}, b"{}").error

    def unknown(host: str, port: int) -> Sequence[Address]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    answer = Connector(NOTHING, resolve=unknown).post(Target("https", NAME, 443, "/"), {}, b"{}")
    assert answer == ReceiverAnswer(None, "its host cannot be looked up: Name or service not known")


def test_a_resolver_that_hangs(receiver: Receiver) -> None:
    def hang(host: str, port: int) -> Sequence[Address]:
        receiver.stopping.wait(30)
        return []

    answer = Connector(NOTHING, resolve=hang, timeout_s=0.3).post(Target("https", NAME, 443, "/"), {}, b"{}")
    assert answer.error == "no answer within 0.3 s"


def test_all_of_an_exchange_has_one_limit(receiver: Receiver) -> None:
    """A slow look-up, connection, answer and body, each within the limit, do not add up."""

    def look_up(host: str, port: int) -> Sequence[Address]:
        receiver.stopping.wait(0.6)
        return [ip_address("127.0.0.1")]

    def hang(request: Handler) -> None:
        receiver.stopping.wait(30)

    receiver.answer = hang
    began = time.monotonic()
    connector = Connector(LOOPBACK, resolve=look_up, tls=receiver.trusting, timeout_s=1)
    answer = connector.post(Target("https", NAME, receiver.server_port, "/"), {}, b"{}")
    assert answer.error == "no answer within 1 s"
    assert time.monotonic() - began < 1.5, "neither 0.6 s and 1 s, nor more"


def test_the_limits() -> None:
    assert (TIMEOUT_S, ANSWER_MAX, IN_FLIGHT_MAX) == (10, 64 * 1024, 2)
    assert timedelta(seconds=TIMEOUT_S) < LEASE, "an attempt is not taken for lost while it goes on"


def test_http_without_tls_for_what_is_allowed() -> None:
    with Receiver(encrypted=False).run() as plain:
        target = Target("http", "127.0.0.1", plain.server_port, "/")
        assert Connector(LOOPBACK).post(target, {}, b"{}").is_success
