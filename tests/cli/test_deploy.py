"""What is shipped for deployment agrees with itself: compose, Procfile, README, Makefile."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from prebuild_tasks.celery import app
from prebuild_tasks.config import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PROCFILE = dict(
    line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if line and not line.startswith("#")
)


@pytest.mark.parametrize("name", sorted(PROCFILE))
def test_compose_and_procfile_run_the_same_commands(name: str) -> None:
    assert COMPOSE["services"][name]["command"] == PROCFILE[name].replace("${PORT:-5555}", "5555")


def test_every_queue_is_consumed() -> None:
    consumed = {queue for line in PROCFILE.values() if "-Q" in line for queue in line.split("-Q ")[1].split(",")}
    assert consumed == set(app.amqp.queues)


def test_events_are_served_before_ticks() -> None:
    queues = PROCFILE["worker"].split("-Q ")[1].split(",")
    assert queues.index("prebuild.events") < queues.index("prebuild.reconcile")
    assert app.conf.broker_transport_options["queue_order_strategy"] == "priority"


def test_compose_waits_for_health_and_fails_without_passwords() -> None:
    services = COMPOSE["services"]
    assert all("healthcheck" in services[name] for name in ("redis", "postgres"))
    assert services["worker"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    text = (ROOT / "docker-compose.yml").read_text()
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "FLOWER_BASIC_AUTH"):
        assert f"${{{name}:?" in text
        assert f"{name}=" in (ROOT / ".env.example").read_text()


def test_every_variable_that_is_set_exists() -> None:
    known = {f"PREBUILD_{name.upper()}" for name in Settings.model_fields}
    used = set(re.findall(r"\bPREBUILD_[A-Z_]+\b", (ROOT / "docker-compose.yml").read_text()))
    assert used <= known


def test_the_readmes_table_names_every_setting() -> None:
    known = {f"PREBUILD_{name.upper()}" for name in Settings.model_fields}
    rows = set(re.findall(r"^\| `(PREBUILD_[A-Z_]+)`", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert rows == known


def test_make_help_lists_the_targets() -> None:
    text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("up", "test", "test-fast", "check", "bench", "bench-quick", "bench-fleet", "faults", "lock", "help"):
        assert re.search(rf"^ +{target} ", text, re.MULTILINE), target


def test_the_repo_names_no_machine() -> None:
    listed = subprocess.run(
        ["git", "grep", "-nIE", "index-url|registry =|/simple/"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    found = [line for line in listed.splitlines() if not line.startswith(("Makefile:", "tests/cli/test_deploy.py:"))]
    assert found == []
