"""A deployment whose processes are of two releases, and the assertions on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import cycle, islice
from typing import Any, Self

import redis as redis_py
from celery import Celery
from sqlalchemy import select, text

from prebuild_tasks.claims.types import ClaimAnswer
from prebuild_tasks.client import Client
from prebuild_tasks.clock import monotonic
from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.messaging.queues import QUEUES
from prebuild_tasks.messaging.transport import broker_url
from prebuild_tasks.schema import tables as m
from tests.e2e.release_before import Environment, Queued, send_from
from tests.support.service import BIN, Service, procfile
from tests.support.wait import wait_until

EACH = 500
"""Number of messages of each kind that v0.1.0 queues before a mix begins."""
CLAIM = "prebuild_tasks.claim"
PATIENCE = 240.0
"""Seconds after which a wait fails."""
NEVER_SAID = ("unregistered task", "unknown message", "ImportError", "ModuleNotFoundError", "deadlock detected")


class People:
    """Claims and releases for as long as the block lasts; every claim must be answered with its own workspace."""

    def __init__(self, service: Service) -> None:
        self._client, self._over = Client(settings=load_settings(service.environment)), threading.Event()
        self._thread = threading.Thread(target=self._run, name="people")
        self.answers: list[ClaimAnswer] = []
        self.refused: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE)
        self._client.close()

    def _run(self) -> None:
        pools = ["dev/small", "real/small"]
        while not self._over.wait(0.3):
            asked = len(self.answers) + len(self.refused)
            try:
                answer = self._client.claim(pools[asked % 2], owner=f"p-{os.urandom(3).hex()}", wait=PATIENCE)
                self.answers.append(answer)
                if asked % 3:
                    self._client.release(f"{answer.owner}/{answer.workspace}", actor="test")
            except PrebuildError as error:
                self.refused.append(repr(error))

    def check(self) -> None:
        """Assert that every claim was served, each with its own workspace."""
        assert self.refused == []
        names = [f"{answer.owner}/{answer.workspace}" for answer in self.answers]
        assert len(names) == len(set(names)) > 0


def kept_running(service: Service, kind: str, age: str, environment: Environment | None) -> subprocess.Popen[str]:
    """Start a process of v0.1.0's `environment`, or without one, of the code under test."""
    name = [] if kind == "beat" else ["-n", f"{kind}-{age}@%h"]
    program = environment.program("celery") if environment else str(BIN / "celery")
    return service.start(*procfile()[kind], *name, program=program)


def signal_groups(number: signal.Signals, *processes: subprocess.Popen[str]) -> None:
    """Signal processes together with their children."""
    for process in processes:
        os.killpg(process.pid, number)


