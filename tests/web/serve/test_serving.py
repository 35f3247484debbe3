"""The server's processes: how they start, count, and end."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import trustme

from tests.support.http import NO_TLS
from tests.support.wait import wait_until

STUB = Path(__file__).with_name("stub_door.py")
POST = b"POST /ok HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
pytestmark = pytest.mark.slow


@contextmanager
def served(
    workers: int = 1, keep_alive: float = 75, *tls: str, nofile: int = 0, slow: float = 0
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    limited = ["prlimit", f"--nofile={nofile}:4096"] if nofile else []
    with subprocess.Popen(
        [*limited, sys.executable, "-m", "tests.web.serve.stub_door", str(workers), str(keep_alive), *tls],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=STUB.parents[3],
        env={**os.environ, "SLOW_START": str(slow)},
    ) as process:  # fmt: skip
        try:
            assert process.stdout
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def is_ready(url: str) -> bool:
    return httpx.get(f"{url}/readyz", trust_env=False, verify=NO_TLS).status_code == 200


def pids(url: str, *, number: int) -> set[int]:
    """Return the processes that answer, once there are so many."""
    found: set[int] = set()

    def enough() -> bool:
        for _ in range(20):
            with httpx.Client(trust_env=False, timeout=60, verify=NO_TLS) as new:
                found.add(new.get(f"{url}/pid").json()[0])
        return len(found) >= number

    wait_until(enough, what=f"answers of {number} processes")
    return found


def test_a_process_that_stops_says_so_first_and_ends_waits() -> None:
    with served() as (url, process), httpx.Client(base_url=url, timeout=20, trust_env=False, verify=NO_TLS) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        with ThreadPoolExecutor() as pool:
            waits = [pool.submit(client.get, "/wait") for _ in range(5)]
            wait_until(lambda: len(psutil.Process(process.pid).net_connections()) >= 6)
            began = time.monotonic()
            process.terminate()
            assert [wait.result().status_code for wait in waits] == [202] * 5
            answers = [client.get("/readyz"), client.get("/slow")]
        assert [answer.status_code for answer in answers] == [503, 200]
        assert {answer.headers["connection"] for answer in answers} == {"close"}
        assert process.wait(10) == 0
        assert time.monotonic() - began < 10
        assert process.stderr
        lines = [json.loads(line) for line in process.stderr.read().splitlines()]
        assert [line["event"] for line in lines].count("stopping") == 1


def test_a_second_signal_ends_it_at_once() -> None:
    with served() as (url, process):
        wait_until(lambda: is_ready(url))
        process.send_signal(signal.SIGINT)
        wait_until(lambda: not is_ready(url))
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(10)
        assert time.monotonic() - began < 1.5


def test_processes_that_start_slowly_serve_and_end_when_their_parent_is_killed() -> None:
    with served(2, slow=6) as (url, process):
        children = pids(url, number=2)
        began = [psutil.Process(child).create_time() for child in children]
        assert max(began) - min(began) < 5, "neither was taken for one that hangs, and replaced"
        process.kill()
        wait_until(lambda: not any(psutil.pid_exists(pid) for pid in children), timeout=15)


@pytest.mark.parametrize("with_tls", [False, True])
def test_who_still_sends_reads_the_answer(tmp_path: Path, with_tls: bool) -> None:
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    tls = [str(tmp_path / "cert.pem")] * 2 if with_tls else []
    with served(1, 75, *tls) as (url, _):
        for head, status in (b"nonsense\r\n\r\n", 400), (POST + b"Content-Length: 3000000\r\n\r\n", 200):
            with ExitStack() as stack:
                address = ("127.0.0.1", urlsplit(url).port or 0)
                connection = stack.enter_context(socket.create_connection(address, timeout=20))
                if with_tls:
                    connection = stack.enter_context(context.wrap_socket(connection, server_hostname="127.0.0.1"))
                answer = HTTPResponse(connection)
                connection.sendall(head)
                answer.begin()
                for _ in range(20):
                    connection.sendall(b"a" * 65_536)
                assert (answer.status, bool(answer.read())) == (status, True)


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with served(1, 75, str(tmp_path / "cert.pem"), str(tmp_path / "cert.pem")) as (url, _):
        assert url.startswith("https://127.0.0.1:")
        assert httpx.get(f"{url}/readyz", verify=context, trust_env=False).status_code == 200


def test_the_soft_limit_of_open_files_is_raised() -> None:
    with served(nofile=256) as (url, process):
        wait_until(lambda: is_ready(url))
        assert psutil.Process(process.pid).rlimit(psutil.RLIMIT_NOFILE) == (4096, 4096)
