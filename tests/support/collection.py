"""The marks of the tests, their order, and which of them share something: known once all are collected."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

_TESTS = Path(__file__).parents[1]
_SERVERS = {"redis_server", "redis_url", "module_redis_url", "postgres_server", "postgres_url", "module_postgres_url"}
_DATABASES = ("sqlite", "sqlite", "sqlite", "postgresql")
"""The databases of four tests in `make test`: one on PostgreSQL takes twice as long."""


def _variants_for_later(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Return the variants that `make test` leaves out: one of each two that only the database tells apart."""
    pairs = defaultdict[str, dict[str, pytest.Item]](dict)
    for item in items:
        kind = _database(item)
        if kind in _DATABASES:
            pairs[item.nodeid.replace(kind, "")][kind] = item
    for name, pair in pairs.items():
        if len(pair) > 1:  # which of them depends on nothing but the name
            del pair[_DATABASES[zlib.crc32(name.encode()) % len(_DATABASES)]]
            yield from pair.values()


def _database(item: pytest.Item) -> str:
    """Return the kind of database that a test is one variant for; empty: there are none."""
    return str(getattr(getattr(item, "callspec", None), "params", {}).get("database_url", ""))


def _directory(item: pytest.Item) -> str:
    return item.path.relative_to(_TESTS).parts[0]


def mark(items: list[pytest.Item]) -> None:
    """Mark tests that need a server, by their fixtures, or wait, by their file; `make test-fast` leaves both out.

    Further those of the house, and what only `make test-thorough` runs.
    """
    for item in _variants_for_later(items):
        item.add_marker("thorough")
    for item in items:
        if _directory(item) == "house":
            item.add_marker("house")
        names = set(getattr(item, "fixturenames", ()))
        # The SQLite variant of a test does not need a server.
        if names & _SERVERS or _database(item) == "postgresql":
            item.add_marker("servers")
        if item.path.parent.name in ("provisioners", "faults") or item.path.name.startswith("test_runner"):
            item.add_marker("slow")


def put_in_order(items: list[pytest.Item]) -> None:
    """Let tests that start processes or wait begin first: at the end, they would run alone.

    Those that share the deployment of the fault table follow each other, or each part would start its own.
    """
    items.sort(key=lambda item: not any(map(item.get_closest_marker, ("e2e", "slow"))))
    items.sort(key=lambda item: "deployment" not in getattr(item, "fixturenames", ()))
    items.sort(key=lambda item: item.path.name not in ("test_upgrade.py", "test_consumer_outages.py"))


_TOGETHER = {
    "tests/faults/test_lock_order.py": "deployment",
    "tests/faults/test_table.py": "deployment",
    "tests/faults/test_poison.py": "deployment",
    "tests/faults/test_mixed.py": "deployment",
    "tests/faults/test_failover.py": "deployment",
    "tests/faults/test_outages.py": "deployment",
    "tests/faults/test_provider_outage.py": "deployment",
    "tests/faults/test_door.py": "deployment",
    "tests/faults/test_soak.py": "deployment",
    "tests/e2e/test_operating.py": "workers",
    "tests/e2e/test_workers.py": "workers",
    "tests/faults/test_builds_workers.py": "workers",
    "tests/journeys/test_own_template_broken_and_repaired.py": "workers",
    "tests/journeys/test_served_process_crashes.py": "workers",
    "tests/worker/test_beat_stop_while_sending.py": "workers",
    "tests/worker/test_control_worker_slow_stop.py": "workers",
    "tests/worker/test_namespaces.py": "workers",
    "tests/e2e/test_serve.py": "up",
    "tests/e2e/test_portal_in_javascript.py": "up",
    "tests/e2e/test_docs_commands.py": "docs",
    "tests/e2e/test_http_docs.py": "http docs",
    "tests/journeys/test_machines.py": "machines",
    "tests/e2e/test_up.py": "machines",
    "tests/worker/test_consumer.py": "machines",
    "tests/worker/test_app.py": "celery",
    "tests/worker/test_flower.py": "celery",
    "tests/worker/test_flower_tls.py": "celery",
    "tests/cli/test_untrusted_redis.py": "celery",
    "tests/worker/test_other_app.py": "celery",
    "tests/db/test_failover.py": "standby",
    "tests/messaging/test_redis_tls.py": "tls",
    "tests/house/test_follow_ups.py": "follow-ups",
    "tests/house/test_imports.py": "imports",
}
"""Files whose tests share a running process, a server of forks, or what takes seconds to make.

With several test processes, one of them runs all of a file.
"""


class Together(LoadScopeScheduling):
    """Distributes each test by itself, except those that share something.

    xdist's own groups rename nodes, which pytest 9.2 no longer allows: each process started its own deployment.
    """

    def _split_scope(self, nodeid: str) -> str:
        if self.config.getoption("--fault-results"):
            return nodeid  # takes hours, mostly waiting, so each test process has its own deployment
        return _TOGETHER.get(nodeid.partition("::")[0], nodeid)
