"""Deprecated name of `prebuild_tasks.worker.isolated`, for one release.

A worker of release 0.1 goes on starting its isolated builds by this name when the package is replaced under it.
"""

from __future__ import annotations

import sys
import warnings

from prebuild_tasks.worker.isolated import main, run_as_command

__all__ = ["main"]

warnings.warn("prebuild_tasks.apart is prebuild_tasks.worker.isolated now", DeprecationWarning, stacklevel=2)

if __name__ == "__main__":
    run_as_command(sys.argv[1:4])
