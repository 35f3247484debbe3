"""An installation with a past and a busy present, whose pages show all that they can show."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import insert, select

from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.operations import pause
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces import end_workspace
from tests.support.builders import fill, finish_builds, jump, staffed, turn
from tests.support.past import PastEvents
from tests.support.pool_files import load_text

HOSTILE_OWNER = "<script>alert('owner')<&script>"
HOSTILE_TEXT = "<img src=x onerror=alert(1)> \u202egnissorc\u202c \x1b[31mred\x1b[0m \x07 \x00 done".replace("\x00", "")
POOLS = """
schema: 1
organizations: [{name: shop}, {name: research, max_builds_in_flight: 4}, {name: platform}]
templates:
  - name: python-dev
    organization: platform
    provisioner: simulated
    config: {}
    presets:
      - name: small
        desired: 6
        timezone: Europe/Berlin
        schedules: [{cron: "* 7-19 * * 1-5", desired: 12}, {cron: "* 10-15 * * 6,0", desired: 8}]
        ttl: 24h
        claimed_ttl: 8h
        cost_per_hour: 0.12
      - {name: large, desired: 2, ttl: 24h, claimed_ttl: 12h}
      - {name: postgres, desired: 3, ttl: 24h}
  - name: storefront
    organization: shop
    provisioner: simulated
    config: {%s}
    presets:
      - {name: web, desired: 5, replace: {strategy: rolling, max_surge: 2}}
      - {name: e2e, desired: 3}
  - name: checkout
    organization: shop
    provisioner: simulated
    config: {}
    presets:
      - name: standard
        desired: 4
        timezone: America/New_York
        schedules: [{cron: "* 8-18 * * 1-5", desired: 6}]
  - name: notebooks
    organization: research
    provisioner: simulated
    config: {}
    presets: [{name: gpu, desired: 3}, {name: cpu, desired: 4, claimed_ttl: 2h}]
  - name: java-monolith
    organization: shop
    provisioner: simulated
    config: {}
    presets: [{name: default, desired: 4}, {name: legacy-jdk8, desired: 1}]
  - name: docs
    organization: platform
    provisioner: simulated
    config: {}
    presets: [{name: tiny, desired: 2}, {name: archived, desired: 0}]
  - name: firmware
    organization: research
    provisioner: simulated
    config: {}
    presets: [{name: cross-arm64, desired: 2}]
"""
"""`%s`: what the recipe of the storefront has in its later version."""
HOSTILE_POOLS = """\
  - name: a-template-with-a-name-that-is-as-long-as-names-may-be-really-1
    organization: platform
    provisioner: simulated
    config: {}
    presets: [{name: a-preset-with-a-name-that-is-as-long-as-names-may-be-really-too, desired: 1}]
