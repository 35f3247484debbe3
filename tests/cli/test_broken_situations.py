"""Whatever is broken, the command that shows it to a user says in one sentence why, and which command to run next.

Each test uses a real database and, where it matters, a real Redis, a real PostgreSQL and real builds.
"""

from __future__ import annotations

import gc
import json
import re
import socket
import subprocess
import uuid
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import freezegun
import psycopg
import pytest
from sqlalchemy import text, update

from prebuild_tasks.builds.runner import BuildRunner
from prebuild_tasks.claims.take import claim
from prebuild_tasks.claims.types import ClaimRequest
from prebuild_tasks.db.engine import Database
from prebuild_tasks.fleet.liveness import note_tick
from prebuild_tasks.fleet.presence import Role
from prebuild_tasks.provisioners import Provisioners
from prebuild_tasks.schema import tables as m
from tests.support.builders import PRESET, build_all, declare, fill, jump, turn
from tests.support.command_line import CONTROL, Here
from tests.support.wait import wait_until

ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For tests that do not depend on the kind of database."""


@pytest.fixture
def well(here: Here) -> Here:
    """Set up a full pool, live processes and a recent tick; each test breaks one thing."""
    here.settings.data_dir.mkdir(exist_ok=True)
    declare(here.database, here.settings, 1)
    fill(here.database, here.settings)
    here.alive()
    ticked(here)
    assert here.run("doctor").endswith("nothing is wrong\n")
    return here


def ticked(here: Here) -> None:
    with here.database.read() as connection:
        note_tick(here.database, here.database.now(connection), {"tick": 1}, 0.1)


def silent(here: Here, role: Role) -> None:
    """Make a role's process last seen some minutes ago, while the others are alive."""
    jump(here.database, 200)
    here.alive_still(but=role)
    if role == "builds":
        ticked(here)


class Built(Protocol):
    """Declare a pool and really run its builds, `rounds` times; then run a turn, and report all processes as alive."""

    def __call__(
        self, start: str = "true", *, rounds: int = 1, workspace_ports: str = "", declared: bool = False, **options: Any
    ) -> None: ...


@pytest.fixture
def built(here: Here) -> Iterator[Built]:
    runners: list[BuildRunner] = []

    def run(
        start: str = "true", *, rounds: int = 1, workspace_ports: str = "", declared: bool = False, **options: Any
    ) -> None:
        ports = workspace_ports or here.settings.workspace_ports
        settings = here.settings.model_copy(update={"workspace_ports": ports})
        if not declared:
            declare(here.database, settings, 1, start=start, **options)
        runners.append(BuildRunner(here.database, settings, Provisioners(settings)))
        for round_ in range(rounds):
            if round_:
                jump(here.database, 400)  # past the backoff
            turn(here.database, settings)
            build_all(here.database, runners[-1])
        turn(here.database, settings)
        here.alive()
        ticked(here)

    yield run
    for runner in runners:
        runner.close()


def told(said: str, cause: str, then: str) -> None:
    """Assert that one sentence, on one line, names the cause, and that a command follows it."""
    lines = said.splitlines()
    found = [position for position, line in enumerate(lines) if cause in line]
    assert found, f"nobody says {cause!r}:\n{said}"
    assert then
    following = "\n".join(lines[found[0] :])
    assert then in following, f"no {then!r} after it:\n{said}"


# Processes.


def test_worker_down(well: Here) -> None:
    silent(well, "worker")
    cause = "no control worker is running, so pools are not being reconciled; the last was seen 3 min ago on here"
    told(well.run("doctor", expect=8), cause, "start one: celery -A prebuild_tasks worker -n worker@%h")
    told(well.run("health", "--role", "worker", expect=8), "no control worker is running on here", "prebuild doctor")
    claim(well.database, ClaimRequest("ada", [PRESET]))
    told(
        well.run("explain", PRESET),
        "so the pool is not being reconciled",
        "celery -A prebuild_tasks worker -n worker@%h",
    )


def test_builds_worker_down(well: Here) -> None:
    silent(well, "builds")
    cause = "no builds worker is running, so nothing is built or deleted; the last was seen 3 min ago on here"
    told(well.run("doctor", expect=8), cause, "start one: celery -A prebuild_tasks worker -n builds@%h -P threads")
    told(well.run("health", "--role", "builds", expect=8), "no builds worker is running on here", "prebuild doctor")
    claim(well.database, ClaimRequest("ada", [PRESET]))
    turn(well.database, well.settings)
    told(well.run("explain", PRESET), "so nothing is built", "celery -A prebuild_tasks worker -n builds@%h")


