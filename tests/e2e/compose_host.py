"""Podman with networks and names, as the engine for docker-compose, without a registry.

The base image is Debian's Python; one image of Debian's Redis, PostgreSQL and nginx stands in for the three of the
compose file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from tests.support.service import ROOT
from tests.support.wait import wait_until

TOOLS = ("podman", "runc", "debootstrap", "docker-compose", "catatonit")
WAY_OUT = (
    "needs root, and: apt-get install --no-install-recommends "
    "podman runc debootstrap docker-compose netavark aardvark-dns catatonit"
)
CONFIGURATION = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "{place}/networks"
"""
SERVERS = """
FROM {base}
RUN apt-get update && apt-get install -y --no-install-recommends redis-server postgresql nginx wget
RUN install -d -o redis /data && install -d -o postgres /var/lib/postgresql/data
COPY initdb-and-serve /usr/local/bin/
ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/data
"""
POSTGRES = "FROM servers\nUSER postgres\nVOLUME /var/lib/postgresql/data\nSTOPSIGNAL SIGINT\nCMD initdb-and-serve\n"
REDIS = "FROM servers\nWORKDIR /data\nVOLUME /data\n"
# nginx's own image stops by SIGQUIT, too.
NGINX = """
FROM servers
RUN rm -f /etc/nginx/sites-enabled/default
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
"""
# As in PostgreSQL's own image, the first start creates the user and the database.
INITDB = """#!/bin/sh
set -eu
cd /
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  echo "$POSTGRES_PASSWORD" > /tmp/password
  initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8
  rm /tmp/password
  pg_ctl -w start -o "-c listen_addresses="
  createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
  pg_ctl -w stop -m fast
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
fi
exec postgres -c 'listen_addresses=*'
"""


class ComposeHost:
    """An engine with its storage below `place`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.socket = f"unix://{place}/podman.sock"
        (place / "containers.conf").write_text(CONFIGURATION.format(place=place))
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": f"{place}/containers.conf",
            # If the machine is itself a container, builds may not be allowed to start another.
            "BUILDAH_ISOLATION": "chroot",
            "DOCKER_HOST": self.socket,
            "COMPOSE_HTTP_TIMEOUT": "600",
        }
        self.podman = ["podman", "--root", f"{place}/root", "--runroot", f"{place}/run", "--storage-driver=overlay"]

    def run(self, *words: str, cwd: Path = ROOT, timeout: float = 900) -> str:
        """Run a command to its end, and return its output."""
        done = subprocess.run(
            words, cwd=cwd, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}: {done.stdout} {done.stderr}"
        return done.stdout

    def fill(self, python: str, redis: str, postgres: str, nginx: str) -> None:
        """Build the images with these names."""
        base, servers = self.place / "base", self.place / "servers"
        packages = "python3,python3-venv,python3-pip,ca-certificates"
        self.run("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(base))
        (base / "usr/bin/python").symlink_to("python3")
        for marker in base.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            marker.unlink()
        (base / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")  # starts no services
        (base / "usr/sbin/policy-rc.d").chmod(0o755)
        certificates = os.environ.get("SSL_CERT_FILE", "")
        if certificates:  # this machine may have its own certificate authority
            shutil.copy(certificates, base / "etc/ssl/certs/ca-certificates.crt")
        change = ["--change", "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"] if certificates else []
        self.run("tar", "-C", str(base), "-cf", f"{base}.tar", ".")
        self.run(*self.podman, "import", *change, f"{base}.tar", f"docker.io/library/{python}")
        Path(f"{base}.tar").unlink()
        servers.mkdir()
        (servers / "initdb-and-serve").write_text(INITDB)
        (servers / "initdb-and-serve").chmod(0o755)
        steps = {"servers": SERVERS.format(base=f"docker.io/library/{python}"), redis: REDIS, postgres: POSTGRES}
        steps[nginx] = NGINX
        for name, text in steps.items():
            (servers / "Dockerfile").write_text(text.replace("FROM servers", "FROM docker.io/library/servers"))
            tag = f"docker.io/library/{name}"
            self.run(*self.podman, "build", "--pull=never", "--network=host", "-t", tag, str(servers))

    def look_at_health(self) -> None:
        """Run each health check now: Podman leaves their schedule to systemd, which may not be running."""
        listed = self.run(*self.podman, "ps", "--quiet", "--filter", "status=running").split()
        for container in listed:
            subprocess.run(
                [*self.podman, "healthcheck", "run", container], env=self.environment, capture_output=True, timeout=60
            )


@contextmanager
def compose_host(place: Path) -> Iterator[ComposeHost]:
    """Run the engine for as long as the block lasts, and remove everything it made."""
    host = ComposeHost(place)
    ended = Event()

    def look() -> None:
        while not ended.wait(2):
            with suppress(AssertionError, subprocess.SubprocessError):
                host.look_at_health()

    with (place / "log").open("wb") as log:
        service = subprocess.Popen(
            [*host.podman, "system", "service", "--time=0", host.socket],
            env=host.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
        )  # fmt: skip
    doctor = Thread(target=look, daemon=True)
    try:
        wait_until((place / "podman.sock").exists, what="Podman's service")
        doctor.start()
        yield host
    finally:
        ended.set()
        if doctor.ident:
            doctor.join(60)
        for words in (["rm", "--all", "--force", "--time", "0", "--volumes"], ["network", "prune", "--force"]):
            subprocess.run([*host.podman, *words], env=host.environment, capture_output=True, timeout=120)
        service.terminate()
        service.wait(60)
        subprocess.run([*host.podman, "system", "reset", "--force"], env=host.environment, capture_output=True)