def ended(*processes: subprocess.Popen[str]) -> list[int]:
    """Stop processes with SIGTERM, and return their exit codes."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    return [process.wait(PATIENCE) for process in processes]


UNACKED = ("unacked", "prebuild.unacked")
"""Keys of the messages in hand, of v0.1.0 and of this release."""


def ready(service: Service, *processes: subprocess.Popen[str]) -> None:
    """Wait until workers report that they consume."""
    for process in processes:
        wait_until(lambda process=process: here(service, process), timeout=PATIENCE, what=f"{process.args}")  # type: ignore[misc]


def here(service: Service, process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None, process.args
    return any(str(process.pid) in each.name.split("/") and each.alive for each in service.liveness().processes)


def waiting(client: redis_py.Redis, service: Service) -> dict[str, str]:
    """Return the messages that are in a queue or held by a worker: their tasks by id."""
    settings = load_settings(service.environment)
    with client.pipeline(transaction=True) as at_once:
        for name in UNACKED:
            at_once.hvals(name)
        for name in (*map(settings.queue, QUEUES), settings.queue("builds", settings.host)):
            at_once.lrange(name, 0, -1)
        old, new, *queues = at_once.execute()
    found = [json.loads(each)[0] for each in (*old, *new)] + [json.loads(each) for queue in queues for each in queue]
    return {message["headers"]["id"]: message["headers"]["task"] for message in found}


def in_hand(client: redis_py.Redis) -> set[str]:
    """Return the tasks of the messages that workers hold."""
    held: list[bytes] = [each for name in UNACKED for each in client.hvals(name)]  # type: ignore[union-attr]
    return {json.loads(each)[0]["headers"]["task"] for each in held}


def let_visibility_pass(client: redis_py.Redis) -> None:
    """Let the five minutes pass after which messages of dead workers are delivered again."""
    for index in (f"{name}_index" for name in UNACKED):
        for tag, score in client.zrange(index, 0, -1, withscores=True):  # type: ignore[union-attr]
            client.zadd(index, {tag: score - 600}, xx=True)


def builds(service: Service) -> list[Any]:
    query = select(
        m.Build.id, m.Build.queue, m.Build.status, m.Build.reason, m.Build.attempt, m.Build.error, m.Build.completed_at
    )
    with service.asked(lambda database, _: database).read() as connection:
        return list(connection.execute(query))


def queue_old(service: Service, before: Environment, owner: str) -> list[str]:
    """Queue `EACH` messages of every kind with v0.1.0's code, and return the claim tasks' ids."""
    with service.asked(lambda database, _: database).read() as connection:
        presets = [str(identity) for identity in connection.execute(select(m.Preset.id)).scalars()]
    tokens = defaultdict[str, list[str]](list)
    for row in islice(cycle(builds(service)), EACH):
        tokens[row.queue].append(str(row.id))
    queued = Queued(
        each=EACH, presets=presets, builds=tokens, owner=owner, claimed="many/small",
        host=load_settings(service.environment).host,
    )  # fmt: skip
    return send_from(before, service.environment, queued)


def ask_again(service: Service, client: redis_py.Redis, ids: list[str], owner: str) -> list[str]:
    """Repeat the claims that got no answer, with the same request ids; return the ids of the answered tasks.

    A SIGKILL between taking a message from its queue and entering it in `unacked` [kombu 5.7] loses it: at most one
    per killed worker.
    """
    settings = load_settings(service.environment)
    silent = [number for number, identity in enumerate(ids) if not client.exists(result_key(settings, identity))]
    assert len(silent) <= 1, "no other claim goes without an answer"
    for number in silent:
        words = {"owner": f"{owner}-{number}", "request_id": f"{owner}-{number}"}
        with service_app(settings) as app:
            ids[number] = app.send_task(CLAIM, args=[["many/small"]], kwargs=words, queue=settings.queue("claims")).id
        wait_until(
            lambda number=number: client.exists(result_key(settings, ids[number])), timeout=PATIENCE, what="an answer"
        )  # type: ignore[misc]
    return ids


def result_key(settings: Settings, identity: str) -> str:
    return f"{settings.namespace}:celery-task-meta-{identity}"


def service_app(settings: Settings) -> Celery:
    """Return an app that only sends."""
    return Celery("asks-again", broker=broker_url(settings))


def check_claims(service: Service, client: redis_py.Redis, ids: list[str], owner: str) -> None:
    """Assert that every claim task has one answer, and that no request and no workspace has two."""
    settings = load_settings(service.environment)
    stored: list[Any] = [client.get(result_key(settings, identity)) for identity in ids]
    assert None not in stored, "every claim is answered"
    answers = [json.loads(answer) for answer in stored]
    assert {answer["status"] for answer in answers} <= {"SUCCESS", "FAILURE"}
    given = {f"{owner}-{number}" for number, answer in enumerate(answers) if answer["status"] == "SUCCESS"}
    missed = {f"{owner}-{number}" for number in range(len(ids))} - given
    query = "SELECT request_id, hit, count(*) FROM claim_events WHERE request_id LIKE :like GROUP BY 1, 2"
    with service.asked(lambda database, _: database).read() as connection:
        events = {(row[0], row[1]): row[2] for row in connection.execute(text(query), {"like": f"{owner}-%"})}
    assert {request for request, hit in events if hit} == given, "who was told of a workspace has one"
    assert missed <= {request for request, hit in events if not hit}, "who was told of none missed"
    assert {count for (_, hit), count in events.items() if hit} == {1}
    hits = [answer["result"]["workspace"] for answer in answers if answer["status"] == "SUCCESS"]
    assert len(set(hits)) == len(hits) > 0


def check_logs(service: Service) -> None:
    """Assert that no process of either release met something unknown to it."""
    for number, process in enumerate(service.processes):
        said = service.output(number)
        found = [line for line in said.splitlines() if any(words in line for words in NEVER_SAID)]
        assert found == [], process.args


def unfinished(service: Service) -> list[Any]:
    return [row for row in builds(service) if row.status not in ("succeeded", "failed", "canceled")]


def went_well(build: Any) -> bool:
    """Tell whether a build succeeded, or was a claim's canceled by an early release; others are never canceled."""
    return build.status == "succeeded" or (build.status, build.reason) == ("canceled", "claim")


