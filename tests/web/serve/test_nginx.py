"""The configuration of nginx in `deploy/nginx`, with Debian's nginx, as the only proxy and as the first of two."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme

from prebuild_tasks.web.api.bodies import READ_MAX
from prebuild_tasks.web.api.problems import MEDIA_TYPE
from tests.support.http import answer, free_port
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[3]
CONFIGURATION = (ROOT / "deploy/nginx/prebuild.conf").read_text()
CLIENT, OUTER = "127.0.0.77", "127.0.0.2"
PROGRAM = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
USER = "user root;\n" if os.geteuid() == 0 else ""  # another could not write below the test's directory
FORGED = {"X-Forwarded-For": "192.0.2.9", "X-Forwarded-Proto": "https"}
pytestmark = pytest.mark.nginx


@contextmanager
def nginx(place: Path, port: int, upstream: int, change: Callable[[str], str] = lambda text: text) -> Iterator[None]:
    """Run nginx with the shipped configuration on a port, in front of another."""
    if not PROGRAM:
        pytest.fail("needs nginx: apt-get install --no-install-recommends nginx && systemctl disable --now nginx")
    place.mkdir()
    server = CONFIGURATION.replace("listen 8080", f"listen 127.0.0.1:{port}")
    server = change(re.sub(r"server serve:\d+", f"server 127.0.0.1:{upstream}", server))
    (place / "nginx.conf").write_text(
        f"daemon off; pid {place}/pid; error_log stderr; worker_processes 1;\n{USER}"
        "events { worker_connections 256; }\n"
        f"http {{ access_log off; client_body_temp_path {place}/b; proxy_temp_path {place}/p; "
        f"fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;\n"
        f"types {{ text/html html; }}\n{server}}}\n"
    )
    command = [PROGRAM, "-p", str(place), "-c", str(place / "nginx.conf"), "-e", "stderr"]
    with (place / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            yield
        finally:
            process.terminate()


def from_outer(text: str) -> str:
    """Let nginx connect from the address of the outer proxy."""
    return text.replace("location / {", f"location / {{ proxy_bind {OUTER};")


def behind_outer(text: str) -> str:
    """Change the configuration as its comment says, for one that another proxy stands in front of."""
    text = text.replace("X-Forwarded-For $remote_addr", "X-Forwarded-For $proxy_add_x_forwarded_for")
    return text.replace("X-Forwarded-Proto $scheme", "X-Forwarded-Proto $http_x_forwarded_proto")


@dataclass(frozen=True, slots=True)
class Site:
    """A server behind its proxies."""

    url: str
    port: int
    server: subprocess.Popen[str]


@contextmanager
def site(place: Path, hops: int) -> Iterator[Site]:
    outer, inner = free_port(), free_port()
    with ExitStack() as stack:
        server = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "tests.web.serve.behind_proxy", f"http://127.0.0.1:{outer}"],
                stdout=subprocess.PIPE, text=True, cwd=ROOT,
            )
        )  # fmt: skip
        stack.callback(server.kill)
        assert server.stdout
        port = int(server.stdout.readline().strip().rpartition(":")[2])
        if hops == 2:
            stack.enter_context(nginx(place / "inner", inner, port, behind_outer))
            stack.enter_context(nginx(place / "outer", outer, inner, from_outer))
        else:
            stack.enter_context(nginx(place / "only", outer, port))
        url = f"http://127.0.0.1:{outer}"
        wait_until(lambda: answer(f"{url}/readyz") == 200, timeout=20)
        yield Site(url, outer, server)


@pytest.fixture(params=[1, 2])
def behind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """Return a server behind one nginx, and behind two."""
    with site(tmp_path, request.param) as made:
        yield made


@pytest.fixture
def one_hop(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, 1) as made:
        yield made


@pytest.mark.parametrize("address", ["127.0.0.1", OUTER, CLIENT])
def test_the_client_is_known_and_cannot_forge_its_address(behind: Site, address: str) -> None:
    """What a client on a trusted network wrote was believed: from the host, all of compose's clients are on one."""
    with httpx.Client(transport=httpx.HTTPTransport(local_address=address), base_url=behind.url) as client:
        assert client.get("/pid").json()[1] == address
        assert client.get("/pid", headers=FORGED).json()[1] == address
        assert client.get("/pid", headers={"Host": "evil.example"}).status_code == 400
        with client.stream("GET", "/slow") as slow:
            assert slow.status_code == 200


