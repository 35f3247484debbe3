"""The configuration of nginx in `deploy/nginx`, with Debian's nginx, as one proxy and as the second of two."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.http import free_port
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[3]
CONFIGURATION = (ROOT / "deploy/nginx/prebuild.conf").read_text()
CLIENT, OUTER = "127.0.0.77", "127.0.0.2"
pytestmark = pytest.mark.slow


@contextmanager
def nginx(place: Path, port: int, upstream: int, *, connects_from: str = "") -> Iterator[None]:
    """Run nginx with the shipped configuration on a port, in front of another."""
    place.mkdir()
    server = CONFIGURATION.replace("listen 8080", f"listen 127.0.0.1:{port}")
    server = re.sub(r"server serve:\d+", f"server 127.0.0.1:{upstream}", server)
    if connects_from:
        server = server.replace("location / {", f"location / {{ proxy_bind {connects_from};")
    (place / "nginx.conf").write_text(
        f"daemon off; pid {place}/pid; error_log stderr; worker_processes 1;\n"
        "events { worker_connections 256; }\n"
        f"http {{ access_log off; client_body_temp_path {place}/b; proxy_temp_path {place}/p; "
        f"fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;\n{server}}}\n"
    )
    command = ["nginx", "-p", str(place), "-c", str(place / "nginx.conf"), "-e", "stderr"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


@pytest.fixture
def two_hops(tmp_path: Path) -> Iterator[str]:
    """Return the address of an nginx in front of an nginx in front of the server."""
    if not shutil.which("nginx"):
        pytest.skip("needs nginx: apt-get install --no-install-recommends nginx && systemctl disable --now nginx")
    outer, inner = free_port(), free_port()
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "tests.web.serve.behind_proxy", f"http://127.0.0.1:{outer}"],
                stdout=subprocess.PIPE, text=True, cwd=ROOT,
            )
        )  # fmt: skip
        stack.callback(process.kill)
        assert process.stdout
        port = int(process.stdout.readline().strip().rpartition(":")[2])
        stack.enter_context(nginx(tmp_path / "inner", inner, port))
        stack.enter_context(nginx(tmp_path / "outer", outer, inner, connects_from=OUTER))
        url = f"http://127.0.0.1:{outer}"
        wait_until(lambda: status(f"{url}/readyz") == 200, timeout=20)
        yield url


def status(url: str) -> int:
    try:
        return httpx.get(url, trust_env=False).status_code
    except httpx.TransportError:
        return 0


def test_the_client_is_known_behind_two_proxies_and_cannot_forge_its_address(two_hops: str) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(local_address=CLIENT), base_url=two_hops) as client:
        assert client.get("/pid").json()[1] == CLIENT
        assert client.get("/pid", headers={"X-Forwarded-For": "192.0.2.9"}).json()[1] == CLIENT
        assert client.get("/pid", headers={"Host": "evil.example"}).status_code == 400
        with client.stream("GET", "/slow") as slow:
            assert slow.status_code == 200


def test_connections_are_kept_and_used_again(two_hops: str) -> None:
    with httpx.Client(base_url=two_hops, trust_env=False) as client:
        assert [client.get("/pid").status_code for _ in range(20)] == [200] * 20
