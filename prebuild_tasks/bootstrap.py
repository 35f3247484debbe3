"""The composition root: the dependencies of a process, built from its settings.

Each dependency is created on first use, once per process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property

from prebuild_tasks.builds import HARD_GRACE, BuildRunner, IsolatedProcesses, SilentProvisioners
from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.db.engine import Database
from prebuild_tasks.fleet import Presence, Role
from prebuild_tasks.messaging import Messages, connect
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.reconcile import Locks, PoolReconciler, Reconciler


class Runtime:
    """The dependencies of one process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def database(self) -> Database:
        return Database.of(self.settings)

    @cached_property
    def locks(self) -> Locks:
        return Locks(connect(self.settings.resolved_redis_url), self.settings.namespace, self.settings.lock_ttl)

    @cached_property
    def messages(self) -> Messages:
        return Messages(self.settings)

    @cached_property
    def provisioners(self) -> Provisioners:
        return Provisioners(self.settings)

    @cached_property
    def reconciler(self) -> Reconciler:
        return PoolReconciler(self.database, self.settings, self.locks, self.messages)

    @cached_property
    def isolated(self) -> IsolatedProcesses:
        return IsolatedProcesses(self.settings, grace=2 * HARD_GRACE)

    @cached_property
    def silent(self) -> SilentProvisioners:
        return SilentProvisioners()

    @cached_property
    def build_runner(self) -> BuildRunner:
        return BuildRunner(self.database, self.settings, self.provisioners, self.isolated, silent=self.silent)

    def presence(self, role: Role, queues: Callable[[], Sequence[str]] = tuple) -> Presence:
        """Return what announces this process in the database, over its own connections."""
        return Presence(Database.of(self.settings), self.settings, role, queues)

    def close(self) -> None:
        """Stop renewing leases and close the connections to the database; call it when no build runs any more."""
        if "build_runner" in self.__dict__:
            self.build_runner.close()
        if "database" in self.__dict__:
            self.database.close()


_current: tuple[int, Runtime] | None = None


def runtime() -> Runtime:
    """Return the dependencies of this process.

    A forked child gets its own, because connections must not be shared.
    """
    global _current  # noqa: PLW0603 - the one place that holds state per process
    if _current is None or _current[0] != os.getpid():
        _current = (os.getpid(), Runtime(load_settings()))
    return _current[1]
