"""A declared pool of containers is filled, claimed from, personalised, refilled and removed."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.config import Settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.insight.invariants import audit
from prebuild_tasks.insight.status.listings import build_log
from prebuild_tasks.model.vocabulary import BuildStatus
from prebuild_tasks.pools.declare import apply
from prebuild_tasks.pools.file.load import load_pools
from prebuild_tasks.pools.options import ApplyOptions
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.schema import tables as m
from prebuild_tasks.workspaces.release import end_workspace
from tests.provisioners.engine import PLAIN, Engine
from tests.support.builders import turn, workspaces
from tests.support.pool_files import load_text

PRESET = "dev/small"
POOLS = f"""
schema: 1
templates:
  - name: dev
    provisioner: docker
    config:
      image: {PLAIN}
      command: |
        trap 'exit 0' TERM
        echo "made of $SOURCE with $TOKEN"; echo "$SOURCE" > source
        while :; do sleep 0.1; done
      workspace: /home/dev
      working_dir: /home/dev
      ready: test -f source
      claim: echo "hello $PREBUILD_OWNER"; echo "$PREBUILD_OWNER" > owner
      memory: 64m
      ulimits: {{nofile: 1024, nproc: 1024}}
    presets:
      - {{name: small, desired: 2, parameters: {{SOURCE: here, TOKEN: {{from_env: TEST_TOKEN}}}}}}
"""


def run_all(database: Database, runner: BuildRunner) -> list[str]:
    with database.read() as connection:
        query = select(m.Build.id).where(m.Build.status == BuildStatus.PENDING)
        pending = list(connection.execute(query).scalars())
    return [runner.run(build_id).outcome for build_id in pending]


@pytest.mark.docker
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_pool_of_containers(
    engine: Engine, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_TOKEN", "s3cret-token")
    provisioners = Provisioners(settings)
    runner = BuildRunner(database, settings, provisioners)
    apply(database, settings, load_text(POOLS), ApplyOptions(actor="test"))
    try:
        turn(database, settings, PRESET)
        assert run_all(database, runner) == ["succeeded", "succeeded"]
        rows = workspaces(database)
        assert {row.directory for row in rows} == {"/home/dev"}
        assert {row.host for row in rows} == {"here"}, "an engine on a socket is this host's own"
        assert build_log(database, rows[0].name).text == "made of here with ***\n"

        answer = claim(database, ClaimRequest(owner="ada", presets=[PRESET], request_id="r1")).answer
        assert run_all(database, runner) == ["succeeded"]
        with engine.api() as api:
            owner = api.exec_start(api.exec_create(answer.resource_id, ["cat", "/home/dev/owner"])["Id"])
        assert owner == b"ada\n"

        turn(database, settings, PRESET)
        assert run_all(database, runner) == ["succeeded"], "the claimed one is replaced"
        assert audit(database, settings, provisioners) == []

        end_workspace(database, answer.workspace, actor="test")
        assert run_all(database, runner) == ["succeeded"]
        assert audit(database, settings, provisioners) == []
        assert [row.name for row in workspaces(database) if row.name == answer.workspace] == []
    finally:
        runner.close()
        for row in workspaces(database):
            engine.sweep(f"prebuild_tasks.workspace={row.id}")


def test_the_example_is_a_pools_file_that_the_provisioner_takes(settings: Settings) -> None:
    example = Path(__file__).parents[2] / "examples" / "docker.yaml"
    checked: list[str] = []

    def check(name: str, config: object) -> None:
        checked.append(name)
        Provisioners(settings).get(name).check_config(config)  # type: ignore[arg-type]

    load_pools([example], check_config=check)
    assert checked == ["docker"]
