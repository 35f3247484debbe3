"""On PYTHONPATH, it makes a process record its locks in the directory that LOCK_ORDER_DIR names."""

import os
import sys
from pathlib import Path

if directory := os.environ.get("LOCK_ORDER_DIR"):
    sys.path.insert(0, root := str(Path(__file__).parents[3]))
    from tests.faults.lock_recorder import install

    sys.path.remove(root)
    install(Path(directory))
