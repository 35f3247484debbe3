"""Run one build in an isolated process, because an earlier attempt ended with its worker.

`builds/isolation.py` runs `python -m prebuild_tasks.worker.isolated BUILD RUNNER FD`, and holds its input open.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence

from prebuild_tasks.bootstrap import runtime
from prebuild_tasks.builds import BuildRunner
from prebuild_tasks.errors import InputError
from prebuild_tasks.logs import configure_logging
from prebuild_tasks.messaging import DirectMessages
from prebuild_tasks.workspaces import send

_REDIS_TIMEOUT = 2.0
"""Seconds to wait for Redis, as in a worker."""


def main(build_id: str, name: str, started: str) -> None:
    """Run a build to its end, and send its follow-up.

    Args:
        build_id: The build.
        name: The runner in whose name the build was taken.
        started: The number of a file descriptor. Closing it tells the parent that this process renews the lease now.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    current = runtime()
    configure_logging(current.settings)
    result = BuildRunner(current.database, current.settings, current.provisioners, name=name).run_taken(
        build_id, lambda: os.close(int(started))
    )
    # Importing kombu, with which workers send, takes a fifth of the process's start.
    messages = DirectMessages(current.settings.resolved_redis_url, current.settings.queue, timeout=_REDIS_TIMEOUT)
    send(current.database, messages, result.follow_up)
    sys.stdout.flush()
    os._exit(0)  # a provisioner's thread that never ends must not keep the process


def run_as_command(arguments: Sequence[str]) -> None:
    """Run as a command, and ignore Ctrl-C, because the parent lets running builds finish.

    Raises SystemExit unless there are three arguments.
    """
    if len(arguments) != 3:
        sys.stderr.write("a worker starts this process itself, with the arguments BUILD RUNNER FD\n")
        raise SystemExit(InputError.exit_code)
    # Not SIG_IGN, which all processes of the build would inherit.
    signal.signal(signal.SIGINT, lambda *_: None)
    main(*arguments)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    run_as_command(sys.argv[1:4])
