"""Make a process with this directory on PYTHONPATH record its locks in the directory LOCK_ORDER_DIR."""

import os
import sys
from pathlib import Path

if directory := os.environ.get("LOCK_ORDER_DIR"):
    sys.path.insert(0, root := str(Path(__file__).parents[3]))
    from tests.faults.lock_recorder import install

    sys.path.remove(root)
    install(Path(directory))
