"""After a failover, processes find the new primary by themselves.

They used to stay on the old primary, a read-only standby by then, until they were restarted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import cast

import pytest
from sqlalchemy import Connection, insert, text

from prebuild_tasks.client import Client
from prebuild_tasks.clock import monotonic, utcnow
from prebuild_tasks.config import Settings
from prebuild_tasks.db import sessions
from prebuild_tasks.db.engine import Database, is_read_only
from prebuild_tasks.db.sessions import Driver
from prebuild_tasks.errors import PrebuildError, UnreachableError
from prebuild_tasks.schema import tables as m
from tests.support.api import serving
from tests.support.proxy import Proxy
from tests.support.servers import migrate, restartable_postgres
from tests.support.standby import Pair, asked, with_standby
from tests.support.wait import wait_until

IN_USE = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'prebuild_tasks'"


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with restartable_postgres() as primary:
        migrate(primary.url.format("postgres"))
        with with_standby(primary) as pair:
            yield pair


@pytest.fixture
def proxy(pair: Pair) -> Iterator[Proxy]:
    with Proxy(pair.primary.socket).run() as proxy:
        yield proxy


def write(database: Database, key: str = "k") -> None:
    with database.write() as connection:
        connection.execute(text("DELETE FROM settings WHERE key = :key"), {"key": key})
        connection.execute(insert(m.Setting).values(key=key, value={}, updated_at=utcnow(), updated_by="t"))


def is_standby(database: Database) -> bool:
    with database.read() as connection:
        return bool(connection.execute(text("SELECT pg_is_in_recovery()")).scalar_one())


def through(proxy: Proxy) -> str:
    return f"postgresql+psycopg://postgres@127.0.0.1:{proxy.port}/postgres"


def test_writes_go_to_the_new_primary_as_soon_as_the_name_means_it(pair: Pair, proxy: Proxy) -> None:
    client = Client(through(proxy))
    database = client.database
    several(database, 4)
    pair.fail_over()
    for _ in range(3):  # the name still leads to the old primary
        with pytest.raises(UnreachableError, match="read-only") as caught:
            write(database)
        assert "without a restart" in caught.value.hint
    with pytest.raises(UnreachableError):
        client.claim("dev/small", owner="ada")
    several(database, 4)
    proxy.lead_to(pair.primary.socket)
    with suppress(UnreachableError):  # at most the connections that it finds are lost
        write(database)
    write(database)
    assert not is_standby(database)
    wait_until(lambda: asked(pair.standby, IN_USE) == 0, what="no connection to the standby")
    client.close()


def several(database: Database, count: int) -> None:
    """Use several connections at the same time."""
    together = threading.Barrier(count)

    def use() -> None:
        with suppress(PrebuildError), database.read() as connection:
            connection.execute(text("SELECT 1"))
            together.wait(60)

    threads = [threading.Thread(target=use) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_who_only_reads_leaves_a_standby_too(pair: Pair, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(through(proxy))
    pair.fail_over()
    assert is_standby(database)
    with database.read() as connection:
        assert is_read_only(database, connection)
    proxy.lead_to(pair.primary.socket)
    assert is_standby(database), "the same connection"
    monkeypatch.setattr(sessions, "AGE_MAX_ON_STANDBY", 0.0)
    assert not is_standby(database)
    with database.read() as connection:
        assert not is_read_only(database, connection)
    database.close()


def test_a_primary_that_vanishes_without_closing_is_given_up(proxy: Proxy) -> None:
    """Whoever waited for it, or wrote to it, hung until the system gave up after a quarter of an hour."""
    client = Client(through(proxy))
    database = client.database
    errors: list[PrebuildError] = []

    def wait() -> None:
        try:
            database.run("SELECT pg_sleep(600)", {})
        except PrebuildError as error:
            errors.append(error)

    several(database, 2)
    waits = threading.Thread(target=wait, daemon=True)
    waits.start()
    wait_until(lambda: database.engine.pool.checkedout() == 1, what="a statement under way")  # type: ignore[attr-defined]
    proxy.vanish()
    started = monotonic()
    with pytest.raises(UnreachableError):
        client.claim("dev/small", owner="ada")
    waits.join(15)
    took = monotonic() - started
    proxy.reappear()
    write(database)
    client.close()
    assert [type(error) for error in errors] == [UnreachableError]
    assert took < 15


def test_a_first_connection_that_is_lost_at_once_is_unreachable(
    pair: Pair, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLAlchemy's own first statements failed, and NotImplementedError left the package."""
    client = Client(through(proxy))

    def initialize(connection: Connection) -> None:
        asked(pair.primary, IN_USE.replace("count(*)", "count(pg_terminate_backend(pid))"))
        connection.exec_driver_sql("SELECT 1")

    monkeypatch.setattr(client.database.engine.dialect, "initialize", initialize)
    for use in (lambda: client.claim("dev/small", owner="ada"), lambda: write(client.database)):
        with pytest.raises(UnreachableError):
            use()
    monkeypatch.undo()
    write(client.database)
    client.close()


def test_the_url_may_say_how_long_a_silent_peer_is_waited_for(proxy: Proxy) -> None:
    database = Database(f"{through(proxy)}?keepalives_idle=1&keepalives_count=2&tcp_user_timeout=1000")
    with database.read() as connection:
        given = cast("Driver", connection.connection.driver_connection).info.get_parameters()
    database.close()
    names = ("keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
    assert [given[name] for name in names] == ["1", "2", "2", "1000"]


def test_connections_have_a_maximum_age(pair: Pair, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(through(proxy))
    first = _pid(database)
    assert _pid(database) == first
    monkeypatch.setattr(sessions, "AGE_MAX", 0.2)
    wait_until(lambda: _pid(database) != first, what="a new connection")
    database.close()


def _pid(database: Database) -> int:
    row = database.run("SELECT pg_backend_pid()", {})
    assert row
    return int(str(row[0]))


def test_of_several_hosts_the_primary_is_used(pair: Pair, settings: Settings) -> None:
    with Proxy(pair.standby.socket).run() as standby, Proxy(pair.primary.socket).run() as primary:
        hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
        database = Database(f"postgresql://postgres@{hosts}/postgres")
        write(database)
        with serving(database, settings) as api:
            assert api.post("/v1/pools/pause").status_code == 200
            pair.fail_over()
            with suppress(UnreachableError):
                write(database)
            write(database)
            # Over HTTP, too, at most the connection that is found is lost: no 500, and no restart.
            answers = [api.post("/v1/pools/resume") for _ in range(3)]
            assert answers[0].status_code in (200, 503), answers[0].text
            assert [answer.status_code for answer in answers[1:]] == [200, 200]
            assert api.get("/readyz").text == "ready"
        database.close()
        replica = Database(f"postgresql://postgres@{hosts}/postgres?target_session_attrs=standby")
        assert is_standby(replica)
        replica.close()
