"""Run one build that lost its worker before, in a process of its current.

`builds/isolation.py` starts it as `python -m prebuild_tasks.worker.isolated BUILD RUNNER FD` and holds its input open.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence

from prebuild_tasks.bootstrap import runtime
from prebuild_tasks.builds import BuildRunner
from prebuild_tasks.logs import configure_logging
from prebuild_tasks.workspaces import send


def main(build_id: str, name: str, begins: str) -> None:
    """Run the build, taken in the name of the runner `name`, to its end, and send what follows from it.

    `begins` is the number of the descriptor whose closing tells the parent that this process renews the lease now.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    current = runtime()
    configure_logging(current.settings)
    result = BuildRunner(current.database, current.settings, current.provisioners, name=name).run_taken(
        build_id, lambda: os.close(int(begins))
    )
    send(current.database, current.messages, result.follow_up)
    sys.stdout.flush()
    os._exit(0)  # a provisioner's thread that never comes back must not keep the process


def run(arguments: Sequence[str]) -> None:
    """Run as a command. Ctrl-C is left to the parent, which lets running builds finish."""
    # A handler instead of SIG_IGN, which everything that the build starts would inherit.
    signal.signal(signal.SIGINT, lambda *_: None)
    main(*arguments)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    run(sys.argv[1:4])
