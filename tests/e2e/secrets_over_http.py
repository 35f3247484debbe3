"""Uses of the HTTP API, from programs and from the command line, whose tokens must not show anywhere."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx

from tests.support.http import answer
from tests.support.search import Search
from tests.support.service import BIN, Service
from tests.support.wait import wait_until

WRONG = "pbt_" + "Wr0ng" * 8 + "xyz"
"""A token that the installation does not know."""
ENDS = {"token_unknown": 401, "token_malformed": 401, "not_found": 404, "method_not_allowed": 405, "too_large": 413}


def use_the_api(search: Search, service: Service, url: str) -> None:
    """Make a token, use it rightly and wrongly, from a program and from the command line, and rotate and revoke it."""
    create = ("token", "create", "portal", "--scope", "operate")
    token = service.run(*create).strip()
    search.secrets += [token, WRONG]
    wait_until(lambda: answer(f"{url}/readyz") == 200, timeout=60, what="the API")
    ask(search, url, token)
    ask_from_afar(search, service, url, token)
    search.secrets.append(service.run("token", "rotate", "portal").strip())
    search.look("prebuild token", service.run("token", "list"))
    search.look("prebuild token", service.run("token", "list", "--json"))
    search.look("prebuild token", service.run("token", "revoke", "portal", "--json"))


def ask(search: Search, url: str, token: str) -> None:
    bearing = {"Authorization": f"Bearer {token}"}
    body = {"presets": ["good/small"], "owner": "grace"}
    with httpx.Client(base_url=url, headers=bearing, trust_env=False, timeout=60) as client:
        answered = [
            client.get("/v1/pools"),
            client.get("/v1/config"),
            client.post("/v1/claims", json=body),
            client.get("/v1/pools", headers={"Authorization": f"Bearer {WRONG}"}),
            client.get("/v1/pools", headers={"Authorization": f"Basic {token}"}),
            client.get("/v1/none"),
            client.put("/v1/pools"),
            client.post("/v1/claims", content=token.encode() * 50_000),
        ]
        # A client's own mistakes are not to be kept for others to read.
        for mistaken in (f"/v1/none/{token}", f"/v1/pools?token={token}", f"/v1/workspaces/ada/{WRONG}"):
            client.get(mistaken)
        metrics = client.get("/metrics")
    problems = {each.json()["code"]: each.status_code for each in answered if each.status_code >= 400}
    assert ENDS.items() <= problems.items()
    for each in (*answered, metrics):
        search.look("answer over HTTP", f"{each.headers.multi_items()} {each.text}")


def ask_from_afar(search: Search, service: Service, url: str, token: str) -> None:
    """Run commands as on another machine, with the token in the environment: as processes, whose arguments all see."""
    for presented, expected in ((token, 0), (WRONG, 5)):
        environment = {
            "PATH": service.environment["PATH"], "HOME": str(Path(service.environment["HOME"], "far")),
            "PREBUILD_API_URL": url, "PREBUILD_API_TOKEN": presented, "PREBUILD_LOG_LEVEL": "DEBUG",
        }  # fmt: skip
        for command in (["status"], ["pause", "cold/small", "--reason", "maintenance"], ["resume", "cold/small"]):
            done = subprocess.run(
                [str(BIN / "prebuild"), *command, "--json"], env=environment, cwd=service.data_dir.parent,
                capture_output=True, text=True, timeout=90, check=False,
            )  # fmt: skip
            assert done.returncode == expected, f"{command}: {done.stdout} {done.stderr}"
            search.look("command from afar", done.stdout + done.stderr)


def lines_of_the_access_log(output: str) -> list[tuple[int, str]]:
    """Return the status and the route of each request in the output of `prebuild serve`."""
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [(line["status"], line["route"]) for line in lines if line["event"] == "request"]
