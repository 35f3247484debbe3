"""docker-compose.yml, and every compose command of docs/operating.md, run by docker-compose on Podman."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.e2e.compose_host import TOOLS, WAY_OUT, ComposeHost, compose_host
from tests.support.compose import DOTENV, POOLS
from tests.support.dockerfile import stages
from tests.support.http import answer, free_port
from tests.support.service import ROOT
from tests.support.wait import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.faults, pytest.mark.timeout(1800)]
PORTAL = ("token", "create", "portal", "--scope", "claim", "--any-owner")
PROCESSES = ("worker", "builds", "webhooks", "beat", "exporter", "serve", "nginx", "flower")


@pytest.fixture
def host() -> Iterator[ComposeHost]:
    if os.geteuid() != 0 or not all(map(shutil.which, TOOLS)):
        pytest.fail(WAY_OUT)
    with (
        tempfile.TemporaryDirectory(prefix="pt-compose-", dir="/tmp", ignore_cleanup_errors=True) as name,
        compose_host(Path(name)) as found,
    ):
        services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
        base = next(rest.split()[0] for word, rest in stages()[0] if word == "FROM")
        found.fill(base, *(services[name]["image"] for name in ("redis", "postgres", "nginx")))
        yield found


def test_the_commands_of_operating_fill_a_pool_and_stop_it(host: ComposeHost) -> None:
    site = host.place / "prebuild"
    host.run("git", "clone", "--quiet", str(ROOT), str(site))
    for name in ("docker-compose.yml", "Dockerfile", ".env.example"):  # as they are in the page
        shutil.copy(ROOT / name, site / name)
    ports = {name: str(free_port()) for name in ("FLOWER_PORT", "EXPORTER_PORT", "SERVE_PORT")}
    text = (site / ".env.example").read_text()
    for variable, value in {**DOTENV, **ports}.items():
        text = re.sub(rf"^{variable}=.*$", f"{variable}={value}", text, flags=re.MULTILINE)
    (site / ".env").write_text(text)
    (site / "pools.yaml").write_text(POOLS)

    def compose(*words: str) -> str:
        return host.run("docker-compose", *words, cwd=site)

    compose("up", "--build", "--detach")
    eligible(compose, 1)
    claimed = json.loads(prebuild(compose, "claim", "dev/small", "--owner", "ada", "--json"))
    assert re.fullmatch(r"http://localhost:20[01]\d\d", claimed["url"])
    wait_until(lambda: answer(claimed["url"]) == 200, timeout=60, what="the claimed URL, from the host")
    for name in ("worker", "builds", "webhooks", "beat", "serve", "nginx", "postgres", "redis"):
        wait_until(lambda name=name: state(host, name, "Health.Status") == "healthy", timeout=120, what=name)
    wait_until(lambda: answer(f"http://127.0.0.1:{ports['EXPORTER_PORT']}/metrics") == 200, timeout=60, what="metrics")
    flower = f"http://127.0.0.1:{ports['FLOWER_PORT']}"
    wait_until(lambda: answer(flower, DOTENV["FLOWER_BASIC_AUTH"]) == 200, timeout=60, what="Flower")
    claims_over_http(f"http://127.0.0.1:{ports['SERVE_PORT']}", prebuild(compose, *PORTAL).strip())
    prebuild(compose, "doctor")

    (site / "pools.yaml").write_text(POOLS.replace("desired: 1", "desired: 2"))
    compose("run", "--rm", "migrate")
    eligible(compose, 2)
    compose("build")
    compose("up", "--detach")
    assert "migrated to" in compose("logs", "migrate")

    compose("stop")
    assert {name: state(host, name, "ExitCode") for name in PROCESSES} == dict.fromkeys(PROCESSES, "0")
    assert "presence_not_announced" not in compose("logs", "worker", "builds"), "the database went before them"
    compose("up", "--detach")
    eligible(compose, 2)
    wait_until(lambda: answer(claimed["url"]) == 200, timeout=60, what="the claimed URL, served again")
    assert prebuild(compose, "audit") == "clean\n"
    compose("down", "--volumes")


def claims_over_http(url: str, token: str) -> None:
    """Claim through nginx, twice with one key."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as client:
        assert client.get("/readyz").text == "ready"
        body, key = {"presets": ["dev/small"], "owner": "grace", "wait": 55}, {"Idempotency-Key": "k"}
        given = [client.post("/v1/claims", json=body, headers=key, timeout=70) for _ in range(2)]
    assert [answer.status_code for answer in given] == [201, 201], given[0].text
    assert given[0].json()["workspace_id"] == given[1].json()["workspace_id"]


def prebuild(compose: Callable[..., str], *words: str) -> str:
    return compose("exec", "-T", "worker", "prebuild", *words)


def eligible(compose: Callable[..., str], number: int) -> None:
    def look() -> bool:
        try:
            answered = prebuild(compose, "status", "--json")
        except AssertionError:  # the database is starting
            return False
        return [pool["eligible"] for pool in json.loads(answered)] == [number]

    wait_until(look, timeout=120, what=f"{number} eligible", pause=1)


def state(host: ComposeHost, name: str, field: str) -> str:
    return host.run(*host.podman, "inspect", f"prebuild_{name}_1", "--format", f"{{{{.State.{field}}}}}").strip()
