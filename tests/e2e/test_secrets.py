"""Run a whole service whose recipes print their passwords and secret parameters, and search everything for them.

The secrets are the passwords of PostgreSQL, Redis and Flower, tokens of the HTTP API, a parameter from the environment,
and one of several lines from a file. Recipes, probes, hooks and executables print them and fail, and the tokens are
used rightly and wrongly. The test searches the output of every command and process, Flower, the metrics, what the API
answers, every row of every table, every key of Redis and every command sent to it, the command lines of all processes
all the time, and every file except the one that the README names.
"""

from __future__ import annotations

import io
import json
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from psycopg import sql

from prebuild_tasks.cli.main import main
from tests.e2e.secrets_over_http import lines_of_the_access_log, use_the_api
from tests.support.commands import SEARCHED
from tests.support.http import answer, fetch, free_port
from tests.support.search import Search
from tests.support.servers import restartable_postgres
from tests.support.service import Service, deployed, procfile
from tests.support.spawned_redis import SpawnedRedis
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.deploys, pytest.mark.timeout(240)]

POSTGRES, REDIS, FLOWER = "p0stgres-passw0rd", "red1s-passw0rd", "fl0wer-passw0rd"
TOKEN, KEY = "t0ken-of-the-environment", "-- begin --\nk3y-of-the-file-one\nk3y-of-the-file-two\n"
SECRETS = [POSTGRES, REDIS, FLOWER, TOKEN, *KEY.split("\n")[1:3]]

POOLS = """
schema: 1
templates:
  - name: good
    config:
      start: echo with $TOKEN and $KEY
      serve: exec sleep 1000
      ready: echo $TOKEN
      claim: "echo for $TOKEN; exit 1"
    presets:
      - {{name: small, desired: 2, parameters: &secret {{TOKEN: {{from_env: PLACE_TOKEN}}, KEY: {{from_file: {key}}}}}}}
  - name: fails
    config: {{start: "echo \\"$KEY\\"; printf %s $TOKEN >&2; echo no access with $TOKEN; exit 1"}}
    presets: [{{name: small, desired: 1, parameters: *secret}}]
  - name: cold
    config: {{start: "true", ready: "echo still cold, $TOKEN; exit 1"}}
    presets: [{{name: small, desired: 1, ready_timeout: 1s, parameters: *secret}}]
  - name: asks
    provisioner: command
    config: {{start: "cat >&2; exit 1", delete: "cat >&2"}}
    presets: [{{name: small, desired: 1, parameters: *secret}}]
"""
PROCESSES = ("worker", "builds", "webhooks", "beat", "exporter", "flower", "serve")


def test_no_secret_is_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(KEY)
    flower_port, exporter_port, serve_port = free_port(), free_port(), free_port()
    search = Search([*SECRETS])
    with servers(tmp_path) as (postgres_url, redis_url), deployed(
        tmp_path, POOLS.format(key=tmp_path / "key"), postgres_url, redis_url,
        PLACE_TOKEN=TOKEN,
        FLOWER_BASIC_AUTH=f"operator:{FLOWER}",
        FLOWER_PORT=str(flower_port),
        PREBUILD_EXPORTER_PORT=str(exporter_port),
        PREBUILD_EXPORTER_CACHE="0",
        PREBUILD_SERVE_PORT=str(serve_port),
        PREBUILD_BACKOFF_INTERVAL="1s",
        PREBUILD_FAILURE_HARD_LIMIT="2",
        PREBUILD_LOG_LEVEL="DEBUG",
    ) as service, watched(search, redis_url):  # fmt: skip
        for name in PROCESSES:
            # Flower's port comes from the environment.
            arguments = [word for word in procfile()[name] if not word.startswith("--port=")]
            service.start(*arguments, program="prebuild" if name in ("exporter", "serve") else "celery")
        search.look("apply", service.run("apply", "pools.yaml", "--json"))
        wait_until(lambda: all_has_happened(service), timeout=90, what="four pools at their ends", pause=0.2)
        workspace = service.json("claim", "good/small", "--owner", "ada")["workspace"]
        wait_until(lambda: hook_has_failed(service, workspace), timeout=60, what="the claim's hook", pause=0.2)

        use_the_api(search, service, f"http://127.0.0.1:{serve_port}")
        monkeypatch.chdir(service.data_dir.parent)
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        ask_everything(search, service, workspace)
        look_at_flower(search, f"http://127.0.0.1:{flower_port}")
        search.look("metrics", fetch(f"http://127.0.0.1:{exporter_port}/metrics").decode())
        hold_messages_back(search, service, redis_url)
        look_at_the_database(search, postgres_url)
        for process in service.processes:
            service.interrupt(process, signal.SIGTERM) if process.poll() is None else None
        for position, name in enumerate(PROCESSES):
            search.look(f"output of {name}", service.output(position))
        lines = lines_of_the_access_log(service.output(PROCESSES.index("serve")))
        assert {(401, "/v1/pools"), (404, "(none)"), (405, "/v1/pools"), (413, "/v1/claims")} <= set(lines)
        look_at_the_files(search, tmp_path)
    assert search.found == [], search.found
    assert {
        "flower /tasks",
        "message",
        "table builds",
        "every message",
        "command lines",
        "answer over HTTP",
    } <= search.seen


