"""A process that claims once and hits does so by the driver alone, and answers and writes what every claim does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from sqlalchemy import insert, select, update

from prebuild_tasks.claims.session import ClaimSession
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.client import Client
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError, InputError, RefusedError, UnreachableError
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, declare, fill, workspaces
from tests.support.http import free_port

HEAVY = {
    "sqlalchemy",
    "kombu",
    "celery",
    "structlog",
    "structlog.dev",
    "pydantic_settings",
    "alembic",
    "coolname",
    "rich",
}
# On a busy machine, the wake-up would miss its 200 ms and log that.
PATIENT = "import prebuild_tasks.messaging.sender as sender; sender.CLIENT_DEADLINE = 60.0; "
LISTED = PATIENT + "import atexit, sys; atexit.register(lambda: print('LOADED', *sys.modules, file=sys.stderr)); "
COMMAND = LISTED + "sys.argv[0] = 'prebuild'; from prebuild_tasks.cli.main import main; sys.exit(main())"
CLIENT = LISTED + (
    "from prebuild_tasks import Client\n"
    "with Client() as client: print(client.claim(sys.argv[1], owner=sys.argv[2]).workspace)"
)


@pytest.fixture
def environ(database: Database, settings: Settings, redis_url: str, tmp_path: Path) -> dict[str, str]:
    ours = ("PREBUILD_", "DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL")
    own = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    urls = {"PREBUILD_DATABASE_URL": database.url, "PREBUILD_REDIS_URL": redis_url}
    return {**own, **urls, "PREBUILD_DATA_DIR": str(tmp_path)}


def run(script: str, *arguments: str, environ: Mapping[str, str]) -> tuple[int, str, str, set[str]]:
    """Run Python, and return its exit code, its output, its errors and what it loaded of the heavy libraries."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], env=environ, capture_output=True, text=True, check=False
    )
    errors, _, loaded = done.stderr.partition("LOADED ")
    return done.returncode, done.stdout, errors, HEAVY & set(loaded.split())


def messages(redis_url: str, settings: Settings) -> dict[str, int]:
    with redis.Redis.from_url(redis_url) as client:
        names = (settings.queue("events"), settings.queue("builds"))
        return {name: len(client.lrange(name, 0, -1)) for name in names}


@pytest.mark.parametrize("organizations", ["[]", "[{name: default, max_per_owner: 1}]"], ids=["plain", "limit"])
def test_a_hit_loads_none_of_the_slow_libraries(
    database: Database, settings: Settings, redis_url: str, environ: dict[str, str], organizations: str
) -> None:
    """A claim from a shell used 1.26 s of CPU for a millisecond's work: it loaded SQLAlchemy, kombu and structlog.

    No builds worker is running here, so the hit has a warning.
    """
    declare(database, settings, 2, organizations=organizations)
    fill(database, settings)
    before = messages(redis_url, settings)
    code, shown, errors, loaded = run(COMMAND, "claim", PRESET, "--owner", "ada", "--json", environ=environ)
    assert (code, loaded) == (0, set()), errors
    answer = json.loads(shown)
    assert (answer["owner"], answer["preset"]) == ("ada", PRESET)
    assert answer["warning"].startswith("no builds worker is running")
    code, shown, errors, loaded = run(CLIENT, PRESET, "bob", environ=environ)
    assert (code, loaded, errors) == (0, set(), "")
    after = messages(redis_url, settings)
    assert [after[name] - before[name] for name in after] == [2, 2]
    with database.read() as connection:
        published = connection.execute(select(m.Build.publications).where(m.Build.reason == "claim")).scalars().all()
    assert published == [1, 1]


