"""Numbers events while the process serves, so that they can be read soon after their commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prebuild_tasks.errors import PrebuildError
from prebuild_tasks.logs import get_logger

log = get_logger(__name__)

PAUSE = 0.1
"""Seconds between two looks for events without a number. Without any, a look is one read of an index."""
_PAUSE_AWAY = 2.0
"""Seconds until the next look after the database could not be used."""


async def number_events_until(
    stops_within: Callable[[float], Awaitable[bool]], number: Callable[[], Awaitable[object]]
) -> None:
    """Look for them on a timer until the process is about to stop. Other processes do it, too, and the sweep."""
    pause, is_away = 0.0, False
    while not await stops_within(pause):
        try:
            await number()
            pause, is_away = PAUSE, False
        except PrebuildError as error:
            if not is_away:
                log.warning("events_not_numbered", error=error.message)
            pause, is_away = _PAUSE_AWAY, True
        except Exception:
            log.exception("events_not_numbered")
            pause = _PAUSE_AWAY
