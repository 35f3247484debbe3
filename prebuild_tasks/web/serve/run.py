"""The server: uvicorn with one process or several, on one socket."""

from __future__ import annotations

import asyncio
import atexit
import math
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.supervisors import Multiprocess

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import InputError
from prebuild_tasks.logs import configure_logging
from prebuild_tasks.model.addresses import host_in_url, is_ipv6
from prebuild_tasks.remedies import Remedy, RemedyKind
from prebuild_tasks.web.serve.ended import add_up_ended
from prebuild_tasks.web.serve.heads import BoundedHeads
from prebuild_tasks.web.serve.measures import shared_files
from prebuild_tasks.web.serve.options import ServeOptions, listening_url
from prebuild_tasks.web.serve.stop import GRACE, Leaving, Stopper

_OPEN_FILES = 65536
"""The most open files to ask for: each connection is one."""
_BACKLOG = 2048
"""Connections that wait to be accepted."""
_SILENT_MAX = 30
"""Seconds after which a process that does not answer its parent is replaced. A process imports before it answers, which
on a busy machine takes longer than the five seconds that uvicorn waits: none would ever start."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a process serves."""

    app: ASGIApp
    stopping: asyncio.Event
    """Set once the process is about to stop."""
    close: Callable[[], None]
    """Closes the connections to the database. Nothing is served afterwards."""


Make = Callable[[Settings, ServeOptions], Served]
"""Makes what a process serves, in that process."""


def serve_api(settings: Settings, options: ServeOptions, make: Make, announce: Callable[[str], None]) -> None:
    """Serve until stopped. `announce` is called with the address once it is listened on.

    Raises InputError for an address that cannot be listened on.
    """
    _raise_open_files()
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(options))
        announce(listening_url(options, listener.getsockname()[1]))
        config = ServerConfig(settings, options, make)
        for number in (signal.SIGTERM, signal.SIGINT):
            # The server raises the signal once more when it has ended, to end a process that has no handler.
            stack.callback(signal.signal, number, signal.signal(number, _pass))
        if options.workers == 1:
            Server.run(Server(config), sockets=[listener])
        else:
            Multiprocess.run(Supervisor(config, [listener], stack.enter_context(shared_files())))


def _pass(_number: int, _frame: FrameType | None) -> None:
    """Do nothing."""


class Supervisor(Multiprocess):
    """Starts the serving processes, and others in place of those that end."""

    def __init__(self, config: Config, sockets: list[socket.socket], counts: Path) -> None:
        """Take the configuration, the listening sockets, and the directory of the files in which processes count."""
        super().__init__(config, sockets)
        self._counts = counts

    def keep_subprocess_alive(self) -> None:
        """Replace processes that have ended, and keep their counts. Called twice a second."""
        super().keep_subprocess_alive()
        add_up_ended(self._counts)


class ServerConfig(Config):
    """The configuration of uvicorn. It goes to each process, which then makes its application."""

    def __init__(self, settings: Settings, options: ServeOptions, make: Make) -> None:
        """Take what each process needs to make its application."""
        self._settings, self._options, self._make, self._parent = settings, options, make, os.getpid()
        self.base = options.public_url.rstrip("/")
        """Begins the links of problems that no application has seen."""
        super().__init__(
            "made by load()",
            workers=options.workers,
            http=BoundedHeads,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            # Only `Proxies` reads forwarding headers.
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=math.ceil(options.keep_alive),
            timeout_graceful_shutdown=GRACE,
            timeout_worker_healthcheck=_SILENT_MAX,
            ssl_certfile=options.tls_cert,
            ssl_keyfile=options.tls_key,
        )

    def load(self) -> None:
        """Make the application, in the process and the event loop that serve it."""
        configure_logging(self._settings)
        served = self._make(self._settings, self._options)
        atexit.register(served.close)
        self.app = Leaving(served.app, served.stopping)
        super().load()
        end = signal.getsignal(signal.SIGTERM)
        if callable(end) and threading.current_thread() is threading.main_thread():
            stopper = Stopper(served.stopping, end, self._options.drain)
            stopper.install()
            if os.getpid() != self._parent:
                stopper.watch_parent(self._parent)


def _listen(options: ServeOptions) -> socket.socket:
    """Return a listening socket that the processes share."""
    family = socket.AF_INET6 if is_ipv6(options.bind) else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.bind, options.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise InputError(
            f"the API cannot listen on {host_in_url(options.bind)}:{options.port}: {error.strerror or error}",
            hint="choose another port or address",
            remedy=Remedy(RemedyKind.MOVE_SERVE),
        ) from None
    listener.set_inheritable(True)
    return listener


def _raise_open_files() -> None:
    """Raise the soft limit of open files: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