def test_beat_down(well: Here) -> None:
    silent(well, "beat")
    cause = "no scheduler (beat) is running, so pools are not being refilled; the last was seen 3 min ago on here"
    told(well.run("doctor", expect=8), cause, "start one: celery -A prebuild_tasks beat")
    told(well.run("health", "--role", "beat", expect=8), "no beat is running on here", "prebuild doctor")


@ONE_DATABASE
def test_two_beats(well: Here) -> None:
    well.alive("beat", host="there")
    well.alive_still()
    told(well.run("doctor", expect=8), "2 schedulers (beat) are running, on there (process", "next: stop all but one")


@ONE_DATABASE
def test_a_beat_that_hangs(well: Here) -> None:
    for _ in range(5):
        jump(well.database, 40)
        well.alive_still()
    cause = "the last tick ended 3 min ago although beat and a control worker are running"
    told(well.run("doctor", expect=8), cause, "restart beat")
    told(well.run("health", "--role", "beat", expect=8), "beat is running on here, but no tick has ended", "doctor")


@ONE_DATABASE
def test_a_queue_that_nobody_serves(well: Here) -> None:
    silent(well, "worker")
    well.alive("worker", queues=[queue for queue in CONTROL if not queue.endswith("claims")])
    ticked(well)
    told(
        well.run("doctor", expect=8),
        "no worker consumes the queue prebuild.claims",
        "add it to the -Q option of a worker",
    )


def test_a_host_that_is_silent_while_builds_wait_for_it(well: Here) -> None:
    with well.database.write() as connection:
        connection.execute(update(m.Workspace).values(host="gone"))
    [workspace] = json.loads(well.run("workspaces", "--json"))
    well.run("delete", workspace["workspace"])
    cause = "1 build can run only on the host gone, and its builds worker is not running; none has been seen"
    told(well.run("doctor", expect=8), cause, "PREBUILD_HOST=gone celery -A prebuild_tasks worker")


# Servers.


