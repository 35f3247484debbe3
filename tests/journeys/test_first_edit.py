"""A newcomer's first edits of the example: `up` shows them, taking them over is one command, and no pool is emptied."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.service import ROOT, Service
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.deploys, pytest.mark.timeout(240)]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of the example beside the package, whose recipe installs nothing."""
    directory = tmp_path / "checkout"
    (directory / "examples").mkdir(parents=True)
    (directory / "prebuild_tasks").symlink_to(ROOT / "prebuild_tasks")
    text = (ROOT / "examples" / "pools.yaml").read_text()
    quick, removed = re.subn(r" +if command -v uv.*? fi\n", "", text, flags=re.DOTALL)
    assert removed == 1
    (directory / "examples" / "pools.yaml").write_text(quick.replace(".venv/bin/python", "python3"))
    return directory


def repository(directory: Path) -> Path:
    directory.mkdir()
    git = ["git", "-C", str(directory), "-c", "user.name=ada", "-c", "user.email=ada@localhost"]
    (directory / "mine.txt").write_text("mine\n")
    for step in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "Mine"]):
        subprocess.run([*git, *step], check=True)
    return directory


def ready(service: Service, pool: str) -> list[Path]:
    """Return the directories of a pool's ready prebuilds, in all its versions."""
    rows = [row for row in service.workspaces("prebuilds") if row["state"] == "ready"]
    return [Path(row["directory"]) for row in rows if row["preset"].partition("@")[0] == pool]


def test_the_first_edits(tmp_path: Path, checkout: Path) -> None:
    example = checkout / "examples" / "pools.yaml"
    service = Service(tmp_path / "home" / "d", PYTHONPATH=str(checkout), PREBUILD_RECONCILE_INTERVAL="1s")
    try:
        up = service.start("up", "--no-serve")
        service.wait_full()
        assert f"pools     {example}, revision 1\n" in service.output()
        assert service.run("apply", str(example)) == "revision 1, nothing changed\n", "the file as it stands"
        assert service.interrupt(up) == 0

        # A size: the next start says so and how to take it over, which needs no confirmation.
        example.write_text(example.read_text().replace("desired: 2\n        ttl", "desired: 1\n        ttl"))
        up = service.start("up", "--no-serve")
        wait_until(lambda: "In a second terminal" in service.output(), timeout=60, what="a service")
        said = service.output()
        assert f"pools     {example} differs from what is declared, revision 1:\n" in said
        assert "          ~ preset python-dev/small: desired 2 -> 1\n" in said
        assert "pools     as declared, revision 1\n" in said
        [line] = re.findall(r"take it over, in a second terminal:\n +(.*)\n", said)
        program, *arguments = shlex.split(line)
        assert Path(program).name == "prebuild"
        assert service.run(*arguments).endswith("revision 2\n")
        wait_until(lambda: len(ready(service, "python-dev/small")) == 1, timeout=60, what="one prebuild")

        # A repository: the pools are replaced one by one, and somebody can claim at any moment.
        mine = repository(tmp_path / "mine")
        example.write_text(example.read_text().replace('REPO: ""', f'REPO: "{mine}"'))
        service.run("apply", str(example))
        seen: set[int] = set()

        def is_replaced() -> bool:
            places = {pool: ready(service, pool) for pool in ("python-dev/small", "python-dev/postgres")}
            seen.update(map(len, places.values()))
            return service.is_full() and all(
                (place / "src" / "mine.txt").exists() for found in places.values() for place in found
            )

        wait_until(is_replaced, timeout=90, what="the prebuilds of the new version", pause=0.1)
        assert min(seen) >= 1, "no pool was ever empty"
        assert service.run("audit") == "clean\n"
        assert service.interrupt(up) == 0
        service.wait_gone()
    finally:
        service.kill()