def test_connections_are_kept_and_used_again(behind: Site) -> None:
    with httpx.Client(base_url=behind.url, trust_env=False) as client:
        assert [client.get("/pid").status_code for _ in range(20)] == [200] * 20


def raw(port: int, request: bytes, rest: bytes = b"") -> httpx.Response:
    """Send bytes, and more once the answer begins. Return the answer that ends with the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        received = connection.recv(1)
        for _ in range(20):
            connection.sendall(rest)
        while piece := connection.recv(65_536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    headers = [(line.partition(": ")[0], line.partition(": ")[2]) for line in lines]
    return httpx.Response(int(first.split()[1]), headers=headers, content=body)


def check(answered: httpx.Response, status: int, code: str) -> None:
    assert (answered.status_code, answered.headers["Content-Type"]) == (status, MEDIA_TYPE), answered.text
    body = answered.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"] == f"/docs#{code.replace('_', '-')}"
    assert answered.headers["X-Request-ID"] == body["request_id"] != ""
    assert {"title", "detail", "hint", "remedy"} <= body.keys()


def test_bodies_that_are_too_large_are_refused_with_a_problem(behind: Site) -> None:
    """Over 16 MiB, nginx answered with a page of its own."""
    with httpx.Client(base_url=behind.url, trust_env=False, timeout=60) as client:
        check(client.post("/v1/claims", content=bytes(READ_MAX + 1)), 413, "too_large")
        pieces = (bytes(1024**2) for _ in range(17))
        check(client.post("/index.html", content=pieces), 413, "too_large")
        assert client.post("/v1/claims", content=bytes(READ_MAX)).text == "ok", "which the server answers"


def test_what_nginx_does_not_take_is_refused_with_a_problem(one_hop: Site) -> None:
    host = f"Host: 127.0.0.1:{one_hop.port}\r\nConnection: close\r\n".encode()
    check(raw(one_hop.port, b"nonsense\r\n\r\n"), 400, "malformed_request")
    check(raw(one_hop.port, b"TRACE / HTTP/1.1\r\n" + host + b"\r\n"), 405, "method_not_allowed")
    check(raw(one_hop.port, b"GET /.problem HTTP/1.1\r\n" + host + b"\r\n"), 404, "not_found")
    check(raw(one_hop.port, b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n"), 431, "head_too_large")
    check(raw(one_hop.port, b"GET / HTTP/1.1\r\nX-A: " + b"a" * 70_000 + b"\r\n"), 431, "head_too_large")
    check(raw(one_hop.port, b"POST / HTTP/1.1\r\nTransfer-Encoding: x\r\n" + host + b"\r\n"), 501, "malformed_request")
    check(raw(one_hop.port, b"GET / HTTP/3.1\r\n" + host + b"\r\n"), 505, "malformed_request")


@pytest.mark.parametrize("first", [b"TRACE / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nX-A: " + b"a" * 70_000])
def test_who_still_sends_reads_the_refusal(one_hop: Site, first: bytes) -> None:
    """nginx closed the connection, which was then reset, if it had read all that had arrived."""
    assert raw(one_hop.port, first, rest=b"a" * 65_536).status_code in (400, 431)


def test_plain_http_on_a_port_for_tls_is_refused_with_a_problem(tmp_path: Path) -> None:
    certificate, port = tmp_path / "both.pem", free_port()
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    files = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};"
    with nginx(
        tmp_path / "only", port, free_port(), lambda text: re.sub(r"(listen [\d.:]+);", rf"\1 ssl; {files}", text)
    ):
        url = f"http://127.0.0.1:{port}/v1/pools"
        wait_until(lambda: answer(url), timeout=20)
        check(httpx.get(url, trust_env=False), 400, "malformed_request")


def test_a_server_that_is_away_is_a_problem(one_hop: Site) -> None:
    one_hop.server.kill()
    one_hop.server.wait()
    answered = httpx.get(f"{one_hop.url}/v1/pools", trust_env=False)
    check(answered, 502, "server_away")
    assert answered.headers["Retry-After"] == "5"
