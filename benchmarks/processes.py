"""Worker processes of a run, with their own environment; they end with the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import redis

from prebuild_tasks.config import Settings
from tests.support.service import procfile

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]
_GRACE = 15.0


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """Return the environment of processes that use these settings' servers."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(settings.data_dir),
        "PYTHONPATH": str(ROOT),
        "PREBUILD_DATA_DIR": str(settings.data_dir),
        "PREBUILD_DATABASE_URL": settings.resolved_database_url,
        "PREBUILD_REDIS_URL": settings.resolved_redis_url,
        "PREBUILD_HOST": settings.host,
        "PREBUILD_LOG_LEVEL": "WARNING",
        **more,
    }


@contextmanager
def running(arguments: Sequence[str], environ: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Celery command until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(BIN / "celery"), *arguments], env=environ, cwd=log.parent, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(true: Callable[[], bool], what: str, timeout: float = 60.0, pause: float = 0.002) -> None:
    """Wait for a condition. Raises TimeoutError."""
    end = time.perf_counter() + timeout
    while not true():
        if time.perf_counter() > end:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(pause)


def worked_off(client: redis.Redis, queue: str) -> bool:
    """Tell whether the queue is empty, and every message taken from it is acknowledged."""
    with client.pipeline() as pipeline:
        pipeline.llen(queue)
        pipeline.hlen(f"{queue.partition('.')[0]}.unacked")
        return pipeline.execute() == [0, 0]


@contextmanager
def staffed(settings: Settings, *names: str, **more: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run the Procfile's lines of these names on these settings' servers."""
    lines, environ = procfile(), environment(settings, **more)
    with ExitStack() as stack:
        yield [stack.enter_context(running(lines[name], environ, settings.data_dir / f"{name}.log")) for name in names]


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return a worker and its child processes."""
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]
