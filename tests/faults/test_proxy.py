"""The proxy of the fault table loses what a power failure loses, and no more: row 17 failed for both."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.proxy import Proxy

RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        server.settimeout(30)
        yield server


@pytest.fixture
def proxy(server: socket.socket) -> Iterator[Proxy]:
    with Proxy(Path(server.getsockname())).run() as proxy:
        yield proxy


def connected(proxy: Proxy, timeout: float = 30, port: int = 0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout, ("127.0.0.1", port))


def accepted(server: socket.socket) -> socket.socket:
    connection, _ = server.accept()
    connection.settimeout(30)
    return connection


def test_who_connects_to_what_is_away_does_not_reach_the_server(server: socket.socket, proxy: Proxy) -> None:
    """PostgreSQL, while it shut down, waited a minute for the first words of those who had just connected."""
    with connected(proxy), accepted(server) as silent, connected(proxy) as talks, accepted(server) as answers:
        talks.sendall(b"request")
        assert answers.recv(9) == b"request"
        answers.sendall(b"answer")
        assert talks.recv(9) == b"answer"
        proxy.hang()
        assert silent.recv(1) == b"", "nothing was said on it yet"
        with connected(proxy) as late:
            late.sendall(bytes(1 << 25))  # more than fits into buffers, so that it has been accepted
            proxy.heal()
            with connected(proxy) as healed, accepted(server) as first:
                healed.sendall(b"healed")
                assert first.recv(9) == b"healed"
        answers.setblocking(False)
        with pytest.raises(BlockingIOError):
            answers.recv(1)


def test_what_vanished_frees_the_ports_of_its_clients_once_it_is_forgotten(server: socket.socket, proxy: Proxy) -> None:
    """After some 3,000 connections, new ones came from the same ports and got no answer for good."""
    with connected(proxy) as client, accepted(server):
        port = client.getsockname()[1]
        proxy.vanish()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    proxy.reappear()
    with pytest.raises(TimeoutError):
        connected(proxy, 0.2, port)
    proxy.forget()
    connected(proxy, port=port).close()


def test_a_dead_connection_that_its_client_has_closed_may_vanish(server: socket.socket, proxy: Proxy) -> None:
    with connected(proxy) as client, accepted(server) as answers:
        answers.sendall(b"answer")
        assert client.recv(9) == b"answer"
        proxy.hang()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        proxy.vanish()
        proxy.forget()
