"""A pool of forked processes that replaces every child that died."""

from __future__ import annotations

from celery.concurrency import prefork
from celery.concurrency.asynpool import AsynPool


class ForkPool(AsynPool):
    """Celery's pool, which has queues for every new child.

    Celery frees the queues of a child that died only once the worker has been connected. A child that dies before, as
    while Redis is away, kept its own for ever: no child could be started in its place, and the clean-up after the next
    lost connection ended the worker.
    """

    _queues: dict[object, object]
    """The child that uses each set of queues; None: it is free."""
    _pool: list[object]
    """The children."""

    def get_process_queues(self) -> object:
        """Return a free set of queues; a new one in place of one whose child is gone."""
        if None not in self._queues.values():
            self._queues = {queues: child for queues, child in self._queues.items() if child in self._pool}
            self._queues[self.create_process_queues()] = None
        return super().get_process_queues()


def install_pool() -> None:
    """Let the workers of this process that fork use the pool."""
    prefork.TaskPool.Pool = ForkPool
