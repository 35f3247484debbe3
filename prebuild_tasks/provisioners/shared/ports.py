"""The ports of served workspaces, and since when each has rested.

Somebody may still know the address of a workspace that is gone. So its port rests, and goes to another workspace as
late as the range allows.

    ports/<port>    empty; modified when the port was last known to be in use
    ports/short     the range that was too small for a port to rest long enough; modified when that happened last
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from math import inf
from pathlib import Path

from prebuild_tasks.clock import utcnow
from prebuild_tasks.config import Settings
from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.model.text import span
from prebuild_tasks.provisioners.port import BuildContext
from prebuild_tasks.provisioners.shared.disk import locked, open_for_owner, private, read_if_present, replace_file

log = logging.getLogger(__name__)

SHORT_FOR = timedelta(days=1)
"""How long a range that was too small once is called so."""


class Ports:
    """The range of ports of a data directory's workspaces, for all its threads and processes.

    What cannot be remembered, as on a full disk, is done without: it keeps no workspace from being made or deleted.
    """

    def __init__(self, settings: Settings) -> None:
        first, _, last = settings.workspace_ports.partition("-")
        self._range = range(int(first), int(last) + 1)
        self._text = settings.workspace_ports
        self._rest = settings.port_rest
        self._directory = settings.data_dir / "ports"

    def choose(
        self, taken: Collection[int], context: BuildContext, is_free: Callable[[int], bool] = lambda _: True
    ) -> int:
        """Return the free port that has rested the longest, and remember it as used from now on.

        Args:
            taken: Ports of existing workspaces.
            context: The build, whose log says so if the port has rested too short a time.
            is_free: Whether a port can be used at the moment.

        Raises:
            ProvisionerError: No port is free.
        """
        with ExitStack() as held:
            used: dict[int, float] = {}
            try:
                private(self._directory)
                held.enter_context(locked(self._directory / ".lock"))
                used = dict(self._last_used())
            except OSError as error:
                log.warning("%s: the rest of ports cannot be remembered: %s", self._directory, error)
            for port in taken:
                self.let_go(port)  # not before now: its end may come without a word
            for port in self._in_order(used, taken):
                if is_free(port):
                    self.let_go(port)
                    self._check_rest(port, utcnow().timestamp() - used.get(port, -inf), context)
                    return port
        raise ProvisionerError(
            f"no free port between {self._range.start} and {self._range.stop - 1}",
            hint="widen PREBUILD_WORKSPACE_PORTS",
        )

    def let_go(self, port: int) -> None:
        """Remember that the port was in use until now. Call it before the workspace's own record of it goes."""
        if port in self._range:
            with suppress(OSError):
                private(self._directory)
                _touch(self._directory / str(port))

    def is_short(self, now: datetime) -> bool:
        """Return whether a port of this range was lately given away before it had rested long enough."""
        path = self._directory / "short"
        with suppress(OSError):
            age = now - datetime.fromtimestamp(path.stat().st_mtime, now.tzinfo)
            return age < SHORT_FOR and read_if_present(path) == self._text
        return False

    def _last_used(self) -> Iterator[tuple[int, float]]:
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if entry.name.isdecimal():
                    yield int(entry.name), entry.stat().st_mtime

    def _in_order(self, used: dict[int, float], taken: Collection[int]) -> list[int]:
        """Sort the ports that are not taken: first those never used, at random, so that installations rarely meet."""
        free = [port for port in self._range if port not in taken]
        return sorted(random.sample(free, len(free)), key=lambda port: used.get(port, -inf))

    def _check_rest(self, port: int, rested: float, context: BuildContext) -> None:
        if rested >= self._rest:
            return
        notice = f"port {port} has rested for {span(timedelta(seconds=rested))} only: widen PREBUILD_WORKSPACE_PORTS"
        log.warning("%s", notice)
        context.log(f"{notice}\n")
        with suppress(OSError):
            replace_file(self._directory / "short", self._text)
            _touch(self._directory / "short")


def _touch(path: Path) -> None:
    now = utcnow().timestamp()
    with suppress(FileNotFoundError):
        os.utime(path, (now, now))
        return
    open_for_owner(path, os.O_APPEND).close()
    os.utime(path, (now, now))