def check_all_is_well(service: Service, program: str = "prebuild") -> None:
    """Assert that every pool is full, every build went well, and nothing is left over."""
    service.wait_full(PATIENCE)
    wait_until(lambda: not unfinished(service), timeout=PATIENCE, what="the builds' ends", pause=0.5)
    assert [row for row in builds(service) if not went_well(row)] == []
    wait_until(
        lambda: service.output_of("audit", program=program) == "clean\n", timeout=PATIENCE, what="clean", pause=1
    )
    check_logs(service)


def wait_until_carried_out(client: redis_py.Redis, service: Service, queued: Mapping[str, str]) -> None:
    """Wait until no message is queued or held by a worker; a message is acknowledged when its task has ended.

    A build's message is acknowledged earlier; the database shows whether the build has ended.
    """
    deadline = monotonic() + 3 * PATIENCE
    while left := queued.keys() & waiting(client, service).keys():
        assert monotonic() < deadline, Counter(queued[identity] for identity in left)
        time.sleep(1)


def busy(service: Service, running: Mapping[str, subprocess.Popen[str]]) -> str:
    """Return the name of a builds worker that is running a build."""
    return next((name for name, process in running.items() if builds_of(service, process)), "")


def builds_of(service: Service, process: subprocess.Popen[str]) -> frozenset[str]:
    """Return the ids of the builds that a worker is running."""
    query = select(m.Build.id, m.Build.runner).where(m.Build.status == "running")
    with service.asked(lambda database, _: database).read() as connection:
        found = connection.execute(query).all()
    return frozenset(str(row.id) for row in found if str(process.pid) in row.runner.split("/"))


def statements_under_way(service: Service) -> set[tuple[int, object]]:
    """Return the database's running statements, each by its connection and start."""
    query = text(
        "SELECT pid, query_start FROM pg_stat_activity WHERE datname = current_database() "
        "AND state = 'active' AND pid <> pg_backend_pid()"
    )
    with service.asked(lambda database, _: database).read() as connection:
        return {(row.pid, row.query_start) for row in connection.execute(query)}


def let_statements_end(service: Service) -> None:
    """Wait until the statements that run now have ended."""
    last = statements_under_way(service)
    wait_until(lambda: not last & statements_under_way(service), timeout=PATIENCE, what="the last statements' end")


def kill_at_work(service: Service, running: dict[str, subprocess.Popen[str]]) -> tuple[str, frozenset[str]]:
    """Kill a builds worker that is running a build, and return its name and the ids of its builds."""
    while True:
        name = wait_until(lambda: busy(service, running), timeout=PATIENCE, what="a build under way", pause=0.01)
        os.killpg(running[name].pid, signal.SIGSTOP)
        let_statements_end(service)  # its last ones among them
        if under_way := builds_of(service, running[name]):
            os.killpg(running.pop(name).pid, signal.SIGKILL)
            return name, under_way
        os.killpg(running[name].pid, signal.SIGCONT)
