"""The services of docker-compose.yml as processes of this machine: commands, environment and health checks.

The addresses of the two servers and the directory stand in for compose's network and volume.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.compose import DOTENV, POOLS
from tests.support.http import answer, fetch, free_port
from tests.support.servers import empty
from tests.support.service import ROOT, Service
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.deploys, pytest.mark.timeout(240)]
NAMES = ("worker", "builds", "webhooks", "beat", "exporter", "flower")


def filled(value: str) -> str:
    """Replace compose's variables in a value, as with a .env that has only passwords."""
    return re.sub(r"\$\{(\w+):[-?]([^}]*)\}", lambda match: DOTENV.get(match[1], match[2]), value)


def test_its_services_fill_a_pool_whose_urls_open_from_the_host(
    tmp_path: Path, postgres_url: str, redis_url: str
) -> None:
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    empty(postgres_url)
    service = Service(tmp_path / "x" / "d")
    (tmp_path / "x" / "pools.yaml").write_text(POOLS)
    own = dict(service.environment)
    flower, metrics = free_port(), free_port()

    def surroundings(name: str) -> dict[str, str]:
        given = {key: filled(str(value)) for key, value in services[name]["environment"].items()}
        assert given["PREBUILD_DATABASE_URL"] == "postgresql://prebuild:pg@postgres/prebuild"
        assert given["PREBUILD_REDIS_URL"] == "redis://:rd@redis:6379/0"
        here = {"PREBUILD_DATABASE_URL": postgres_url, "PREBUILD_REDIS_URL": redis_url}
        return {**own, "PREBUILD_RECONCILE_INTERVAL": "1s", "PREBUILD_EXPORTER_PORT": str(metrics), **given, **here}

    try:
        [shell, option, script] = services["migrate"]["command"]
        script = script.replace("/pools.yaml", str(tmp_path / "x" / "pools.yaml"))
        subprocess.run([shell, option, script], env=surroundings("migrate"), cwd=tmp_path, check=True, timeout=60)
        for name in NAMES:
            service.environment = surroundings(name)
            command = services[name]["command"].replace("--port=5555", f"--port={flower}")
            program, *arguments = shlex.split(command)
            service.start(*arguments, program=program)
        service.environment = surroundings("worker")
        service.wait_full(90)
        url = service.json("claim", "dev/small", "--owner", "ada")["url"]
        assert re.fullmatch(r"http://localhost:20[01]\d\d", url)
        assert answer(url) == 200
        for name in NAMES:
            if check := services[name].get("healthcheck"):
                [_, program, *arguments] = check["test"]
                service.environment = surroundings(name)
                service.run(*arguments, program=program)
        wait_until(
            lambda: answer(f"http://127.0.0.1:{flower}", DOTENV["FLOWER_BASIC_AUTH"]) == 200, timeout=30, what="Flower"
        )
        page = fetch(f"http://127.0.0.1:{flower}/tasks", DOTENV["FLOWER_BASIC_AUTH"]).decode()
        assert all(f'data-column="{column}"' in page for column in ("args", "result")), "the pool, and what was done"
        wait_until(lambda: answer(f"http://127.0.0.1:{metrics}/metrics") == 200, timeout=60, what="the exporter")
        assert "0.0.0.0" in service.output(NAMES.index("exporter"))
        ended = [service.interrupt(process, signal.SIGTERM) for process in service.processes]
        assert ended == [0] * len(NAMES)
    finally:
        service.kill()
