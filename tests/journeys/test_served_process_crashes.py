"""A newcomer's server crashes, then warms up for long: the commands that they look at say what happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from prebuild_tasks.insight.status.listings import builds
from prebuild_tasks.insight.status.views import BuildView
from prebuild_tasks.model.vocabulary import BuildStatus
from tests.support.service import Service, deployed, procfile
from tests.support.wait import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

POOLS = """
schema: 1
templates:
  - name: site
    config:
      start: echo built
      serve: |
        echo "listening on $PORT"
        {serve}
      ready: {ready}
    presets:
      - {{name: small, desired: 1, ready_timeout: {timeout}}}
"""


def test_a_crash_and_a_long_wait(tmp_path: Path, sqlite_url: str, redis_url: str) -> None:
    go = tmp_path / "go"
    declare = {"serve": "echo no module named flask >&2; exit 1", "ready": "'echo cold; exit 1'", "timeout": "1h"}
    # No build is taken from a worker that a busy machine keeps waiting: it would not wait to become ready meanwhile.
    patience = {"PREBUILD_HEARTBEAT_TIMEOUT": "20s"}
    with deployed(tmp_path, POOLS.format(**declare), sqlite_url, redis_url, **patience) as service:
        pools = service.data_dir.parent / "pools.yaml"
        service.fork_celery()
        for name in ("worker", "builds", "beat"):
            service.start(*procfile()[name], program="celery")
        service.run("apply", "pools.yaml")
        # It crashes: within moments, not after the hour that it has, the cause is in every command.
        wait_until(lambda: seen(service, BuildStatus.FAILED), timeout=60, what="the failed start")
        assert_told(service)

        # The repaired one takes long to warm up.
        declare |= {"serve": "exec sleep 1000", "ready": f"'test -e {go} || {{ echo still cold; exit 1; }}'"}
        pools.write_text(POOLS.format(**declare))
        service.run("apply", "pools.yaml")
        [waits] = wait_until(
            lambda: [row for row in seen(service, BuildStatus.RUNNING) if row.waits],
            timeout=60,
            what="a start that waits",
        )
        assert "ready exited with 1: still cold" in waits.waits
        explained = service.run("explain", "site/small")
        assert "1 start ran, and waits to become ready; build " in explained
        assert "ready exited with 1: still cold" in explained
        assert service.run("logs", waits.build).splitlines()[-1].startswith("not ready yet: asked ")
        told = service.run("invalidate", "site/small")
        left = "1 start under way, to be replaced once ready"
        assert told == f"0 prebuilds of site/small are being replaced; left alone: {left}\n"

        # A shorter time applies to the build under way, without a new version.
        pools.write_text(POOLS.format(**{**declare, "timeout": "1s"}))
        assert "ready_timeout 1h -> 1s" in service.run("apply", "pools.yaml")
        [ended] = wait_until(
            lambda: [row for row in seen(service, BuildStatus.FAILED) if row.build == waits.build],
            timeout=60, what="the end of the wait",
        )  # fmt: skip
        assert ended.error == "not ready within 1 s: ready exited with 1: still cold"

        go.touch()
        service.run("unblock", "site/small")
        service.wait_full()
        assert service.run("audit") == "clean\n"


def seen(service: Service, status: BuildStatus) -> list[BuildView]:
    return service.asked(lambda database, _: builds(database, status=status))


def assert_told(service: Service) -> None:
    """Assert that the cause of the crash is in every command."""
    [failed] = service.json("builds", "--status", "failed")
    assert failed["error"].startswith("the served process ended: ")
    explained = service.run("explain", "site/small")
    assert "failed: the served process ended: " in explained
    assert "no module named flask" in explained
    assert "1 failed prebuild kept for diagnosis" in explained
    assert f"prebuild logs {failed['build'][:8]} " in explained
    assert "no module named flask" in service.run("status")
    log = service.run("logs", failed["build"][:8])
    assert log.startswith("built\noutput of the served process:\nlistening on ")
    served = service.run("logs", failed["workspace"], "--serve")
    assert served.startswith("listening on ")
    assert served.endswith("\nno module named flask\n")
