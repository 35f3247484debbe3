"""Deprecated name of `prebuild_tasks.worker.isolated`, for one release.

A worker of release 0.1 goes on starting its isolated builds by this name when the package is replaced under it.
"""

from __future__ import annotations

import sys
import warnings

from prebuild_tasks.worker.isolated import main, run_as_command

__all__ = ["main"]

_AS_COMMAND = __name__ == "__main__"
# By default, Python shows a DeprecationWarning only where it points at a command's own module.
warnings.warn(
    "prebuild_tasks.apart is prebuild_tasks.worker.isolated now",
    DeprecationWarning,
    stacklevel=1 if _AS_COMMAND else 2,
)

if _AS_COMMAND:
    run_as_command(sys.argv[1:4])
