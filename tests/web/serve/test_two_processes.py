"""Metrics and log lines of two serving processes, also when one of them is killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from prebuild_tasks.web.serve.measures import DIRECTORY
from tests.support.door import FULL, NONE, doors, portal
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.thorough, pytest.mark.timeout(120)]
Counts = Mapping[tuple[str, ...], float]


def counts(client: httpx.Client) -> Counts:
    """Return the samples of the API's own metrics by name and values of labels, without those of reading them."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name.removeprefix("prebuild_http_"), *sorted(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("prebuild_http_") and not {"/metrics", "/readyz"} & set(sample.labels.values())
    }


def claim(client: httpx.Client, preset: str, key: str, **body: object) -> int:
    asked = {"presets": [preset], "owner": "ada", **body}
    return client.post("/v1/claims", json=asked, headers={"Idempotency-Key": key}).status_code


def test_they_count_as_one_and_keep_what_a_killed_one_counted(tmp_path: Path, postgres_url: str) -> None:
    with doors(tmp_path, postgres_url, PREBUILD_LOG_FORMAT="json") as service:
        service.stock(3)
        url, parent = service.serve("--workers", "2")
        token = service.token()
        with portal(url, token) as client, httpx.Client(base_url=url, trust_env=False) as nobody:
            asked = [claim(client, FULL, "a"), claim(client, FULL, "a"), claim(client, NONE, "b")]
            asked += [claim(client, FULL, "a", owner="bob")]
            assert asked == [201, 201, 429, 422]
            for _ in range(6):
                with portal(url, token) as other:  # a connection of its own, to either process
                    assert other.get("/v1/pools").status_code == 200
            nobody.get("/v1/pools")
            for _ in range(2):
                nobody.get("/v1/pools", headers={"Authorization": "Bearer pbt_wrong"})
            answer = client.get("/v1/builds", params={"preset": FULL}, headers={"X-Request-ID": "mine-1"})
            assert answer.headers["X-Request-ID"] == "mine-1"
            expected = {
                ("requests_total", "/v1/claims", "201", "POST", "token"): 2,
                ("requests_total", "/v1/claims", "429", "POST", "token"): 1,
                ("requests_total", "/v1/pools", "200", "GET", "token"): 6,
                ("requests_total", "/v1/pools", "401", "GET", "none"): 3,
                ("request_duration_seconds_count", "/v1/pools"): 9,
                ("request_duration_seconds_count", "/v1/claims"): 4,
                ("claims_total", "given"): 1,
                ("claims_total", "replayed"): 1,
                ("claims_total", "miss"): 1,
                ("claims_total", "refused"): 1,
                ("refused_tokens_total", "invalid"): 2,
                ("refused_tokens_total", "missing"): 1,
                ("connections_in_use",): 0,
                ("connections_waiting",): 0,
            }
            wanted = {(name, *sorted(labels)): value for (name, *labels), value in expected.items()}
            wait_until(lambda: wanted.items() <= counts(client).items(), what=f"{wanted}, not {counts(client)}")
            (killed, directory), (left, _) = serving(parent.pid).items()
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: len(serving(parent.pid).keys() - {killed}) == 2, what="another one in its place")
            wait_until(lambda: not list(directory.glob(f"*_{killed}.db")), what="its files gone")
            with portal(url, token) as other:
                wait_until(lambda: wanted.items() <= counts(other).items(), what="the same counts")
            lines = [json.loads(line) for line in service.output().splitlines() if line.startswith("{")]
            [line] = [line for line in lines if line.get("request_id") == "mine-1"]
            assert (line["route"], line["status"], line["principal"]) == ("/v1/builds", 200, "portal")
            assert "pbt_" not in service.output()
            assert FULL not in json.dumps(line), "no query"
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(12) == 0
        assert not directory.exists()
        assert not psutil.pid_exists(left)


def serving(parent: int) -> dict[int, Path]:
    """Return the serving processes that live, each with the directory of its counts."""
    found = dict[int, Path]()
    for child in psutil.Process(parent).children():
        with suppress(psutil.Error, KeyError):  # it has just ended, or is not quite there
            if "spawn_main" in " ".join(child.cmdline()):
                found[child.pid] = Path(child.environ()[DIRECTORY])
    return found
