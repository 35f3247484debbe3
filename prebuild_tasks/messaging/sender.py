"""Task messages in the form of Celery's protocol, version 2, whatever library sends them.

A lost message costs time, never correctness, because the tick and the sweep read the database. So a failure to send is
logged, and raises nothing.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from prebuild_tasks.logs import get_logger
from prebuild_tasks.messaging.port import NOTHING_SHOWN
from prebuild_tasks.messaging.queues import (
    BUILDS,
    DEFAULT,
    EVENTS,
    RECONCILE,
    RECONCILE_ALL,
    RECONCILE_PRESET,
    RUN_BUILD,
)

log = get_logger(__name__)

CLIENT_DEADLINE = 0.2
"""Seconds that a claim's wake-up may take after the answer; an unreachable Redis can take 20 seconds and more."""


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """A task that is asked for."""

    queue: str
    """The full name of the queue."""
    task: str
    args: Sequence[str]
    kwargs: Mapping[str, object]
    shown: str = ""
    """The text that people see instead of the arguments; empty: the arguments."""

    @property
    def body(self) -> list[object]:
        """The arguments, as Celery's protocol has them."""
        return [list(self.args), dict(self.kwargs), {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]

    def headers(self, task_id: str) -> dict[str, object]:
        """Return the headers. Events and Flower show `argsrepr` and `kwargsrepr`, never the arguments."""
        return {
            "lang": "py",
            "task": self.task,
            "id": task_id,
            "root_id": task_id,
            "parent_id": None,
            "group": None,
            "argsrepr": repr((self.shown,) if self.shown else tuple(self.args)),
            "kwargsrepr": repr(dict(self.kwargs)),
            "origin": "prebuild_tasks",
        }


def new_task_id() -> str:
    """Make the id of a message."""
    return str(uuid.uuid4())


class TaskSender:
    """The `Publisher` of every process, but for the library that sends."""

    not_sent: ClassVar[tuple[type[Exception], ...]]
    """What the library raises when it cannot send."""

    def __init__(self, queue: Callable[..., str]) -> None:
        """Take what makes the full name of a queue from its short one, and a host."""
        self._queue = queue

    def _send(self, messages: Iterable[TaskMessage]) -> int:
        """Send the messages, and return their number."""
        raise NotImplementedError

    def reconcile(self, preset_ids: Sequence[str], *, tick: int = 0, shown: Mapping[str, str] = NOTHING_SHOWN) -> int:
        return self._sent(self._turns(preset_ids, shown, tick))

    def builds(self, build_ids: Mapping[str, Sequence[str]], *, shown: Mapping[str, str] = NOTHING_SHOWN) -> int:
        return self._sent(
            TaskMessage(self._queue(BUILDS, host), RUN_BUILD, [build_id], {}, shown.get(build_id, ""))
            for host, ids in build_ids.items()
            for build_id in ids
        )

    def tick(self) -> bool:
        """Ask for a tick now, whatever the interval. Return whether the message was sent."""
        return self._sent([TaskMessage(self._queue(DEFAULT), RECONCILE_ALL, [], {"force": True})]) == 1

    def to_hosts(self, task: str, requests: Mapping[str, Mapping[str, object]]) -> int:
        """Send a task to builds workers, with arguments by host; `""` is any host. Return the number sent."""
        return self._sent(
            TaskMessage(self._queue(BUILDS, host), task, [], arguments) for host, arguments in requests.items()
        )

    def wake(
        self, preset_ids: Sequence[str], deadline: float = CLIENT_DEADLINE, *, shown: Mapping[str, str] = NOTHING_SHOWN
    ) -> bool:
        """Ask for turns of presets within `deadline` seconds, or give up. Return whether the messages were sent."""
        sent: list[int] = []
        errors = [f"not within {deadline:g} s"]

        def send() -> None:
            # Logs nothing itself: after the deadline nobody waits for it, and the command may have ended.
            try:
                sent.append(self._send(self._turns(preset_ids, shown)))
            except Exception as error:  # noqa: BLE001 - one that is closed meanwhile fails in any way
                errors.append(str(error) or type(error).__name__)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        sender.join(deadline)
        if not sent:
            self._log_not_sent("wake_up_not_sent", errors[-1], presets=len(preset_ids))
        return bool(sent)

    def _turns(self, preset_ids: Sequence[str], shown: Mapping[str, str], tick: int = 0) -> Iterator[TaskMessage]:
        queue = self._queue(RECONCILE if tick else EVENTS)
        kwargs = {"tick": tick} if tick else {}
        return (TaskMessage(queue, RECONCILE_PRESET, [each], kwargs, shown.get(each, "")) for each in preset_ids)

    def _sent(self, messages: Iterable[TaskMessage]) -> int:
        try:
            return self._send(messages)
        except self.not_sent as error:
            self._log_not_sent("not_published", str(error))
            return 0

    def _log_not_sent(self, event: str, error: str, **details: int) -> None:
        log.warning(event, **details, error=error)