"""
"""Names that are as long as they may be."""
BROKEN, BLOCKED, PAUSED, ROLLING, BUSY = (
    "notebooks/gpu", "firmware/cross-arm64", "java-monolith/default", "storefront/web", "python-dev/small",
)  # fmt: skip
FULL = ("python-dev/large", "python-dev/postgres", "notebooks/cpu", "docs/tiny", "java-monolith/legacy-jdk8")
LONG = (
    "a-template-with-a-name-that-is-as-long-as-names-may-be-really-1/"
    "a-preset-with-a-name-that-is-as-long-as-names-may-be-really-too"
)
PATHS = (
    "/pools", f"/pools/{BUSY}", f"/pools/{ROLLING}", f"/pools/{PAUSED}", f"/pools/{BLOCKED}", f"/pools/{BROKEN}",
    f"/pools/{LONG}", "/pools?q=no-such-pool", "/workspaces", "/workspaces/ada/python-dev-1", "/waiting", "/builds",
    "/builds/python-dev-1", "/workers", "/history", "/health", "/report",
)  # fmt: skip
"""A page of each kind."""
OWNERS = ("ada", "grace", "linus", "margaret", "edsger", "barbara", "donald", "radia", HOSTILE_OWNER)
OUTPUT = (
    "$ git clone https://git.example/python-dev\n"
    + "".join(f"\x1b[{30 + color}mcolor {color}\x1b[0m \x1b[{90 + color};1mbright\x1b[0m\n" for color in range(8))
    + "".join(f"\x1b[4{color};3{7 - color}m on color {color} \x1b[0m\n" for color in range(8))
    + "\x1b[2mfaint\x1b[0m \x1b[7minverse\x1b[0m \x1b[4munderlined\x1b[0m \x1b[9mstruck\x1b[0m\n"
    + f"</pre><script>alert('output')</script> {HOSTILE_TEXT}\n{'long ' * 3000}\n"
)
NO_DRIVER = "the start script ended with 1: nvidia-smi: couldn't communicate with the NVIDIA driver"


def make_lively(database: Database, settings: Settings, *, hostile: bool = True) -> None:
    """Declare pools that are full, short, rolling, paused, failing and blocked, with people who use them.

    If they are `hostile`, some names are as long as they may be, and some texts would like to be more than texts.
    """
    pools, text = (POOLS + HOSTILE_POOLS, f" {HOSTILE_TEXT}") if hostile else (POOLS, "")
    owners = OWNERS if hostile else [owner for owner in OWNERS if owner != HOSTILE_OWNER]
    apply(database, settings, load_text(pools % ""), ApplyOptions(actor="grace"))
    staffed(database, settings)
    _fail(database, settings, BROKEN, 2, NO_DRIVER)
    _fail(database, settings, BLOCKED, 6, f"the image is not signed{text}")
    for name in (BUSY, ROLLING, PAUSED, *FULL):
        fill(database, settings, name)
    jump(database, 3 * 3600)
    fill(database, settings, "checkout/standard")
    jump(database, 40 * 60)
    _a_week(database, BUSY)
    _claim(database, BUSY, owners[:5])
    _claim(database, "checkout/standard", owners[3:7])
    _claim(database, PAUSED, owners[:2])
    _claim(database, "notebooks/cpu", owners[-2:])
    end_workspace(database, "linus/python-dev-3", actor="linus")
    finish_builds(database)
    fill(database, settings, "notebooks/cpu")
    jump(database, 10 * 60)
    pause(database, PAUSED, actor="margaret", reason=f"the licence server moves today{text}", seconds=7200)
    apply(database, settings, load_text(pools % "build: 2"), ApplyOptions(actor="grace", yes=True))
    fill(database, settings, "storefront/e2e")
    turn(database, settings, ROLLING)
    finish_builds(database, limit=2)
    turn(database, settings, ROLLING)
    turn(database, settings, BUSY)
    turn(database, settings, "checkout/standard")
    finish_builds(database, limit=3)
    jump(database, 50)
    for owner in owners[5:8]:
        _wait(database, BROKEN, owner)
    _write_output(database, "python-dev-1")
    for host in ("build-01", "build-02"):
        staffed(database, settings.model_copy(update={"host": host}))
    staffed(database, settings)


def _fail(database: Database, settings: Settings, name: str, times: int, error: str) -> None:
    for _ in range(times):
        turn(database, settings, name)
        finish_builds(database, status=BuildStatus.FAILED, error=error)
        jump(database, 900)


def _claim(database: Database, name: str, owners: Sequence[str]) -> None:
    template = name.partition("/")[0]
    for number, owner in enumerate(owners, start=1):
        claim(database, ClaimRequest(owner=owner, presets=[name], name=f"{template}-{number}"))


def _write_output(database: Database, workspace: str) -> None:
    newest = select(m.Build.id).join(m.Workspace, m.Workspace.id == m.Build.workspace_id)
    newest = newest.where(m.Workspace.name == workspace).order_by(m.Build.number.desc()).limit(1)
    with database.write() as connection:
        build, now = connection.execute(newest).scalar_one(), database.now(connection)
        row = {"build_id": build, "attempt": 1, "seq": 1, "text": OUTPUT, "at": now}
        connection.execute(insert(m.BuildLog).values(row))


def _wait(database: Database, name: str, owner: str) -> None:
    try:
        claim(database, ClaimRequest(owner=owner, presets=[name], wait=True))
    except PrebuildError:
        return


def _a_week(database: Database, name: str) -> None:
    """Store a week in which more people come by day than by night, and some of them find nothing ready."""
    past, chance, minute = PastEvents(database, name), random.Random(7), timedelta(minutes=1)
    past.installed(past.now - timedelta(days=30))
    for hours in range(1, 7 * 24):
        begin = past.now - timedelta(hours=hours)
        is_busy = 7 <= begin.hour <= 18 and begin.weekday() < 5
        for _ in range(chance.randint(1, 6) if is_busy else chance.randint(0, 2)):
            at = begin + chance.random() * 60 * minute
            created = at - chance.uniform(30, 300) * minute
            ready = created + timedelta(seconds=chance.lognormvariate(4.2, 0.35))
            if at >= past.now or ready > at:
                continue
            workspace = past.workspace(created, ready=ready, claimed=at, gone=min(at + 240 * minute, past.now))
            past.claim(at, hit=chance.random() < 0.94, workspace=workspace, latency=chance.uniform(4, 14))
        if chance.random() < 0.06:
            past.workspace(begin, gone=begin + minute)
    past.write()
