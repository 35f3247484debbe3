"""The process of one build that lost its worker before; started by services/apart.py, which holds its input open."""

from __future__ import annotations

import os
import signal
import sys
import threading

from prebuild_tasks.bootstrap import runtime
from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.logs import configure_logging
from prebuild_tasks.workspaces.outbox import follow_up


def main(build_id: str, name: str, begins: str) -> None:
    """Run the build, taken in the name given, to its end, and what follows from it.

    `begins` is the descriptor whose closing tells the parent that from now on the build has a heart here.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    here = runtime()
    configure_logging(here.settings)
    result = BuildRunner(here.database, here.settings, here.provisioners, name=name).run_taken(
        build_id, lambda: os.close(int(begins))
    )
    touched = [] if result.preset_id is None else [result.preset_id]
    follow_up(here.database, here.messages, result.builds, touched, ref=result.preset)
    sys.stdout.flush()
    os._exit(0)  # a provisioner's thread that never comes back must not keep the process


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    # Ending is the parent's to say: it lets running builds finish. Not ignored, which all that a build starts would do.
    signal.signal(signal.SIGINT, lambda *_: None)
    main(*sys.argv[1:4])
