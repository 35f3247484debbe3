"""Open pages while PostgreSQL is away: they say so, and go on by themselves."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from prebuild_tasks.pools.operations import pause
from tests.support.door import FULL, doors
from tests.support.live import live_addresses, logged_in, watching
from tests.support.servers import migrate, restartable_postgres

pytestmark = [pytest.mark.e2e, pytest.mark.thorough, pytest.mark.timeout(120)]


def test_pages_are_told_that_postgresql_is_away_and_what_they_missed(tmp_path: Path) -> None:
    with restartable_postgres() as server:
        migrate(server.url.format("postgres"))
        with doors(tmp_path, server.url.format("postgres")) as service:
            service.stock(2)
            url, _ = service.serve()
            with logged_in(url, service.token()) as client:
                pages = [client.get(path).text for path in ("/pools", "/waiting")]
                with watching(client, live_addresses(*pages)) as changes:
                    views = {changes.next()["view"] for _ in pages}
                    away_at = datetime.now(UTC)
                    server.process.send_signal(signal.SIGQUIT)
                    server.process.wait(60)
                    stale = {told["view"]: told for told in (changes.next("stale") for _ in pages)}
                    assert stale.keys() == views
                    for told in stale.values():
                        assert told["why"] == "the database does not answer"
                        assert datetime.fromisoformat(told["since"]) <= away_at
                    server.start()
                    server.wait_ready()
                    assert changes.next()["view"] in views, "also if nothing has changed"
                    service.asked(lambda database, _: pause(database, FULL, actor="test"))
                    assert [part["id"] for part in changes.next_parts()["parts"]] == [f"pool-{FULL}"]
