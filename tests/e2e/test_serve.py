"""`prebuild serve` and `prebuild up` with real processes: a claim over HTTP, refusals, and the end."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import httpx
import pytest

from tests.support.service import Service
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.thorough, pytest.mark.timeout(240)]


def test_up_serves_the_api_and_keeps_a_token_for_its_owner(up: Service) -> None:
    url = f"http://127.0.0.1:{up.environment['PREBUILD_SERVE_PORT']}"
    file, key = up.data_dir / "admin.token", up.data_dir / "secret-key"
    wait_until(lambda: ready(url), what="the API")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (file, key)} == {0o600}
    assert "secret_key_of_this_directory" not in (up.data_dir / "logs/serve.log").read_text(), "it is on one machine"
    said = up.output()
    assert f"{url}/docs" in said
    assert "docs/http.md#tokens" in said
    assert re.search(rf"^page +{re.escape(url)}/login\?code=pbc_[\w-]{{43}} ", said, re.MULTILINE)
    assert file.read_text().strip() not in said
    headers = {"Authorization": f"Bearer {file.read_text().strip()}", "Idempotency-Key": "order-1"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
        before = given(client)
        first = client.post("/v1/claims", json={"presets": ["dev/small"], "owner": "ada"})
        again = client.post("/v1/claims", json={"presets": ["dev/small"], "owner": "ada"})
        assert (first.status_code, again.status_code) == (201, 201), (first.text, again.text)
        assert first.json()["workspace_id"] == again.json()["workspace_id"]
        assert again.headers["Idempotent-Replayed"] == "true"
        assert client.get("/v1/pools", headers={"Host": "evil.example"}).status_code == 400
        wait_until(lambda: given(client) == before + 1, what="the count of the claim")  # counted after its answer
        assert "prebuild_up 1.0" in client.get("/metrics").text
        assert client.post("/v1/claims", content=b"x" * 2_000_000).status_code == 413


def test_the_link_that_up_prints_logs_in_once(up: Service) -> None:
    url = f"http://127.0.0.1:{up.environment['PREBUILD_SERVE_PORT']}"
    wait_until(lambda: ready(url), what="the API")
    link = re.search(r"login\?code=(pbc_\S+)", up.output())
    assert link
    with httpx.Client(base_url=url, trust_env=False) as browser:
        assert browser.get(f"/login?code={link[1]}").status_code == 200
        statuses = [
            browser.post("/login", data={"code": link[1]}, headers={"Origin": url}).status_code for _ in range(2)
        ]
        assert statuses == [303, 403]
        assert 'data-pool="dev/small"' in browser.get("/pools").text
        assert browser.post("/login", data={"code": link[1]}, headers={"Origin": "null"}).status_code == 403


def test_the_command_line_from_afar(up: Service, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{up.environment['PREBUILD_SERVE_PORT']}"
    wait_until(lambda: ready(url), what="the API")
    far = Service(tmp_path / "far/data")
    far.environment = {
        "PATH": up.environment["PATH"], "HOME": str(tmp_path), "PREBUILD_API_URL": url,
        "PREBUILD_API_TOKEN_FILE": str(up.data_dir / "admin.token"),
    }  # fmt: skip
    claimed = far.json("claim", "dev/small", "--owner", "grace", "--wait")
    assert [row["id"] for row in far.json("workspaces", "--owner", "grace")] == [claimed["workspace_id"]]
    assert set(claimed) == set(up.json("claim", "dev/small", "--owner", "eve", "--wait"))
    assert far.json("status")[0].keys() == up.json("status")[0].keys()
    assert far.json("explain", "dev/small").keys() == up.json("explain", "dev/small").keys()
    assert far.json("builds")[0].keys() == up.json("builds")[0].keys()
    assert far.json("history", f"grace/{claimed['workspace']}")
    assert far.json("pause", "dev/small") == {"changed": True}
    assert far.json("resume", "dev/small") == {"changed": True}
    assert far.json("reconcile", "dev/small") == {"requested": "dev/small"}
    assert far.json("release", f"grace/{claimed['workspace']}")["state"] == "deleting"
    assert "does not work over HTTP" in far.run("doctor", expect=2)
    far.run("claim", "dev/none", "--owner", "grace", expect=3)


def test_serve_refuses_what_would_show_tokens(up: Service) -> None:
    assert "in the clear" in up.run("serve", "--bind", "0.0.0.0", expect=2)
    assert "every IPv4 address" in up.run("serve", "--behind-proxy", "--trusted-proxies", "0.0.0.0/0", expect=2)
    assert "cannot listen" in up.run("serve", expect=2)


def test_the_access_log_has_no_token(up: Service) -> None:
    url = f"http://127.0.0.1:{up.environment['PREBUILD_SERVE_PORT']}"
    wait_until(lambda: ready(url), what="the API")
    headers = {"Authorization": f"Bearer {(up.data_dir / 'admin.token').read_text().strip()}"}
    httpx.post(f"{url}/v1/claims", headers=headers, json={"presets": ["dev/none"], "owner": "ada"}, trust_env=False)
    lines = [json.loads(line) for line in (up.data_dir / "logs/serve.log").read_text().splitlines() if line[0] == "{"]
    requests = [line for line in lines if line["event"] == "request"]
    claims = [line for line in requests if line["route"] == "/v1/claims" and line["principal"].startswith("up-")]
    assert {"request_id", "principal", "method", "route", "status", "ms"} <= set(claims[0])
    assert "pbt_" not in (up.data_dir / "logs/serve.log").read_text()


def given(client: httpx.Client) -> float:
    """Return how many claims have been answered with a workspace."""
    found = re.findall(r'^prebuild_http_claims_total{outcome="given"} (.*)', client.get("/metrics").text, re.MULTILINE)
    return sum(map(float, found))


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
