"""The portal of docs/http.md, run by Node against a served process, with failures on the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.pages import blocks
from tests.support.service import ROOT, Service
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.thorough, pytest.mark.timeout(240)]
NODE_MIN = 18
SCRIPT = """
import { openWorkspace, closeWorkspace } from "./portal.mjs";
const first = await openWorkspace("joan", "slow/small", "click-1");
const again = await openWorkspace("joan", "slow/small", "click-1");
await closeWorkspace(first);
await closeWorkspace(first);
const refused = await openWorkspace("joan", "dev/none", "click-2").catch((error) => error);
const ended = await openWorkspace("joan", "slow/small", "click-1").catch((error) => error);
console.log(JSON.stringify({ first, again, refused: refused.status, ended: ended.code }));
"""


class Unsteady(ThreadingHTTPServer):
    """Stands before the API, and answers the first claims itself; the last of those it only loses the answer of."""

    daemon_threads = True

    def __init__(self, url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.client = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self.troubles: list[int] = [503, 429, 0]
        """Statuses with which claims are answered; 0: the connection is cut after the API has answered."""
        self.keys: list[str] = []
        """The key of each claim."""


class _Handler(BaseHTTPRequestHandler):
    server: Unsteady

    def _pass_on(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        trouble = None
        if self.path == "/v1/claims":
            self.server.keys.append(self.headers["Idempotency-Key"])
            trouble = self.server.troubles.pop(0) if self.server.troubles else None
        if trouble:
            self._answer(trouble, b"{}", {"Retry-After": "1", "Content-Type": "application/problem+json"})
            return
        headers = {name: self.headers[name] for name in ("Authorization", "Idempotency-Key", "Content-Type")
                   if name in self.headers}  # fmt: skip
        answer = self.server.client.request(self.command, self.path, content=content, headers=headers)
        if trouble == 0:
            self.close_connection = True
            return
        self._answer(answer.status_code, answer.content, answer.headers)

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def _answer(self, status: int, content: bytes, headers: Any) -> None:
        self.send_response(status)
        for name in ("Content-Type", "Retry-After", "Location"):
            if name in headers:
                self.send_header(name, headers[name])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def unsteady(url: str) -> Iterator[Unsteady]:
    server = Unsteady(url)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(60)
        server.server_close()
        server.client.close()


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    words = f"this runs the portal of docs/http.md with Node {NODE_MIN} or newer: apt-get install nodejs"
    if found is None:
        pytest.fail(f"there is no node; {words}", pytrace=False)
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    if int(version.lstrip("v").partition(".")[0]) < NODE_MIN:
        pytest.fail(f"node is {version.strip()}; {words}", pytrace=False)
    return found


def test_the_portal_gets_one_workspace_whatever_fails(node: str, up: Service, tmp_path: Path) -> None:
    """The API is away, busy, and its answer is lost: the same key gets one workspace, which is built meanwhile."""
    (tmp_path / "portal.mjs").write_text(portal())
    (tmp_path / "script.mjs").write_text(SCRIPT)
    with unsteady(f"http://127.0.0.1:{up.environment['PREBUILD_SERVE_PORT']}") as front:
        environment = {
            "PATH": os.environ["PATH"],
            "PREBUILD_API_URL": f"http://127.0.0.1:{front.server_port}",
            "PREBUILD_API_TOKEN": up.run("token", "create", "portal", "--scope", "claim", "--any-owner").strip(),
        }
        done = subprocess.run(
            [node, "script.mjs"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert front.troubles == []
        # One more try for each that takes long, as on a busy machine.
        assert [key for key, _ in groupby(front.keys)] == ["click-1", "click-2", "click-1"]
        assert len(front.keys) >= 7
    answer = json.loads(done.stdout)
    assert answer["first"]["owner"] == "joan"
    assert answer["first"]["state"] in ("usable", "personalising")
    assert answer["again"]["workspace_id"] == answer["first"]["workspace_id"]
    assert (answer["refused"], answer["ended"]) == (404, "request_ended")
    wait_until(lambda: not up.workspaces("joan"), what="its end")


def portal() -> str:
    [recipe] = blocks((ROOT / "docs/http.md").read_text(), "js")
    return recipe
