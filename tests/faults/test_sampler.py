"""The sampler of the fault table reports what is lost, not what a standby has not received yet."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.client import Client
from prebuild_tasks.config import Settings
from prebuild_tasks.errors import UnreachableError
from tests.faults.load import Sampler
from tests.support.builders import PRESET, declare_simulated, fill_really
from tests.support.proxy import Proxy
from tests.support.servers import migrate, restartable_postgres
from tests.support.standby import asked, with_standby


@pytest.mark.thorough
def test_it_reads_no_standby(tmp_path: Path) -> None:
    """Row 17 failed for it: the name of a primary leads to a standby for some seconds after a failover."""
    with restartable_postgres() as primary, with_standby(primary) as pair, Proxy(pair.standby.socket).run() as name:
        url = primary.url.format("postgres")
        migrate(url)
        settings = Settings(data_dir=tmp_path, host="here", database_url=url)
        with closing(Runtime(settings)) as here:
            declare_simulated(here.database, settings, 1)
            fill_really(here.database, settings, here.build_runner)
        pair.wait_caught_up()
        through = f"postgresql+psycopg://postgres@127.0.0.1:{name.port}/postgres"
        sampler = Sampler(settings.model_copy(update={"database_url": through}), 0.1)
        asked(pair.standby, "SELECT 1 FROM pg_wal_replay_pause()")
        with Client(settings=settings) as client:
            answer = client.claim(PRESET, owner="ada")
        sampler.answered(f"{answer.owner}/{answer.workspace}")
        with pytest.raises(UnreachableError, match="read-only"):
            sampler.look()
        name.lead_to(pair.primary.socket)
        sampler.look()
        assert (sampler.violations, sampler.samples) == ([], 1)
        sampler.stop()