def all_has_happened(service: Service) -> bool:
    """Tell whether the good pool is full, and each of the others has failed until its hard limit."""
    rows = {row["preset"]: row for row in service.json("status")}
    good = rows.pop("good/small")
    return good["eligible"] == 2 and all(row["reason"] == "hard_limited" for row in rows.values())


def hook_has_failed(service: Service, workspace: str) -> bool:
    builds = [row for row in service.json("builds", "--limit", "100") if row["workspace"] == workspace]
    return any(row["transition"] == "claim" and row["error"] for row in builds)


def answered(arguments: list[str]) -> str:
    """Return a command's outputs whatever its exit code, run in this process: ninety processes take a minute."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        main(arguments)
    return said.getvalue()


def ask_everything(search: Search, service: Service, workspace: str) -> None:
    """Run every command that prints something, as text and as JSON."""
    builds = service.json("builds", "--limit", "100")
    presets = [f"{name}/small" for name in ("good", "fails", "cold", "asks")]
    questions: dict[str, list[list[str]]] = {
        "status": [[]],
        "explain": [[preset] for preset in presets],
        "plan": [["pools.yaml"]],
        "workspaces": [[], ["--disk"]],
        "builds": [["--limit", "100"]],
        "logs": [[row["build"]] for row in builds if row["transition"] in ("start", "claim")],
        "versions": [["good"], ["fails"]],
        "events": [[]],
        "history": [[f"ada/{workspace}"], *([preset] for preset in presets)],
        "report": [[], ["--html", "report.html"]],
        "audit": [[]],
        "sweep": [[]],
        "doctor": [[]],
        "health": [["--role", role] for role in ("worker", "builds", "beat", "db", "redis")],
        "config": [["show"]],
        "db": [["upgrade"]],
        "reconcile": [[], ["fails/small"]],
        "unblock": [["fails/small"]],
        "pause": [["cold/small"]],
        "resume": [["cold/small"]],
        "forget": [["nowhere"]],
    }
    assert questions.keys() == SEARCHED
    for command, ways in questions.items():
        for arguments in ways:
            for form in ([], ["--json"]):
                said = search.look(f"prebuild {command}", answered([command, *arguments, *form]))
                assert command != "logs" or "***" in said
    patient = ("inspect", "--timeout", "5")
    for words in (["report"], *([*patient, what] for what in ("conf", "stats", "report", "active"))):
        search.look(f"celery {words[-1]}", service.run("-A", "prebuild_tasks", *words, program="celery"))


def look_at_flower(search: Search, flower: str) -> None:
    password = f"operator:{FLOWER}"
    wait_until(lambda: answer(flower, password) == 200, timeout=60, what="Flower")
    workers = json.loads(fetch(f"{flower}/api/workers?refresh=1", password))
    tasks = wait_until(lambda: json.loads(fetch(f"{flower}/api/tasks", password)), what="tasks in Flower")
    pages = ["/workers", "/tasks", "/broker", "/api/workers", "/api/tasks", "/metrics", f"/task/{next(iter(tasks))}"]
    for page in [*pages, *(f"/worker/{name}" for name in workers)]:
        search.look(f"flower {page}", fetch(flower + page, password).decode())


def hold_messages_back(search: Search, service: Service, redis_url: str) -> None:
    """Stop the workers, so that requests stay in the queues, and search the messages."""
    for process in service.processes[:2]:
        service.interrupt(process, signal.SIGTERM)
    service.run("claim", "good/small", "--owner", "bob")
    service.run("unblock", "cold/small")
    service.run("reconcile")
    call = ["call", "prebuild_tasks.claim", "--kwargs", '{"presets": ["good/small"], "owner": "cyd"}']
    service.run("-A", "prebuild_tasks", *call, program="celery")
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        for key in client.scan_iter():
            value = value_of(client, str(key))
            search.look("message" if "prebuild_tasks." in value else "key of Redis", f"{key} {value}")


def value_of(client: redis.Redis, key: str) -> str:
    match client.type(key):
        case "list":
            return str(client.lrange(key, 0, -1))
        case "hash":
            return str(client.hgetall(key))
        case "set":
            return str(client.smembers(key))
        case "zset":
            return str(client.zrange(key, 0, -1))
    return str(client.get(key))


def look_at_the_database(search: Search, url: str) -> None:
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            query = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table))
            rows = [row for (row,) in connection.execute(query).fetchall()]
            search.look(f"table {table}", "\n".join([table, *rows]))
        logs = connection.execute("SELECT string_agg(text, '') FROM build_logs").fetchone()
    assert logs
    for words in ("with *** and ", "no access with ***", "for ***"):
        assert words in logs[0]


def look_at_the_files(search: Search, tmp_path: Path) -> None:
    """Search all files except the one that the README names, which only its user can read and holds the parameters."""
    private = list(tmp_path.glob("x/d/workspaces/*/state.json"))
    assert private
    assert all(TOKEN in path.read_text() and path.stat().st_mode & 0o077 == 0 for path in private)
    for path in tmp_path.rglob("*"):
        if path.is_file() and path not in private and path != tmp_path / "key":
            search.look(
                f"file {path.relative_to(tmp_path)}", f"{path.name} {path.read_bytes().decode(errors='replace')}"
            )


@contextmanager
def servers(place: Path) -> Iterator[tuple[str, str]]:
    """Run a PostgreSQL and a Redis that require a password."""
    with restartable_postgres() as server:
        with psycopg.connect(server.url.format("postgres").replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER USER postgres PASSWORD {}").format(POSTGRES))
            (server.data / "pg_hba.conf").write_text("local all all scram-sha-256\n")
            connection.execute("SELECT pg_reload_conf()")
        redis_server = SpawnedRedis(place / "redis")
        redis_server.spawn()
        redis_server.wait_ready(redis_server.process)
        with redis.Redis.from_url(redis_server.url) as client:
            client.config_set("requirepass", REDIS)
        try:
            yield (
                f"postgresql://postgres:{POSTGRES}@/postgres?host={server.socket.parent}",
                redis_server.url.replace("unix://", f"unix://:{REDIS}@"),
            )
        finally:
            redis_server.stop()
            shutil.rmtree(place / "redis", ignore_errors=True)


@contextmanager
def watched(search: Search, redis_url: str) -> Iterator[None]:
    """Record every command that Redis gets, and the command lines of all processes, while the block runs."""
    over = threading.Event()
    lines: set[str] = set()

    def look_at_command_lines() -> None:
        while not over.wait(0.1):
            for process in psutil.process_iter():
                with suppress(psutil.Error, OSError):
                    lines.add(" ".join(process.cmdline()))

    def look_at_messages() -> None:
        with redis.Redis.from_url(redis_url, socket_timeout=None) as client, client.monitor() as monitor:
            while not over.is_set():
                search.look("every message", str(monitor.next_command()))

    threads = [threading.Thread(target=work) for work in (look_at_command_lines, look_at_messages)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        with redis.Redis.from_url(redis_url) as client:
            client.ping()  # one more command, to wake the thread that waits for the next
        for thread in threads:
            thread.join()
    search.look("command lines", "\n".join(lines))
    assert any("prebuild_tasks" in line for line in lines)
