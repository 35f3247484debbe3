"""Idle connections of clients are kept for as long as `--keep-alive` says, by default for 75 s."""

from __future__ import annotations

import socket
import time
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from prebuild_tasks.config import Settings
from prebuild_tasks.web.serve.options import ServeOptions
from prebuild_tasks.web.serve.run import ServerConfig
from prebuild_tasks.web.serve.served import make_served
from tests.support.door import doors

ASKED = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
SHORT = 1


@pytest.mark.parametrize(("options", "seconds"), [({}, 75), ({"keep_alive": 90.0}, 90), ({"keep_alive": 0.4}, 1)])
def test_seconds(options: dict[str, float], seconds: int) -> None:
    """Less than half a second used to be none at all: every connection was closed after its first answer."""
    assert ServerConfig(Settings(), ServeOptions(**options), make_served).timeout_keep_alive == seconds  # type: ignore[arg-type]


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_connections_of_a_served_process(tmp_path: Path, postgres_url: str) -> None:
    with doors(tmp_path, postgres_url) as service:
        urls = service.serve()[0], service.serve("--keep-alive", f"{SHORT}s")[0]
        kept, closed = (socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), 60) for url in urls)
        with kept, closed:
            for connection in (kept, closed):
                connection.sendall(ASKED)
                read_answer(connection)
            began = time.monotonic()
            assert closed.recv(1) == b"", "closed once it was idle for that long"
            assert time.monotonic() - began > SHORT / 2
            kept.sendall(ASKED)
            read_answer(kept)  # it was idle for longer


def read_answer(connection: socket.socket) -> None:
    """Read an answer to its end, and not the end of the connection."""
    answer = HTTPResponse(connection)
    answer.begin()
    assert (answer.status, answer.read()) == (200, b"ok")
