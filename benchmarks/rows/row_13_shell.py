"""CPU of whole processes: a claim from a shell, a claim by `Client`, and `status` of a few pools.

The floor is a psycopg script that sends the same statement.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from sqlalchemy import text

from benchmarks.bench import Bench, dsn
from benchmarks.harness import Bound, Result, compare
from benchmarks.processes import BIN, ROOT
from prebuild_tasks.claims.quick import texts
from prebuild_tasks.db.engine import Database
from tests.support import bulk

_PREBUILDS = 1_000
_TEMPLATE, _PRESET = "template-1", "preset-1"
_CLIENT = (
    "import sys; from prebuild_tasks import Client\n"
    "with Client() as client: print(client.claim(sys.argv[1], owner=sys.argv[2]).workspace)"
)
_POOLS = """
SELECT presets.id, count(*) FROM presets LEFT JOIN workspaces ON workspaces.preset_id = presets.id
  AND workspaces.deleted_at IS NULL GROUP BY presets.id ORDER BY presets.id
"""


def run(bench: Bench) -> Iterator[Result]:
    database = bench.database("shell")
    bulk.pools(database, 10, 10)
    bulk.stock(database, _PREBUILDS)
    floor = _Floor(database)
    environ = {
        "PATH": os.environ["PATH"], "HOME": str(bench.directory), "PYTHONPATH": str(ROOT),
        "PREBUILD_DATABASE_URL": database.url, "PREBUILD_REDIS_URL": bench.redis_url,
    }  # fmt: skip
    owners = (f"o{number}" for number in itertools.count())
    preset, pairs = f"{_TEMPLATE}/{_PRESET}", bench.scaled(21, 11)

    def command(*arguments: str) -> Callable[[int], float]:
        return lambda _: cpu_of([BIN / "prebuild", *arguments], environ)

    yield compare(
        13, "CPU of prebuild claim; of a psycopg script with its statement",
        lambda _: cpu_of([BIN / "prebuild", "claim", preset, "--owner", next(owners)], environ), floor.claim,
        pairs=pairs, bound=Bound(2.75),
    )  # fmt: skip
    yield compare(
        13, "CPU of a process with one Client.claim; of the script",
        lambda _: cpu_of([sys.executable, "-c", _CLIENT, preset, next(owners)], environ), floor.claim,
        pairs=pairs, bound=Bound(2.5),
    )  # fmt: skip
    yield compare(
        13, "CPU of prebuild status, 10 pools; of a psycopg script with one count", command("status"), floor.status,
        pairs=pairs, bound=Bound(4.5),
    )  # fmt: skip
    with database.read() as connection:
        claimed = connection.execute(text("SELECT count(*) FROM workspaces WHERE owner LIKE 'o%'")).scalar_one()
    assert claimed == 2 * (pairs + 1), "each was a hit"
    database.close()


class _Floor:
    """The scripts that are compared with."""

    def __init__(self, database: Database) -> None:
        self._dsn = dsn(database)
        self._claimers = (f"floor{number}" for number in itertools.count())

    def claim(self, _: int) -> float:
        """Claim as the product does."""
        owner = next(self._claimers)
        values = {
            "template": _TEMPLATE, "preset": _PRESET, "owner": owner, "name": "", "request_id": owner,
            "build_id": str(uuid.uuid4()), "elapsed_ms": 0.1, "below_limit": False, "alive_s": 30.0,
            "claim_id": str(uuid.uuid4()), "principal": "local", "key": owner, "body_digest": owner, "actor": owner,
            "actor_kind": "local", "actor_name": owner, "actor_subject": "",
        }  # fmt: skip
        return self._run(texts.CLAIM, values)

    def status(self, _: int) -> float:
        """Count the workspaces of each pool."""
        return self._run(_POOLS, {})

    def _run(self, statement: str, values: Mapping[str, object]) -> float:
        request = json.dumps({"dsn": self._dsn, "statement": statement, "values": values})
        return cpu_of(
            [sys.executable, "-m", "benchmarks.floors.shell", request], {**os.environ, "PYTHONPATH": str(ROOT)}
        )


def cpu_of(arguments: Sequence[str | Path], environ: Mapping[str, str]) -> float:
    """Run a process, and return the seconds of CPU that it used. Raises AssertionError if it failed."""
    process = subprocess.Popen(arguments, env=dict(environ), stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return used.ru_utime + used.ru_stime
