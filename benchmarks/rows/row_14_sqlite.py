"""CPU of whole processes on SQLite: `claim` and `status` of a few pools, against release 0.1.0.

Both run on this environment's packages, each on its own copy of one database, which both releases serve. What release
0.1.0 needs and this one does not is replaced by an empty module, which only makes the comparison harder.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sqlalchemy import text

from benchmarks.bench import Bench
from benchmarks.harness import Bound, Result, compare, reported
from benchmarks.processes import BIN, ROOT
from benchmarks.rows.row_13_shell import cpu_of
from prebuild_tasks.db.engine import Database
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from tests.support import old_tree
from tests.support.builders import fill, staffed
from tests.support.pool_files import load_text

_POOLS, _EACH = 10, 10
_CLAIMED = "dev/pool-0"
_BEFORE = "import sys; from prebuild_tasks.cli.main import main; sys.exit(main())"
_MISSING = {"coolname.py": "def generate_slug(*_: object) -> str:\n    raise NotImplementedError\n"}
"""Modules that release 0.1.0 imports for every command, and calls for none of those that are measured."""


def run(bench: Bench) -> Iterator[Result]:
    pairs = bench.scaled(21, 11)
    place = bench.directory / "sqlite"
    place.mkdir()
    try:
        tree = old_tree.unpack(place / "before")
    except old_tree.NoHistoryError as error:
        yield reported(14, "CPU on SQLite, of release 0.1.0's", {"not measured": str(error)})
        return
    for name, source in _MISSING.items():
        (tree / name).write_text(source)
    ours, theirs = (place / f"{name}.db" for name in ("ours", "theirs"))
    _stock(bench, ours, pairs + 1)
    shutil.copy(ours, theirs)
    new, old = [BIN / "prebuild"], [sys.executable, "-P", "-c", _BEFORE]
    environ = _environment(bench, ours, ROOT)
    environ_before = _environment(bench, theirs, tree)
    _require_release(environ_before, tree)
    owners = (f"o{number}" for number in itertools.count())

    def claim() -> Sequence[str]:
        return ("claim", _CLAIMED, "--owner", next(owners))

    yield compare(
        14, "CPU of prebuild claim on SQLite; of release 0.1.0's",
        lambda _: cpu_of([*new, *claim()], environ), lambda _: cpu_of([*old, *claim()], environ_before),
        pairs=pairs, bound=Bound(0.6),
    )  # fmt: skip
    yield compare(
        14, "CPU of prebuild status on SQLite, 10 pools; of release 0.1.0's",
        lambda _: cpu_of([*new, "status"], environ), lambda _: cpu_of([*old, "status"], environ_before),
        pairs=pairs, bound=Bound(0.6),
    )  # fmt: skip
    assert [_claimed(path) for path in (ours, theirs)] == [pairs + 1] * 2, "each was a hit"


def _stock(bench: Bench, path: Path, claims: int) -> None:
    """Make a database with full pools, the first of which is large enough for this number of claims."""
    database = Database(f"sqlite:///{path}")
    try:
        database.upgrade()
        sizes = [claims + _EACH, *[_EACH] * (_POOLS - 1)]
        presets = ", ".join(f"{{name: pool-{number}, desired: {size}}}" for number, size in enumerate(sizes))
        declared = f"schema: 1\ntemplates: [{{name: dev, provisioner: simulated, config: {{}}, presets: [{presets}]}}]"
        settings = bench.settings(database)
        apply(database, settings, load_text(declared), ApplyOptions(actor="bench"))
        for number in range(_POOLS):
            fill(database, settings, f"dev/pool-{number}")
        staffed(database, settings)  # a claim warns if nobody is at work
    finally:
        database.close()  # the last connection writes the log into the file, which is then copied


def _environment(bench: Bench, path: Path, tree: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"], "HOME": str(bench.directory), "PYTHONPATH": str(tree),
        "PREBUILD_DATABASE_URL": f"sqlite:///{path}", "PREBUILD_REDIS_URL": bench.redis_url,
        "PREBUILD_DATA_DIR": str(path.with_suffix("")), "PREBUILD_HEARTBEAT_TIMEOUT": "1h",
    }  # fmt: skip


def _require_release(environ: Mapping[str, str], tree: Path) -> None:
    """Raise AssertionError if the other code would be measured, which is installed in this environment."""
    imported = subprocess.run(
        [sys.executable, "-P", "-c", "import prebuild_tasks; print(prebuild_tasks.__file__)"],
        env=dict(environ), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(imported.stdout.strip()).is_relative_to(tree), imported.stdout


def _claimed(path: Path) -> int:
    database = Database(f"sqlite:///{path}")
    try:
        with database.read() as connection:
            query = text("SELECT count(*) FROM workspaces WHERE owner LIKE 'o%'")
            return int(connection.execute(query).scalar_one())
    finally:
        database.close()
