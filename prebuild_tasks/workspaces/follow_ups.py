"""Follow-ups of commits: what remains to be sent, and in which order. No database is loaded, as a claim needs none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from prebuild_tasks.clock import monotonic
from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.faultpoints import step
from prebuild_tasks.logs import get_logger
from prebuild_tasks.messaging import NOTHING_SHOWN, Publisher
from prebuild_tasks.model.names import PresetRef

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NewBuild:
    """A pending build that has no message yet."""

    id: str
    queue: str
    """The host whose queue it is in; empty: the shared queue."""
    work: str = ""
    """What it does to which workspace, for people; empty if that was not read."""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """The messages that remain to be sent after a commit. False if there are none; `|` joins two.

    A service that writes returns one, alone or in its result, and its caller sends it after the commit. Do not drop it:
    nothing is built and no pool is refilled until the sweep or the tick makes up for it.
    """

    builds: tuple[NewBuild, ...] = ()
    """Pending builds that have no message yet, in the order in which they are sent."""
    wake: Mapping[int, str] = field(default_factory=dict)
    """Presets that get a turn: the name for people by id, empty if it was not read."""

    @classmethod
    def of(cls, builds: Iterable[NewBuild] = (), wake: Iterable[int] = (), *, ref: PresetRef | None = None) -> FollowUp:
        """Make a follow-up.

        Args:
            builds: Builds to send.
            wake: Ids of presets that get a turn.
            ref: The presets' name; None: it was not read.
        """
        return cls(tuple(builds), dict.fromkeys(wake, str(ref or "")))

    def __bool__(self) -> bool:
        """Return whether there is anything to send."""
        return bool(self.builds or self.wake)

    def __or__(self, other: FollowUp) -> FollowUp:
        """Join two, the builds in order; a preset's name is kept where either has it."""
        named = {preset_id: ref for preset_id, ref in other.wake.items() if ref or preset_id not in self.wake}
        return FollowUp(self.builds + other.builds, {**self.wake, **named})

    def builds_by_host(self) -> dict[str, list[NewBuild]]:
        """Return the builds by the host whose queue they are in, in their order."""
        by_host: dict[str, list[NewBuild]] = {}
        for build in self.builds:
            by_host.setdefault(build.queue, []).append(build)
        return by_host


class DeadlinePublisher(Publisher, Protocol):
    """A publisher that can also send within a deadline."""

    def wake(self, preset_ids: Sequence[str], deadline: float, *, shown: Mapping[str, str] = NOTHING_SHOWN) -> bool:
        """Enqueue a turn per preset within `deadline` seconds, and return whether that succeeded."""


class Marks(Protocol):
    """Records in the database which builds have a message."""

    def published(self, build_ids: Collection[str]) -> None:
        """Record that messages of these builds are sent."""

    def unpublished(self, build_ids: Collection[str]) -> None:
        """Record that they could not be sent."""


def publish_builds(marks: Marks, publisher: Publisher, follow_up: FollowUp) -> int:
    """Send one message per build, after marking the builds as published, and return the number sent.

    If the builds were marked afterwards, a builds worker that receives a message at once could find the row locked by
    that, skip it, and leave the build without a message.
    """
    if not follow_up.builds:
        return 0
    ids = [build.id for build in follow_up.builds]
    step("publish.after_commit")
    marks.published(ids)
    step("publish.before")
    sent = publisher.builds(
        {host: [build.id for build in builds] for host, builds in follow_up.builds_by_host().items()},
        shown={build.id: f"{build.id}: {build.work}" for build in follow_up.builds if build.work},
    )
    step("publish.after")
    if not sent:
        marks.unpublished(ids)
    return sent


def send_in_time(
    marks: Marks,
    publisher: DeadlinePublisher,
    follow_up: FollowUp,
    deadline: float,
    names: Callable[[Mapping[int, str]], Mapping[str, str]],
) -> None:
    """Send as much of a follow-up as `deadline` seconds allow, turns first, and log what was not sent.

    For callers whose answer must not wait for Redis. An unreachable database raises nothing, because the commit has to
    be answered; the sweep and the tick make up for what was not sent. `names` gives the presets' names by id.
    """
    if not follow_up:
        return
    ends = monotonic() + deadline
    ids = [str(preset_id) for preset_id in follow_up.wake]
    woken = not ids or publisher.wake(ids, deadline, shown=names(follow_up.wake))
    if woken and follow_up.builds and monotonic() < ends:
        try:
            publish_builds(marks, publisher, follow_up)
        except PrebuildError as error:
            log.warning("builds_not_published", builds=len(follow_up.builds), error=str(error))
