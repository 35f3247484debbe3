"""Two serving processes are replaced one after another under load, and no claim fails."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.remote.logins import Login
from prebuild_tasks.remote.session import RemoteSession
from tests.support.balancer import Balancer
from tests.support.door import FULL, NONE, doors, portal, word
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.thorough, pytest.mark.timeout(120)]
STOCK = 200


class Claimers:
    """Clients that claim through the balancer, again and again, each time with a key of its own."""

    def __init__(self, url: str, token: str, number: int) -> None:
        self.given: list[str] = []
        self.failed: list[str] = []
        self._session, self._over = RemoteSession(Login(url, token)), threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.2) and len(self.given) < STOCK - 10:
            request = ClaimRequest(f"o-{uuid.uuid4().hex[:8]}", [FULL], request_id=str(uuid.uuid4()))
            try:
                self.given.append(self._session.claim(request).answer.workspace_id)
            except PrebuildError as error:
                self.failed.append(repr(error))

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
        self._session.close()


def waiting(url: str, token: str) -> httpx.Response:
    """Claim from a pool that has nothing, and wait."""
    with portal(url, token) as client:
        body = {"presets": [NONE], "owner": f"w-{uuid.uuid4().hex[:8]}", "wait": 50}
        return client.post("/v1/claims", json=body)


def reserved(url: str, token: str) -> int:
    """Return how many workspaces are being built for those who wait, or have waited."""
    with portal(url, token) as client:
        return len(client.get("/v1/workspaces", params={"preset": NONE}).json()["items"])


def test_no_claim_fails_while_processes_are_replaced(tmp_path: Path, postgres_url: str) -> None:
    with doors(tmp_path, postgres_url) as service:
        service.stock(STOCK)
        token = service.token()
        running = [service.serve("--drain", "1s") for _ in range(2)]
        ports = [int(url.rpartition(":")[2]) for url, _ in running]
        with Balancer(ports).run() as balancer, ThreadPoolExecutor() as pool:
            wait_until(lambda: len(balancer.ready) == 2, what="both processes")
            claimers = Claimers(balancer.url, token, 4)
            for number, ((url, process), port) in enumerate(zip(running, ports, strict=True), start=1):
                waits = [pool.submit(waiting, url, token) for _ in range(3)]
                wait_until(lambda number=number, url=url: reserved(url, token) == 3 * number, what="who waits")  # type: ignore[misc]
                began = time.monotonic()
                process.send_signal(signal.SIGTERM)
                assert [each.result(10).status_code for each in waits] == [202] * 3
                assert word(url) in ("stopping", "")
                assert process.wait(10) == 0
                assert time.monotonic() - began < 10
                service.serve("--drain", "1s", port=port)
                before = len(claimers.given)
                wait_until(lambda before=before: len(claimers.given) > before + 5, what="claims")  # type: ignore[misc]
            claimers.stop()
        assert claimers.failed == []
        assert len(claimers.given) == len(set(claimers.given)) > 10
