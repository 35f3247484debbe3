"""Answers to a portal: a program had to read the tables or run commands, because `Client` only claimed and released."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from datetime import timedelta
from math import inf, nan

import pytest

from prebuild_tasks import Client, PoolAvailability, WorkspaceView
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import ClaimMissError, InputError, NotFoundError, RefusedError, RemedyKind, WaitTimeoutError
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.operations import invalidate, pause
from prebuild_tasks.pools.options import ApplyOptions
from tests.support.builders import PRESET, declare, fill, finish_builds, staffed, turn, workspaces
from tests.support.pool_files import LONG, load_text

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def client(database: Database, settings: Settings) -> Iterator[Client]:
    staffed(database, settings)
    urls = {"database_url": database.url, "redis_url": NOWHERE}
    with Client(settings=settings.model_copy(update=urls)) as client:
        yield client


def test_nobody_acts_in_the_name_of_a_token(client: Client) -> None:
    with pytest.raises(InputError, match="taken for that of a token"):
        client.release("ada/hers", actor="token:portal")
    with pytest.raises(InputError, match="taken for that of a token"):
        client.claim(PRESET, owner="token:portal")


def test_what_can_be_claimed(client: Client, database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    [pool] = client.availability()
    assert pool == PoolAvailability(
        preset=PRESET, available=2, eligible=2, desired=2, starting=0, paused=False, reason="none"
    )
    assert json.loads(json.dumps(pool.to_json())) == {
        "preset": PRESET, "available": 2, "eligible": 2, "desired": 2, "starting": 0, "paused": False, "reason": "none",
    }  # fmt: skip
    with pytest.raises(FrozenInstanceError):
        pool.available = 3  # type: ignore[misc]
    client.claim(PRESET, owner="ada")
    turn(database, settings)
    pause(database, PRESET, actor="ada")
    [pool] = client.availability(PRESET)
    assert (pool.available, pool.starting, pool.paused, pool.reason) == (1, 1, True, "paused")
    for wrong, error in (("dev/none", NotFoundError), ("no name", InputError)):
        with pytest.raises(error):
            client.availability(PRESET, wrong)


def test_second_choices_are_available_too(client: Client, database: Database, settings: Settings) -> None:
    """As many claims get one as `available` says, of this version or of the one before."""
    text = LONG.replace("desired: 1}}", "desired: 2, replace: {{strategy: rolling}}}}")
    for active in ("v1", "v2"):
        apply(database, settings, load_text(text.format(active=active, start="true")), ApplyOptions(actor="test"))
        if active == "v1":
            fill(database, settings)
    [pool] = client.availability(PRESET)
    assert (pool.available, pool.eligible, pool.desired) == (2, 0, 2)
    assert [one.available for one in client.availability(f"{PRESET}@v1", PRESET)] == [2, 2]
    assert client.claim(PRESET, owner="ada").preset == f"{PRESET}@v1"
    fill(database, settings)
    invalidate(database, PRESET, actor="test")
    for left in (3, 2, 1):
        [pool] = client.availability(PRESET)
        assert (pool.available, pool.eligible) == (left, 0)
        client.claim(PRESET, owner="ada")
    assert [one.available for one in client.availability(PRESET, f"{PRESET}@v1")] == [0, 0]
    with pytest.raises(ClaimMissError):
        client.claim(PRESET, owner="ada")


def test_a_workspace_by_its_name_or_id(client: Client, database: Database, settings: Settings) -> None:
    declare(database, settings, 2)
    fill(database, settings)
    answer = client.claim(PRESET, owner="ada", name="mine")
    [listed] = client.workspaces(owner="ada")
    for name in ("mine", "ada/mine", answer.workspace_id):
        assert client.get(name) == listed
    client.claim(PRESET, owner="bob", name="mine")
    with pytest.raises(RefusedError, match="several"):
        client.get("mine")
    client.release("ada/mine", actor="ada")
    assert client.get("ada/mine").state == "deleting"
    finish_builds(database)
    for method in (client.get, client.wait_until_usable):
        with pytest.raises(NotFoundError) as missing:
            method(answer.workspace_id)
        assert missing.value.remedy
        assert missing.value.remedy.kind is RemedyKind.LIST_WORKSPACES


def test_wait_until_it_is_personalised(client: Client, database: Database, settings: Settings) -> None:
    declare(database, settings, 1, config="claim: 'true'")
    fill(database, settings)
    answer = client.claim(PRESET, owner="ada", name="mine")
    assert answer.state == "personalising"
    with pytest.raises(
        WaitTimeoutError, match=r"ada/mine was not usable within 0 s: its state is personalising \(read"
    ):
        client.wait_until_usable("ada/mine", timeout=0)
    finish_builds(database, status=BuildStatus.FAILED, error="claim exited with 7: no disk")
    with pytest.raises(
        WaitTimeoutError, match=r"personalising, and its build failed: claim exited with 7: no disk \(read"
    ):
        client.wait_until_usable("ada/mine", timeout=nan)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE workspaces SET status = 'pending' WHERE owner = 'ada'")
        connection.exec_driver_sql("UPDATE builds SET status = 'pending' WHERE status = 'failed'")
    seen: list[WorkspaceView] = []
    waiting = threading.Thread(target=lambda: seen.append(client.wait_until_usable(answer.workspace_id)))
    waiting.start()
    finish_builds(database)
    waiting.join(60)
    assert [(view.workspace, view.state) for view in seen] == [("mine", "usable")]
    started = time.monotonic()
    assert client.wait_until_usable("ada/mine", timeout=inf) == seen[0]
    assert time.monotonic() - started < 10


def test_what_will_never_be_usable_is_not_waited_for(client: Client, database: Database, settings: Settings) -> None:
    declare(database, settings, 0)
    with pytest.raises(WaitTimeoutError):
        client.claim(PRESET, owner="ada", name="mine", wait=0.01)
    with pytest.raises(WaitTimeoutError, match="its state is starting"):
        client.wait_until_usable("ada/mine", timeout=0.1)
    client.release("ada/mine", actor="ada")
    with pytest.raises(RefusedError, match="ada/mine will not become usable: its state is deleting") as refused:
        client.wait_until_usable("ada/mine")
    assert refused.value.remedy
    assert (refused.value.remedy.kind, refused.value.remedy.subject) == (RemedyKind.CLAIM_WORKSPACE, PRESET)
    declare(database, settings, 1)
    fill(database, settings)
    [prebuild] = [row for row in workspaces(database) if row.owner == "prebuilds"]
    with pytest.raises(RefusedError, match="is not claimed"):
        client.wait_until_usable(prebuild.id)


def test_extend(client: Client, database: Database, settings: Settings) -> None:
    declare(database, settings, 2, extra="claimed_ttl: 1h")
    fill(database, settings)
    answer = client.claim(PRESET, owner="ada")
    assert answer.claimed_until
    extended = client.extend(answer.workspace_id, 1800, actor="ada")
    assert extended == client.get(answer.workspace_id)
    assert extended.claimed_until == answer.claimed_until + timedelta(minutes=30)
    for seconds in (-1, nan, inf, 1e30, "3d", None):
        with pytest.raises(InputError, match="cannot extend by"):
            client.extend(answer.workspace_id, seconds, actor="ada")  # type: ignore[arg-type]
    with pytest.raises(NotFoundError):
        client.extend("ada/none", 60, actor="ada")
    [prebuild] = [row for row in workspaces(database) if row.owner == "prebuilds"]
    with pytest.raises(RefusedError, match="not claimed"):
        client.extend(prebuild.id, 60, actor="ada")


def test_these_methods_cost_an_import_of_the_client_nothing() -> None:
    """They are imported with what they need when they are called, and their answers without SQLAlchemy."""
    script = (
        "import sys; import prebuild_tasks.portal; from prebuild_tasks import PoolAvailability;"
        " print(*sorted({n.split('.')[0] for n in sys.modules} & {'sqlalchemy', 'celery', 'kombu', 'redis'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "\n"
