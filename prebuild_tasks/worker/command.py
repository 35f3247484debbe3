"""The `celery` command for workers and beats, which starts in half the time.

`prebuild up` runs `python -m prebuild_tasks.worker.command -A prebuild_tasks worker …`. What it leaves out are Celery's
plugins, such as Flower, its shell, and looking for garbage among modules, which stay until the process ends.
"""

from __future__ import annotations

import gc
import importlib.metadata
import sys
from importlib.metadata import EntryPoints
from types import ModuleType
from typing import Any

from celery.signals import beat_init, worker_init

_PLUGINS = "celery.commands"
_SHELL = "click_repl"
_STARTS = {"worker", "beat"}


def main() -> None:
    """Run Celery's command line with the arguments of this process. Raises SystemExit."""
    every = importlib.metadata.entry_points

    def without_plugins(**wanted: Any) -> Any:
        return EntryPoints() if wanted.get("group") == _PLUGINS else every(**wanted)

    importlib.metadata.entry_points = without_plugins
    # Celery imports the shell with all of its commands, but uses it in `celery amqp` only.
    shell = ModuleType(_SHELL)
    shell.__dict__["register_repl"] = lambda *_: None
    sys.modules.setdefault(_SHELL, shell)
    if _STARTS & set(sys.argv):
        gc.disable()
        worker_init.connect(_collect_garbage)
        beat_init.connect(_collect_garbage)

    from celery.__main__ import main as run

    run()


def _collect_garbage(**_: Any) -> None:
    """Look for garbage from now on: the process has imported what it needs."""
    gc.enable()


if __name__ == "__main__":
    main()
