"""A newcomer breaks a template of their own, sees in the plan what they changed, goes back, and repairs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from prebuild_tasks.insight.status.listings import builds
from prebuild_tasks.model.vocabulary import BuildStatus
from tests.support.service import deployed, procfile
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

SITE = """
schema: 1
templates:
  - name: site
    config:
      start: |
        mkdir public
        echo "<h1>$TITLE</h1>" > public/index.html
    presets:
      - name: small
        desired: 1
        replace: {strategy: rolling}
        parameters: {TITLE: Hello, TOKEN: {from_env: OLD_TOKEN}}
"""

BROKEN = SITE.replace("mkdir public", "mkdir -q public").replace("OLD_TOKEN", "NEW_TOKEN").replace("Hello", "Good day")


def test_broken_and_repaired(tmp_path: Path, sqlite_url: str, redis_url: str) -> None:
    tokens = {"OLD_TOKEN": "0ld-s3cret", "NEW_TOKEN": "n3w-s3cret"}
    with deployed(tmp_path, "", sqlite_url, redis_url, **tokens) as service:
        file = service.data_dir.parent / "site.yaml"
        file.write_text(SITE)
        service.fork_celery()
        for name in ("worker", "builds", "beat"):
            service.start(*procfile()[name], program="celery")
        service.run("apply", "site.yaml")
        service.wait_full()
        [good] = [row["version"] for row in service.json("versions", "site")]

        file.write_text(BROKEN)
        assert_planned(service.run("plan", "site.yaml"), good)
        service.run("apply", "site.yaml")
        wait_until(
            lambda: service.asked(lambda database, _: builds(database, status=BuildStatus.FAILED)),
            timeout=60, what="the failed start",
        )  # fmt: skip
        explained = service.run("explain", "site/small")
        assert "start exited with 1: mkdir: invalid option -- 'q'" in explained
        assert f"  prebuild promote site {good} " in explained
        bad, first = service.json("versions", "site")
        assert (bad["active"], bad["last_ready_at"], bad["ready"]) == (True, None, 0)
        assert "invalid option" in bad["last_error"]
        assert (first["version"], first["active"], first["last_error"], first["ready"]) == (good, False, "", 1)
        assert "never" in service.run("versions", "site").splitlines()[1]

        assert service.run("promote", "site", good) == f"site@{good} is now active\n"
        service.wait_full()
        assert "promote" not in service.run("explain", "site/small")

        file.write_text(SITE.replace("TITLE: Hello", "TITLE: Good day"))
        service.run("apply", "site.yaml")
        service.wait_full()
        newest, *_ = service.json("versions", "site")
        assert (newest["active"], newest["last_error"]) == (True, "")
        assert service.run("audit") == "clean\n"


def assert_planned(plan: str, good: str) -> None:
    """Assert that a plan shows the difference of the recipes, and no secret."""
    diff = plan[plan.index(f"\nrecipe of site, {good} -> ") :].partition("\n\n")[0].splitlines()
    assert diff[2:] == [
        "~ config.start:",
        "-   mkdir public",
        "+   mkdir -q public",
        '    echo "<h1>$TITLE</h1>" > public/index.html',
        "- presets.small.parameters.TITLE: Hello",
        "+ presets.small.parameters.TITLE: Good day",
        "- presets.small.parameters.TOKEN: {from_env: OLD_TOKEN}",
        "+ presets.small.parameters.TOKEN: {from_env: NEW_TOKEN}",
    ]
    assert "s3cret" not in plan
