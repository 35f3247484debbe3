"""The deployment files agree with each other: compose, Procfile, README, Makefile."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from prebuild_tasks.celery import app
from prebuild_tasks.cli.up.redis_server import find_redis_binary
from prebuild_tasks.config import Settings
from prebuild_tasks.start_commands import start_commands
from prebuild_tasks.web.serve.options import KEEP_ALIVE
from prebuild_tasks.worker.config import SOFT_SHUTDOWN
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs").glob("*.md")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PROCFILE = dict(
    line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if line and not line.startswith("#")
)


SERVICES: dict[str, Any] = COMPOSE["services"]
EXAMPLE = (ROOT / ".env.example").read_text()
OURS = {name: service for name, service in SERVICES.items() if service.get("image") == "prebuild-tasks"}
PASSWORDS = {"POSTGRES_PASSWORD": "pg", "REDIS_PASSWORD": "rd", "FLOWER_BASIC_AUTH": "user:fl"}


@pytest.mark.parametrize("name", sorted(PROCFILE))
def test_compose_and_procfile_run_the_same_commands(name: str) -> None:
    assert SERVICES[name]["command"].partition(" --behind-proxy")[0] == re.sub(
        r"\$\{\w+:-(\w+)\}", r"\1", PROCFILE[name]
    )


@pytest.mark.parametrize("name", ["worker", "builds", "webhooks", "beat"])
def test_the_procfile_starts_what_the_remedies_name(name: str) -> None:
    """The Procfile leaves the builds' concurrency to the settings, so that PREBUILD_BUILD_CONCURRENCY takes effect."""
    told = getattr(start_commands(Settings()), name)
    if name == "builds":
        told = told.replace(f" -c {Settings().build_concurrency}", "")
    assert PROCFILE[name] == told


@pytest.mark.parametrize("path", ["README.md", "prebuild_tasks/celery.py", *sorted(f"docs/{p.name}" for p in DOCS)])
def test_the_documentation_starts_them_so(path: str) -> None:
    """Each start command in a document is a prefix of one that remedies name."""
    known = {re.sub(r" (-n \S+|-c \d+)", "", command) for command in astuple(start_commands(Settings()))}
    shown = re.findall(
        r"celery -A prebuild_tasks (?:worker|beat)\b(?: -\S+(?: [^-\s`]\S*)?)*", (ROOT / path).read_text()
    )
    assert {re.sub(r" (-n \S+|-c \d+)", "", command.rstrip("`.,")) for command in shown} <= known


def test_compose_runs_every_line_of_the_procfile_and_the_migration_before_them() -> None:
    assert set(OURS) == {*PROCFILE, "migrate", "builds-docker"}
    assert SERVICES["migrate"]["command"] == ["sh", "-c", "prebuild db upgrade && prebuild apply /pools.yaml"]
    assert SERVICES["migrate"]["restart"] == "no"
    assert SERVICES["builds-docker"]["command"] == PROCFILE["builds"]
    for name in set(OURS) - {"migrate"}:
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert {"redis", "postgres"} <= set(SERVICES[name]["depends_on"]), "so that it stops before them"


def test_the_image_is_built_once() -> None:
    assert [name for name, service in SERVICES.items() if "build" in service] == ["migrate"]


def test_the_readme_names_the_processes_and_the_commands_before_them() -> None:
    deploying = (ROOT / "README.md").read_text().partition("## Deploying")[2].partition("\n## ")[0]
    assert "prebuild db upgrade && prebuild apply pools.yaml" in deploying
    assert "prebuild db upgrade && prebuild apply pools.yaml" in (ROOT / "Procfile").read_text()
    assert f"Procfile: {', '.join(PROCFILE)}" in deploying


@pytest.mark.parametrize("name", sorted(PROCFILE))
def test_the_systemd_unit_runs_the_procfiles_lines(name: str) -> None:
    [line] = re.findall(r"^ExecStart=/bin/sh -c '(.*)'$", (ROOT / "docs/operating.md").read_text(), re.MULTILINE)
    script = line.replace("%i", name).replace("exec ", "echo ")
    done = subprocess.run(
        ["sh", "-c", script], cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True
    )
    assert done.stdout.strip() == re.sub(r"\$\{\w+:-(\w+)\}", r"\1", PROCFILE[name])


