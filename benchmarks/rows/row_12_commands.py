"""Interactive commands: `status` and `plan` on a big fleet in seconds, `--help` against its libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.harness import Bound, Result, absolute, compare
from benchmarks.population import TEMPLATES, stock
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.options import ApplyOptions
from tests.support.pool_files import load_text

_PREBUILD = Path(sys.executable).with_name("prebuild")


def run(bench: Bench) -> Iterator[Result]:
    presets = bench.scaled(10_000, 2_000)
    database = bench.database("commands")
    try:
        settings = bench.settings(database)
        apply(database, settings, load_text(_pools(presets, 10)), ApplyOptions(actor="bench"))
        stock(database, presets, 10)
    finally:
        database.close()
    file = bench.directory / "pools.yaml"
    file.write_text(_pools(presets, 10, changed=12))
    environ = {"PREBUILD_DATABASE_URL": database.url, "PREBUILD_REDIS_URL": bench.redis_url}
    environ["PREBUILD_DATA_DIR"] = str(bench.directory / "data")
    times = bench.scaled(7, 3)
    for arguments in (["status"], ["plan", str(file)]):
        yield absolute(
            12,
            f"prebuild {arguments[0]}, {presets:,} presets",
            lambda _, arguments=arguments: _call([_PREBUILD, *arguments], environ),
            times=times,
            bound=Bound(2),
        )
    yield compare(
        12,
        "prebuild --help; python -c 'import typer, rich'",
        lambda _: _call([_PREBUILD, "--help"], {}),
        lambda _: _call([sys.executable, "-c", "import typer, rich"], {}),
        pairs=bench.scaled(31, 21),
        bound=Bound(1.5),
    )


def _call(arguments: Sequence[str | Path], environ: dict[str, str]) -> None:
    subprocess.run(arguments, check=True, capture_output=True, env={**os.environ, **environ})


def _pools(presets: int, each: int, changed: int = 0) -> str:
    """Write a pools file in which every tenth preset has the size `changed`, if it is given."""
    lines = ["schema: 1", "templates:"]
    for template in range(TEMPLATES):
        lines += [f"  - name: template-{template}", "    provisioner: simulated", "    config: {}", "    presets:"]
        for preset in range(template, presets, TEMPLATES):
            desired = changed if changed and preset % 10 == 0 else each
            lines.append(f"      - {{name: preset-{preset}, desired: {desired}, ttl: 8d}}")
    return "\n".join(lines) + "\n"
