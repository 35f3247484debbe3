"""In a container whose process 1 was the builds worker, every process that workspaces left behind stayed a zombie."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from prebuild_tasks.worker.init import lacks_init
from tests.support.dockerfile import stages

NUMBER = 50
SCRIPT = """
import psutil, sys, uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from prebuild_tasks.config import Settings
from prebuild_tasks.provisioners import WorkspaceSpec
from prebuild_tasks.provisioners.process import ProcessProvisioner
from prebuild_tasks.worker.init import warn_without_init
from tests.provisioners.context import Context

provisioner = ProcessProvisioner(Settings(data_dir=Path(sys.argv[1]), public_host="127.0.0.1"))
specs = [
    WorkspaceSpec(
        installation="i", workspace_id=str(uuid.uuid4()), attempt=1, name="n", owner="prebuilds", template="t",
        version="v", preset="p", config={"start": "(sleep 0.01 &); true", "serve": "exec sleep 1000"}, parameters={},
        ready_timeout=20,
    )
    for _ in range(int(sys.argv[2]))
]
warn_without_init()
with ThreadPoolExecutor(2) as pool:
    for operation in (provisioner.start, provisioner.delete):
        list(pool.map(lambda spec: operation(spec, Context()), specs))
left = [p for p in psutil.process_iter() if p.status() == psutil.STATUS_ZOMBIE]
print("zombies", len(left))
"""


def contained(entry: Sequence[str], data_dir: Path, number: int) -> str:
    """Serve and delete workspaces in a process namespace of their own, and return what was printed."""
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    namespace = ["unshare", *user, "--pid", "--fork", "--mount-proc"]
    done = subprocess.run(
        [*namespace, *entry, sys.executable, "-c", SCRIPT, str(data_dir), str(number)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if "unshare failed" in done.stderr:
        pytest.skip("needs process namespaces: root, or unprivileged user namespaces")
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.deploys
def test_the_images_entry_point_leaves_no_zombie(tmp_path: Path) -> None:
    entry = json.loads(dict(stages()[-1])["ENTRYPOINT"])
    if not shutil.which(entry[0]):
        pytest.fail(f"needs {entry[0]}: apt-get install {entry[0]}")
    printed = contained(entry, tmp_path, NUMBER)
    assert "zombies 0" in printed
    assert "no_init" not in printed


def test_a_worker_that_is_process_1_says_so_once(tmp_path: Path) -> None:
    printed = contained([], tmp_path, 2)
    assert "zombies 0" not in printed
    assert printed.count("no_init") == 1
    assert "start the container with an init" in printed


@pytest.mark.parametrize(
    ("pid", "command", "lacking"),
    [
        (1, ["/usr/bin/python3", "/usr/bin/celery"], True),
        (7, ["/opt/prebuild/bin/python", "/opt/prebuild/bin/honcho", "start"], True),
        (7, ["python3.11", "-m", "prebuild_tasks"], True),
        (7, ["tini", "-s", "--", "celery"], False),
        (7, ["/sbin/init"], False),
        (7, ["/pause"], False),
        (7, [], False),
    ],
)
def test_only_a_python_program_as_process_1_lacks_an_init(pid: int, command: list[str], lacking: bool) -> None:
    assert lacks_init(pid, command) is lacking