def test_systemd_finds_nothing_in_the_unit(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    [unit] = re.findall(r"^```ini\n(.*?)^```", (ROOT / "docs/operating.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "prebuild@worker.service").write_text(unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "prebuild@worker.service")], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_crontab_prints_only_what_needs_attention(tmp_path: Path) -> None:
    """From cron, the commands looked for a database in the directory where they were started, and printed good news."""
    [table] = re.findall(r"^```crontab\n(.*?)^```", (ROOT / "docs/operating.md").read_text(), re.MULTILINE | re.DOTALL)
    assert "\nPREBUILD_DATA_DIR=/srv/prebuild/.prebuild\n" in table
    [command] = [line for line in table.splitlines() if "status --problems" in line]
    script = command[command.index("out=") :].replace("/srv/prebuild/.venv/bin", str(Path(sys.executable).parent))

    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PREBUILD_DATA_DIR": str(tmp_path / "data")}

    def printed(line: str) -> str:
        return subprocess.check_output(["sh", "-c", line], cwd=tmp_path, env=environment, text=True)

    assert "if there is one elsewhere: export PREBUILD_DATA_DIR" in " ".join(printed(script).split())
    printed(f"{Path(sys.executable).parent}/prebuild db upgrade")
    assert printed(script) == ""


def test_every_queue_is_consumed() -> None:
    consumed = {queue for line in PROCFILE.values() if "-Q" in line for queue in line.split("-Q ")[1].split(",")}
    assert consumed == set(app.amqp.queues)


def test_events_are_served_before_ticks() -> None:
    queues = PROCFILE["worker"].split("-Q ")[1].split(",")
    assert queues.index("prebuild.events") < queues.index("prebuild.reconcile")
    assert app.conf.broker_transport_options["queue_order_strategy"] == "priority"


def test_compose_waits_for_health_and_fails_without_passwords() -> None:
    assert all("healthcheck" in SERVICES[name] for name in ("redis", "postgres"))
    assert set(SERVICES["migrate"]["depends_on"]) == {"postgres", "redis"}
    text = (ROOT / "docker-compose.yml").read_text()
    for name in PASSWORDS:
        assert len(re.findall(rf"\$\{{{name}\b", text)) == text.count(f"${{{name}:?") > 0
        assert re.search(rf"^{name}=$", EXAMPLE, re.MULTILINE)


def test_the_example_names_every_variable_of_compose_and_no_other() -> None:
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    named = set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE, re.MULTILINE))
    assert named - {"COMPOSE_PROFILES"} == used


def test_probes_look_at_the_heartbeats_of_their_own_role() -> None:
    for name in ("worker", "builds", "builds-docker", "webhooks", "beat"):
        role = name.partition("-")[0]
        assert SERVICES[name]["healthcheck"]["test"] == ["CMD", "prebuild", "health", "--role", role]


def test_processes_get_longer_than_their_soft_shutdown() -> None:
    assert all(int(service["stop_grace_period"].removesuffix("s")) > 2 * SOFT_SHUTDOWN for service in OURS.values())


def test_what_is_served_is_published() -> None:
    builds = SERVICES["builds"]
    ports = builds["environment"]["PREBUILD_WORKSPACE_PORTS"]
    assert builds["ports"] == [f"{ports}:{ports}"]
    assert builds["environment"]["PREBUILD_WORKSPACE_BIND"] == "0.0.0.0"
    assert builds["environment"]["PREBUILD_PUBLIC_HOST"] == "${PREBUILD_PUBLIC_HOST:-localhost}"
    with_key = ("serve", "webhooks")
    assert all("workspaces:/data" in service["volumes"] for name, service in OURS.items() if name not in with_key)
    assert {"redis", "postgres", "workspaces", "serve"} == set(COMPOSE["volumes"])


def test_the_http_api_is_published_on_loopback_through_nginx_alone() -> None:
    [subnet] = [row["subnet"] for row in COMPOSE["networks"]["door"]["ipam"]["config"]]
    serve, nginx = SERVICES["serve"], SERVICES["nginx"]
    assert serve["command"] == f"prebuild serve --behind-proxy --trusted-proxies {subnet}"
    assert "ports" not in serve
    assert serve["volumes"] == SERVICES["webhooks"]["volumes"] == ["serve:/data"], "the key, out of reach of workspaces"
    assert nginx["ports"] == ["127.0.0.1:${SERVE_PORT:-8300}:8080"]
    assert (nginx["networks"], serve["networks"]) == (["door"], ["default", "door"])
    assert serve["healthcheck"]["test"] == ["CMD", "prebuild", "health", "--role", "serve"]
    assert "healthcheck" in nginx
    text = (ROOT / "deploy/nginx/prebuild.conf").read_text()
    assert f"server serve:{Settings().serve_port};" in text
    assert float(re.findall(r"keepalive_timeout (\d+)s;", text)[0]) < KEEP_ALIVE, "the upstream's"


def test_only_the_docker_profile_gets_the_engine() -> None:
    assert [name for name, service in SERVICES.items() if "docker.sock" in str(service)] == ["builds-docker"]
    assert SERVICES["builds-docker"]["profiles"] == ["docker"]


@pytest.mark.docker
def test_compose_itself_reads_it(tmp_path: Path) -> None:
    for words in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(words[0]) and not subprocess.run([*words, "version"], capture_output=True).returncode:
            break
    else:
        pytest.fail("needs docker compose: apt-get install --no-install-recommends docker-compose")

    (nothing := tmp_path / "nothing").touch()

    def config(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*words, "--env-file", str(nothing), "-f", str(ROOT / "docker-compose.yml"), *options, "config"],
            env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    for missing in PASSWORDS:
        done = config({name: value for name, value in PASSWORDS.items() if name != missing})
        assert done.returncode
        assert f"set {missing} in .env" in done.stderr
    done = config({**PASSWORDS, "BUILDS_REPLICAS": "0"}, "--profile", "docker")
    assert done.returncode == 0, done.stderr
    read = yaml.safe_load(done.stdout)["services"]
    assert set(read) == set(SERVICES)
    assert read["builds"]["deploy"]["replicas"] == 0


@pytest.mark.servers
def test_the_redis_of_compose_keeps_its_password_to_itself(tmp_path: Path) -> None:
    """Run compose's own command with this machine's server, on a socket."""
    [shell, option, script] = SERVICES["redis"]["command"]
    (tmp_path / "redis-server").symlink_to(find_redis_binary()[0])
    script = script.replace("$$", "$").replace("redis-server -", f"redis-server - --port 0 --unixsocket {tmp_path}/s")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDIS_PASSWORD": "c0mpose-password"}
    with (
        redis.Redis(unix_socket_path=f"{tmp_path}/s", password=environment["REDIS_PASSWORD"]) as client,
        subprocess.Popen([shell, option, script], env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL) as process,
    ):
        try:
            wait_until((tmp_path / "s").exists, what="the socket")
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            with redis.Redis(unix_socket_path=f"{tmp_path}/s") as stranger, pytest.raises(redis.AuthenticationError):
                stranger.ping()
            assert b"c0mpose" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        finally:
            process.terminate()


def test_every_variable_that_is_set_exists() -> None:
    known = {f"PREBUILD_{name.upper()}" for name in Settings.model_fields}
    known |= {"PREBUILD_DATABASE_URL_FILE", "PREBUILD_REDIS_URL_FILE", "PREBUILD_FLOWER_BASIC_AUTH_FILE"}
    for path in ("docker-compose.yml", "Dockerfile", ".env.example", "Procfile", "docs/operating.md"):
        assert set(re.findall(r"\bPREBUILD_[A-Z_]+[A-Z]\b", (ROOT / path).read_text())) <= known, path


def test_the_settings_page_names_every_setting() -> None:
    known = {f"PREBUILD_{name.upper()}" for name in Settings.model_fields}
    rows = set(re.findall(r"^\| `(PREBUILD_[A-Z_]+)`", (ROOT / "docs/settings.md").read_text(), re.MULTILINE))
    assert rows == known


def test_make_help_lists_the_targets() -> None:
    text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("up", "test", "test-fast", "check", "bench", "bench-quick", "bench-fleet", "faults", "lock", "help"):
        assert re.search(rf"^ +{target} ", text, re.MULTILINE), target


def test_the_repo_names_no_machine() -> None:
    listed = subprocess.run(
        ["git", "grep", "-nIE", "index-url|registry =|/simple/"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    speak_of_any = ("Makefile:", ".ci/uv_settings.py:", "tests/e2e/test_mirror.py:", "tests/cli/test_deploy.py:")
    found = [line for line in listed.splitlines() if not line.startswith(speak_of_any)]
    assert found == []