def test_a_hit_without_redis_loads_none_of_them_for_its_warning(
    database: Database, settings: Settings, environ: dict[str, str]
) -> None:
    declare(database, settings, 3)
    fill(database, settings)
    away = {**environ, "PREBUILD_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    code, _, errors, loaded = run(COMMAND, "claim", PRESET, "--owner", "ada", environ=away)
    assert (code, loaded) == (0, set()), errors
    assert "warning: wake up not sent (presets: 1, error: " in errors
    code, _, errors, loaded = run(COMMAND, "claim", PRESET, "--owner", "bob", "--json", environ=away)
    assert (code, loaded) == (0, set()), errors
    [line] = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    assert line.keys() == {"event", "presets", "error", "logger", "level", "timestamp"}
    assert (line["event"], line["level"]) == ("wake_up_not_sent", "warning")
    code, shown, errors, loaded = run(CLIENT, PRESET, "eve", environ=away)
    assert (code, loaded, len(shown.split())) == (0, set(), 1), "what a library logs is not printed among the output"
    assert errors.startswith("wake_up_not_sent (presets: 1, error: ")


def test_it_writes_and_answers_what_other_claims_do(database: Database, settings: Settings) -> None:
    declare(database, settings, 2, config="claim: 'true'", extra="claimed_ttl: 1h")
    fill(database, settings)
    session = ClaimSession(settings.model_copy(update={"database_url": database.url}))
    quick, usual = (session.claim(ClaimRequest(owner=owner, presets=[PRESET])) for owner in ("ada", "bob"))
    assert len(session.held) == 1
    session.close()
    told = [claimed.answer.report() for claimed in (quick, usual)]
    assert told[0].keys() == told[1].keys()
    assert [len(claimed.follow_up.builds) for claimed in (quick, usual)] == [1, 1]
    assert list(quick.follow_up.wake.values()) == list(usual.follow_up.wake.values()) == [PRESET]
    one, other = (_written(database, owner) for owner in ("ada", "bob"))
    assert [kind for kind, _ in one] == ["workspaces", "builds", "claim_events", "claim_requests", "history"]
    assert one == other
    with database.read() as connection:
        claims = select(m.History.owner, m.History.workspace).where(m.History.event == "claimed").order_by(m.History.id)
        rows = connection.execute(claims).all()
    assert [tuple(row) for row in rows] == [("ada", quick.answer.workspace), ("bob", usual.answer.workspace)]


_OWN = {"id", "name", "created_at", "ready_at", "claimed_at", "claimed_until", "workspace_id", "at", "request_id"}
_OWN |= {"owner", "workspace", "initiator", "actor", "latency_ms", "resource_id", "key", "body_digest", "actor_name"}


def _written(database: Database, owner: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the rows of the owner's claim, without ids and times."""
    columns = (
        (m.Workspace, m.Workspace.owner), (m.Build, m.Build.initiator),
        (m.ClaimEvent, m.ClaimEvent.owner), (m.BoundRequest, m.BoundRequest.owner), (m.History, m.History.actor),
    )  # fmt: skip
    with database.read() as connection:
        rows = [(t, connection.execute(select(t.__table__).where(who == owner)).one()) for t, who in columns]
    return [(t.__tablename__, {k: v for k, v in row._mapping.items() if k not in _OWN}) for t, row in rows]


def take(database: Database, settings: Settings, owner: str, **request: Any) -> str:
    """Claim as a process does that claims once."""
    session = ClaimSession(settings.model_copy(update={"database_url": database.url}))
    try:
        request = {"presets": [PRESET], **request}
        return session.claim(ClaimRequest(owner=owner, **request)).answer.workspace
    finally:
        session.close()


def test_anything_but_a_plain_hit_is_answered_as_ever(database: Database, settings: Settings) -> None:
    declare(database, settings, 3)
    fill(database, settings)
    first = take(database, settings, "ada", request_id="r", name="mine")
    assert first == take(database, settings, "ada", request_id="r", name="mine") == "mine"
    with pytest.raises(RefusedError, match="another owner"):
        take(database, settings, "bob", request_id="r")
    with pytest.raises(RefusedError, match="already has a workspace named mine"):
        take(database, settings, "ada", name="mine")
    with pytest.raises(InputError, match="is not a preset name"):
        take(database, settings, "ada", presets=["x y"])
    assert take(database, settings, "eve", presets=["dev/absent", PRESET][1:])
    with database.read() as connection:
        version = connection.execute(select(m.TemplateVersion.name)).scalar_one()
    assert take(database, settings, "joe", presets=[f"{PRESET}@{version}"])
    with pytest.raises(ClaimMissError):
        take(database, settings, "max")
    assert len(workspaces(database, m.Workspace.owner == "prebuilds")) == 0


def test_an_outdated_prebuild_is_not_taken_and_one_in_doubt_last(database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    old, young = workspaces(database, m.Workspace.owner == "prebuilds")
    with database.write() as connection:
        connection.execute(insert(m.ProbeState).values(workspace_id=old.id, next_at=old.created_at, doubtful=True))
    assert take(database, settings, "ada") == young.name.removeprefix("prebuild-")
    with database.write() as connection:
        connection.execute(update(m.Preset).values(last_invalidated_at=database.now(connection)))
    with pytest.raises(ClaimMissError):
        take(database, settings, "bob")


def test_a_database_that_is_away_is_asked_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt may take five seconds."""
    connected = []
    connect = psycopg.connect
    monkeypatch.setattr(psycopg, "connect", lambda **options: connected.append(1) or connect(**options))
    away = settings.model_copy(update={"database_url": "postgresql://u:secret@127.0.0.1:1/x"})
    with Client(settings=away) as client, pytest.raises(UnreachableError, match=r"u:\*\*\*@127.0.0.1:1/x") as raised:
        client.claim(PRESET, owner="ada")
    assert (len(connected), "start it, or point" in raised.value.hint) == (1, True)


def test_an_answer_survives_a_database_that_fails_afterwards(database: Database, settings: Settings) -> None:
    declare(database, settings, 1)
    fill(database, settings)
    session = ClaimSession(settings.model_copy(update={"database_url": database.url}))
    claimed = session.claim(ClaimRequest(owner="ada", presets=[PRESET]))
    [quick] = session.held.values()
    quick.close()
    session.send(claimed.follow_up)
    session.close()