@ONE_DATABASE
def test_redis_down(well: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREBUILD_REDIS_URL", "redis://:s3cret@127.0.0.1:1/0")
    cause, then = (
        "Redis at redis://:***@127.0.0.1:1/0 did not answer: ",
        "start it with: prebuild up, or point PREBUILD",
    )
    told(well.run("doctor", expect=8), cause, then)
    told(well.run("reconcile", expect=7), cause, then)
    told(well.run("health", "--role", "redis", expect=7), cause, then)
    well.run("claim", PRESET, "--owner", "ada")


@ONE_DATABASE
def test_redis_refuses_the_password(
    well: Here, redis_config: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_config(requirepass="s3cret")
    for url in (redis_url, redis_url.replace("unix://", "unix://:wr0ng@")):
        monkeypatch.setenv("PREBUILD_REDIS_URL", url)
        said = well.run("doctor", expect=8) + well.run("reconcile", expect=7)
        told(said, "refused the credentials: ", "next: correct the user and password in PREBUILD_REDIS_URL")
        assert "wr0ng" not in said


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("only", ["GRANT SELECT ON ALL TABLES IN SCHEMA public TO {0}", "GRANT postgres TO {0}"])
def test_a_database_user_who_may_only_read(
    well: Here, only: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (file := tmp_path / "pools.yaml").write_text(
        "schema: 1\ntemplates: [{name: web, config: {start: 'true'}, presets: [{name: small, desired: 1}]}]\n"
    )
    reader, superior = f"reader_{uuid.uuid4().hex[:8]}", well.database.url.replace("+psycopg", "")
    with psycopg.connect(superior, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {reader} LOGIN PASSWORD 's3cret'".encode())
        try:
            connection.execute(only.format(reader).encode())
            if "SELECT" not in only:
                connection.execute(f"ALTER ROLE {reader} SET default_transaction_read_only = on".encode())
            monkeypatch.setenv("PREBUILD_DATABASE_URL", as_user(well.database.url, f"{reader}:s3cret"))
            for command in (["plan", str(file)], ["apply", str(file)], ["pause", PRESET]):
                said = well.run(*command, expect=2)
                assert f"{reader}:***@" in said
                told(said, "may not do this: ", "next: let it write to all tables, or name another user")
            assert PRESET in well.run("status")
        finally:
            connection.execute(f"DROP OWNED BY {reader}".encode())
            connection.execute(f"DROP ROLE {reader}".encode())


def as_user(url: str, user: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{user}@{rest.partition('@')[2]}"


@ONE_DATABASE
def test_redis_evicts(well: Here, redis_config: Any) -> None:
    redis_config(maxmemory_policy="allkeys-lru")
    cause = "Redis may evict queued messages and locks: its maxmemory-policy is allkeys-lru"
    told(well.run("doctor", expect=8), cause, "run: redis-cli config set maxmemory-policy noeviction")


@ONE_DATABASE
def test_redis_is_full(well: Here, redis_config: Any) -> None:
    redis_config(maxmemory="1mb")
    told(well.run("doctor", expect=8), "of its maxmemory and will soon refuse messages", "next: raise maxmemory")


@ONE_DATABASE
def test_database_down(well: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREBUILD_DATABASE_URL", "postgresql://ada:s3cret@127.0.0.1:1/x")
    cause, then = (
        "the database postgresql+psycopg://ada:***@127.0.0.1:1/x could not be used",
        "next: start it, or point",
    )
    for command, code in (("status", 7), ("explain dev/small", 7), ("doctor", 8), ("health --role db", 7)):
        told(well.run(*command.split(), expect=code), cause, then)


@ONE_DATABASE
def test_the_database_refuses_the_password(postgres_url: str, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = postgres_url.partition("host=")[2]
    hba = Path(directory) / "data" / "pg_hba.conf"
    hba.write_text(f"local all ada scram-sha-256\n{hba.read_text()}")
    administer(directory, "CREATE ROLE ada LOGIN PASSWORD 's3cret'", "SELECT pg_reload_conf()")
    # The server reads it some time after the reload.
    wait_until(lambda: refuses(directory, "ada"), timeout=60, what="the new pg_hba.conf")
    try:
        for user in ("ada:wr0ng", "ada", "nobody"):
            monkeypatch.setenv("PREBUILD_DATABASE_URL", postgres_url.replace("postgres@", f"{user}@"))
            said = here.run("status", expect=7) + here.run("doctor", expect=8)
            told(said, "could not be used: ", "next: correct the user and password in PREBUILD_DATABASE_URL")
            assert "wr0ng" not in said
    finally:
        administer(directory, "DROP ROLE ada")


def refuses(directory: str, user: str) -> bool:
    try:
        psycopg.connect(host=directory, user=user, dbname="postgres").close()
    except psycopg.OperationalError:
        return True
    return False


def administer(directory: str, *statements: str) -> None:
    with psycopg.connect(host=directory, user="postgres", dbname="postgres", autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@ONE_DATABASE
def test_a_database_that_is_not_there(postgres_url: str, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    name = postgres_url.partition("@/")[2].partition("?")[0]
    monkeypatch.setenv("PREBUILD_DATABASE_URL", postgres_url.replace(name, "nowhere"))
    told(here.run("status", expect=7), 'database "nowhere" does not exist', "create it with createdb")


def test_schema_behind(well: Here) -> None:
    with well.database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0004'"))
        connection.execute(text("ALTER TABLE workers DROP COLUMN role"))
    told(
        well.run("doctor", expect=8),
        "the database is at schema 0004; this release needs schema ",
        "prebuild db upgrade",
    )
    told(well.run("status", expect=2), "the database is older than this release: ", "next: run: prebuild db upgrade")


@ONE_DATABASE
def test_no_schema(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    with database.write() as connection:
        connection.execute(text("CREATE TABLE other (id INTEGER)"))
    database.close()
    monkeypatch.setenv("PREBUILD_DATABASE_URL", database.url)
    for command, code in (("status", 2), ("doctor", 8), ("claim dev/small --owner ada", 2)):
        told(here.run(*command.split(), expect=code), "no prebuild tables yet", "run: prebuild db upgrade")


def test_schema_ahead(well: Here) -> None:
    with well.database.write() as connection:
        value = {"key": "serves_from", "value": {"revision": "9000"}, "updated_at": well.database.now(connection)}
        connection.execute(m.Setting.__table__.insert().values(**value, updated_by="test"))
    told(
        well.run("doctor", expect=8), "the database supports only 9000 and later", "install the release that the other"
    )


# The machine.


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_skewed_clock(well: Here) -> None:
    # The clock goes on, like the database's.
    with freezegun.freeze_time(datetime.now(tz=UTC) - timedelta(seconds=90), tick=True):
        said = well.run("doctor", expect=8)
    assert re.search("this machine's clock is 9[0-9] s behind the database's", said)
    told(said, "behind the database's", "see: timedatectl status")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a small disk with the given options."""
    place = tmp_path / "mounted"

    def mount(options: str) -> Path:
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
        if done.returncode:
            place.rmdir()
            pytest.skip("this user can't mount a disk")
        return place

    yield mount
    if place.exists():
        subprocess.run(["umount", str(place)], check=True)


def test_disk_full(here: Here, built: Built, mounted: Callable[[str], Path]) -> None:
    disk = mounted("size=1m")
    (disk / "ballast").write_bytes(b"x" * (1 << 20))
    here.settings.data_dir.symlink_to(disk)
    built()
    told(here.run("doctor", expect=8), "is nearly full: 0 MiB left", "next: free some space; to see what uses it")
    told(
        here.run("explain", PRESET), "No space left on device (make room on the builds worker's disk)", "prebuild logs "
    )


@ONE_DATABASE
def test_a_data_directory_that_can_not_be_written(here: Here, mounted: Callable[[str], Path]) -> None:
    here.alive()
    here.settings.data_dir.symlink_to(mounted("ro"))
    told(here.run("doctor", expect=8), f"this user cannot write to {here.settings.data_dir}", "run: chown")


@ONE_DATABASE
def test_every_port_taken(here: Here, built: Built) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        built(config="serve: 'exec sleep 60'", workspace_ports=f"{port}-{port}")
    cause = f"no free port between {port} and {port} (widen PREBUILD_WORKSPACE_PORTS)"
    told(here.run("explain", PRESET), cause, "prebuild logs ")
    assert cause in here.run("status")


@ONE_DATABASE
def test_the_exporters_port_taken(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = here.run("exporter", "--port", str(port), expect=2)
    told(said, f"the exporter cannot listen on 127.0.0.1:{port}: Address already in use", "prebuild exporter --port N")


# Recipes and pools.


@ONE_DATABASE
def test_a_failing_template(here: Here, built: Built) -> None:
    built("echo cannot clone >&2; exit 3")
    told(here.run("explain", PRESET), "failed: ", "prebuild logs ")
    [row] = json.loads(here.run("status", "--json"))
    assert (row["reason"], "cannot clone" in row["last_error"]) == ("backoff", True)
    [build] = json.loads(here.run("builds", "--status", "failed", "--json"))
    assert "cannot clone" in here.run("logs", build["build"][:8])


@ONE_DATABASE
def test_hard_limited(here: Here, built: Built) -> None:
    built("exit 3", rounds=3)
    told(here.run("explain", PRESET), "hard-limited: 3 starts in a row failed", f"prebuild unblock {PRESET}")
    here.run("unblock", PRESET)
    assert "hard-limited" not in here.run("explain", PRESET)


def test_never_ready(here: Here, built: Built) -> None:
    built(config="ready: 'false'", extra="ready_timeout: 200ms")
    told(here.run("explain", PRESET), "ran, but never became ready: not ready within 0.2 s", "prebuild logs ")


def test_a_secret_that_is_not_there(here: Here, built: Built) -> None:
    built(extra="parameters: {TOKEN: {from_env: GIT_TOKEN}}")
    cause = "parameter TOKEN: GIT_TOKEN is not set where builds run"
    told(here.run("explain", PRESET), cause, f"prebuild unblock {PRESET}")


def test_paused(well: Here) -> None:
    well.run("pause", PRESET, "--for", "2h", "--reason", "new cluster", "--actor", "ada")
    claim(well.database, ClaimRequest("bob", [PRESET]))
    told(well.run("explain", PRESET), "paused by ada since ", f"prebuild resume {PRESET}")
    well.run("pause", "--actor", "eve")
    told(well.run("explain", PRESET), "everything is paused by eve since ", "prebuild resume ")
    told(well.run("doctor"), "paused    everything, by eve; to end the pause: prebuild resume", "nothing is wrong")


def test_quota(well: Here) -> None:
    declare(well.database, well.settings, 3, organizations="[{name: default, max_workspaces: 1, max_per_owner: 1}]")
    turn(well.database, well.settings)
    cause = "quota: 1 of 1 allowed workspaces of the organization default exist"
    told(well.run("explain", PRESET), cause, "prebuild apply FILE")
    well.run("claim", PRESET, "--owner", "ada")
    told(well.run("claim", PRESET, "--owner", "ada", expect=5), "ada has 1 workspaces, the limit is 1", "next: ")


def test_a_wrong_timezone(well: Here, tmp_path: Path) -> None:
    pools = POOLS.replace("desired: 1", "desired: 1, timezone: Europe/Berlim")
    cause = "pools.yaml:6:45: unknown timezone Europe/Berlim"
    told(apply(well, tmp_path, pools, expect=2), cause, "Fix: did you mean Europe/Berlin?")
    with well.database.write() as connection:  # as after a downgrade of the time zone package
        connection.execute(update(m.Preset).values(timezone="Mars/Olympus"))
    told(
        well.run("doctor", expect=8),
        "the timezone Mars/Olympus of dev/small is unknown on this machine",
        "prebuild apply FILE",
    )


@ONE_DATABASE
def test_an_unknown_provisioner(well: Here, tmp_path: Path) -> None:
    pools = POOLS.replace("config:", "provisioner: proces\n    config:")
    cause = "pools.yaml:4:18: there is no provisioner 'proces'"
    told(apply(well, tmp_path, pools, expect=2), cause, "did you mean process?")


def test_a_provisioner_that_was_there_once(here: Here, built: Built) -> None:
    declare(here.database, here.settings, 1)
    with here.database.write() as connection:
        connection.execute(update(m.TemplateVersion).values(provisioner="k8s"))
    built(declared=True)
    told(here.run("doctor", expect=8), "there is no provisioner 'k8s', which dev needs", "next: install k8s where")
    told(here.run("explain", PRESET), "there is no provisioner 'k8s' on here", "prebuild logs ")


@ONE_DATABASE
def test_a_container_engine_that_does_not_answer(here: Here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("docker")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'docker.sock'}")
    pools = POOLS.replace("{start: 'true'}", "{image: 'busybox'}").replace(
        "config:", "provisioner: docker\n    config:"
    )
    apply(here, tmp_path, pools)
    here.alive()
    cause = "the provisioner docker of dev fails: the container engine at unix://"
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        told(here.run("doctor", expect=8), cause, "next: start it, or set DOCKER_HOST to its address")
        gc.collect()  # the docker package leaves the socket of a failed connection to the garbage collector


@ONE_DATABASE
@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("desired: 1", "desired: one", "pools.yaml:6:32: desired: Input should be a valid integer"),
        ("start:", "strat:", "pools.yaml:4:13: config.start is required"),
        ("desired", "desirde", "pools.yaml:6:23: unknown key desirde Fix: did you mean desired?"),
        ("templates:", "\ttemplates:", "pools.yaml:2:1: bad YAML: found "),
    ],
)
def test_a_broken_pools_file(well: Here, tmp_path: Path, old: str, new: str, cause: str) -> None:
    said = apply(well, tmp_path, POOLS.replace(old, new), expect=2)
    told(said, cause, "next: correct it and run the command again")


@ONE_DATABASE
def test_no_pools_file(here: Here) -> None:
    told(
        here.run("apply", "/nowhere.yaml", expect=2),
        "/nowhere.yaml: cannot be read: No such file",
        "Fix: check the path",
    )


def test_nothing_is_declared(here: Here) -> None:
    told(here.run("status"), "nothing is declared yet", "run: prebuild apply FILE")
    told(here.run("claim", PRESET, "--owner", "ada", expect=3), "there is no preset dev/small", "next: ")


def test_an_empty_pool(well: Here) -> None:
    well.run("claim", PRESET, "--owner", "ada")
    told(well.run("claim", PRESET, "--owner", "bob", expect=4), "is empty", "prebuild status")


POOLS = """\
schema: 1
templates:
  - name: dev
    config: {start: 'true'}
    presets:
      - {name: small, desired: 1}
"""


def apply(here: Here, place: Path, pools: str, *, expect: int = 0) -> str:
    (place / "pools.yaml").write_text(pools)
    return here.run("apply", str(place / "pools.yaml"), expect=expect)
