"""CPU of processes that use the HTTP API: one that makes the client, and a claim from a shell.

The floors are `import httpx`, and a script that sends the same request by httpx to the same server.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import uuid
from collections.abc import Iterator

from sqlalchemy import text

from benchmarks import doors
from benchmarks.bench import Bench
from benchmarks.harness import Bound, Result, compare
from benchmarks.processes import BIN, ROOT
from benchmarks.rows.row_13_shell import cpu_of
from tests.support import bulk

_PRESET = "template-1/preset-1"
_MADE = "from prebuild_tasks import Client; Client('https://prebuilds.example', token='pbt_x')"


def run(bench: Bench) -> Iterator[Result]:
    database = bench.database("afar")
    pairs = bench.scaled(21, 11)
    bulk.pools(database, 1, 10 * pairs)
    bulk.stock(database, 10 * pairs)
    token = doors.new_token(database, "portal")
    own = {"PATH": os.environ["PATH"], "HOME": str(bench.directory), "PYTHONPATH": str(ROOT)}
    yield compare(
        16, "CPU of a process that makes a client of the HTTP API; import httpx",
        lambda _: cpu_of([sys.executable, "-c", _MADE], own),
        lambda _: cpu_of([sys.executable, "-c", "import httpx"], own),
        pairs=pairs, bound=Bound(1.25),
    )  # fmt: skip
    with doors.product(bench, database) as door:
        url = f"http://127.0.0.1:{door.port}"
        afar = {**own, "PREBUILD_API_URL": url, "PREBUILD_API_TOKEN": token}
        owners = (f"o{number}" for number in itertools.count())

        def post(_: int) -> float:
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid.uuid4())}
            body = {"presets": [_PRESET], "owner": next(owners)}
            request = json.dumps({"url": f"{url}/v1/claims", "headers": headers, "body": body})
            return cpu_of([sys.executable, "-m", "benchmarks.floors.post", request], own)

        yield compare(
            16, "CPU of prebuild claim over HTTP; of a script with its request",
            lambda _: cpu_of([BIN / "prebuild", "claim", _PRESET, "--owner", next(owners)], afar), post,
            pairs=pairs, bound=Bound(1.6),
        )  # fmt: skip
    with database.read() as connection:
        claimed = connection.execute(text("SELECT count(*) FROM workspaces WHERE owner LIKE 'o%'")).scalar_one()
    assert claimed == 2 * (pairs + 1), "each was a hit"
    database.close()
