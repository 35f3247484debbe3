"""The composition root: the dependencies of a process, built from its settings.

Each dependency is imported and created on first use, once per process: most commands need only the database.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from prebuild_tasks.config import Settings, load_settings
from prebuild_tasks.db.engine import Database

if TYPE_CHECKING:
    from prebuild_tasks.access import InstallationKeys
    from prebuild_tasks.builds import BuildRunner, IsolatedProcesses, SilentProvisioners
    from prebuild_tasks.fleet import Presence, Role
    from prebuild_tasks.messaging import Messages
    from prebuild_tasks.provisioners import Provisioners
    from prebuild_tasks.reconcile import Locks, Reconciler
    from prebuild_tasks.webhooks import DeliveryRunner, Webhooks


class Runtime:
    """The dependencies of one process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def database(self) -> Database:
        return Database.of(self.settings)

    @cached_property
    def keys(self) -> InstallationKeys:
        """The installation's keys. Raises InputError for a file that does not hold one, or that others can read."""
        from prebuild_tasks.access import installation_keys

        return installation_keys(self.settings.secret_key_file, self.settings.data_dir)

    @cached_property
    def webhooks(self) -> Webhooks:
        """The webhooks. Raises InputError as `keys` does."""
        from prebuild_tasks.webhooks import AllowedReceivers, EventLog, Webhooks

        allowed = AllowedReceivers.of(self.settings.webhook_allow)
        return Webhooks(self.database, self.keys, allowed, EventLog(self.database))

    def delivery_runner(self, name: str) -> DeliveryRunner:
        """Return what makes deliveries in the name of this process. Raises InputError as `keys` does."""
        from prebuild_tasks.webhooks import AllowedReceivers, DeliveryRunner

        return DeliveryRunner(self.database, self.keys, AllowedReceivers.of(self.settings.webhook_allow), name)

    @cached_property
    def locks(self) -> Locks:
        from prebuild_tasks.messaging import connect
        from prebuild_tasks.reconcile import Locks

        return Locks(connect(self.settings.resolved_redis_url), self.settings.namespace, self.settings.lock_ttl)

    @cached_property
    def messages(self) -> Messages:
        from prebuild_tasks.messaging import Messages

        return Messages(self.settings)

    @cached_property
    def provisioners(self) -> Provisioners:
        from prebuild_tasks.provisioners import Provisioners

        return Provisioners(self.settings)

    @cached_property
    def reconciler(self) -> Reconciler:
        from prebuild_tasks.reconcile import PoolReconciler

        return PoolReconciler(self.database, self.settings, self.locks, self.messages)

    @cached_property
    def isolated(self) -> IsolatedProcesses:
        from prebuild_tasks.builds import HARD_GRACE, IsolatedProcesses

        return IsolatedProcesses(self.settings, grace=2 * HARD_GRACE)

    @cached_property
    def silent(self) -> SilentProvisioners:
        from prebuild_tasks.builds import SilentProvisioners

        return SilentProvisioners()

    @cached_property
    def build_runner(self) -> BuildRunner:
        from prebuild_tasks.builds import BuildRunner

        return BuildRunner(self.database, self.settings, self.provisioners, self.isolated, silent=self.silent)

    def presence(
        self,
        role: Role,
        queues: Callable[[], Sequence[str]] = tuple,
        announced: Callable[[Database, str], None] = lambda _database, _name: None,
    ) -> Presence:
        """Return what announces this process in the database, over its own connections."""
        from prebuild_tasks.fleet import Presence

        return Presence(Database.of(self.settings), self.settings, role, queues, announced)

    def close(self) -> None:
        """Stop renewing leases and close the connections to the database; call it when no build runs any more."""
        if "build_runner" in self.__dict__:
            self.build_runner.close()
        if "database" in self.__dict__:
            self.database.close()


def load_all() -> None:
    """Import what a `Runtime` may need. A worker does so before it forks, so that its children share the memory."""
    from prebuild_tasks.builds import BuildRunner, IsolatedProcesses
    from prebuild_tasks.fleet import Presence
    from prebuild_tasks.messaging import Messages, connect
    from prebuild_tasks.provisioners import Provisioners
    from prebuild_tasks.reconcile import Locks, PoolReconciler

    _ = (BuildRunner, IsolatedProcesses, Presence, Messages, connect, Provisioners, Locks, PoolReconciler)


_current: tuple[int, Runtime] | None = None


def runtime() -> Runtime:
    """Return the dependencies of this process.

    A forked child gets its own, because connections must not be shared.
    """
    global _current  # noqa: PLW0603 - the one place that holds state per process
    if _current is None or _current[0] != os.getpid():
        _current = (os.getpid(), Runtime(load_settings()))
    return _current[1]
