"""The facts that `doctor` collects about an installation, before anything is concluded from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from prebuild_tasks.access import TokenView
from prebuild_tasks.fleet import Liveness
from prebuild_tasks.insight.status.views import PoolCheck
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.remedies import Remedy
from prebuild_tasks.webhooks import Backlog


@dataclass(frozen=True, slots=True)
class Trouble:
    """The error that a part of the installation gave instead of an answer."""

    message: str
    hint: str = ""
    """What to do, as a sentence that does not name a command."""
    remedy: Remedy | None = None


@dataclass(frozen=True, slots=True)
class SchemaFact:
    """Schema revisions of the database and of this release."""

    current: str
    """The revision of the database; empty: it has no tables yet."""
    needed: str
    """The revision that this release needs."""
    serves_from: str = ""
    """The lowest revision whose releases may still use the database."""


@dataclass(frozen=True, slots=True)
class DefaultsFact:
    """The database user's defaults that a pooler in transaction mode needs to be others."""

    differing: Sequence[tuple[str, str]]
    """The name of each, and its value so far."""
    statements: str
    """The SQL that corrects them."""


@dataclass(frozen=True, slots=True)
class RedisFact:
    """The answer of Redis to INFO."""

    version: str
    policy: str
    """Its `maxmemory-policy`."""
    used: int = 0
    """Memory in use, in bytes."""
    limit: int = 0
    """Its `maxmemory`, in bytes; 0: no limit."""
    not_writable: str = ""
    """Why it refuses writes; empty: it accepts them."""
    not_saved: str = ""
    """What it could not write to its disk, although it accepts writes; empty: nothing."""


@dataclass(frozen=True, slots=True)
class ProvisionerFact:
    """A provisioner that declared templates name, and whether it works."""

    name: str
    templates: tuple[str, ...]
    trouble: Trouble | None = None
    """None: it takes the configuration and answers."""
    unknown: bool = False
    """Whether it is not installed on this machine."""


@dataclass(frozen=True, slots=True)
class SilenceFact:
    """What could not be asked of a provisioner, as the workers have stored it."""

    provisioner: str
    since: datetime | None = None
    message: str = ""
    probes: int = 0
    """Prebuilds whose last probe was not answered."""
    builds: int = 0
    """Builds that are held."""
    lists: int = 0
    """Hosts on which its list could not be read."""
    waiting: int = 0
    """Missing prebuilds that wait for a confirmation."""

    @property
    def is_silent(self) -> bool:
        """Whether something of it is not answered."""
        return bool(self.probes or self.builds or self.lists)


@dataclass(frozen=True, slots=True)
class DiskFact:
    """The file system that holds servers, logs and workspaces on this machine."""

    path: str
    writable: bool
    free_bytes: int
    free_files: int | None = None
    """How many more files it can hold; None: the file system does not count them."""


@dataclass(frozen=True, slots=True)
class ApiFact:
    """The answers of the HTTP API."""

    url: str
    ready: str = ""
    """The beginning of what `/readyz` answered."""
    trouble: str = ""
    """Why it did not answer; empty: it did."""
    metrics_open: bool = False
    """Whether `/metrics` was answered without a token."""


@dataclass(frozen=True, slots=True)
class Examination:
    """All facts about an installation.

    A part that could not be asked is None or empty; the reason is a `Trouble` of its own.
    """

    control_queues: tuple[str, ...]
    """Full names of the queues of the control tasks."""
    builds_queue: str
    """Full name of the queue of builds that any host can run."""
    webhooks_queue: str = ""
    """Full name of the queue that webhooks workers consume."""
    database: Trouble | None = None
    schema: SchemaFact | None = None
    database_is_read_only: bool = False
    """Whether the database takes no writes, whoever asks."""
    pooler: Trouble | None = None
    """A pooler in transaction mode between this process and the database, which the settings do not name."""
    role_defaults: DefaultsFact | None = None
    """What the database user's defaults lack for a pooler that the settings name."""
    redis: Trouble | RedisFact | None = None
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Messages by the full name of their queue."""
    clock_skew: float | None = None
    """Seconds by which this machine's clock is ahead of the database's."""
    liveness: Liveness | None = None
    bound_builds: Mapping[str, int] = field(default_factory=dict)
    """Pending builds that only one host can run, by that host."""
    workspaces_at: Mapping[str, int] = field(default_factory=dict)
    """Workspaces by the host that they are bound to."""
    bad_timezones: Mapping[PoolName, str] = field(default_factory=dict)
    """Timezones that cannot be loaded on this machine, by preset."""
    provisioners: Sequence[ProvisionerFact] = ()
    silences: Sequence[SilenceFact] = ()
    pools: Sequence[PoolCheck] = ()
    disk: DiskFact | None = None
    api: ApiFact | None = None
    tokens: Sequence[TokenView] = ()
    log_lag: float = 0.0
    """Seconds for which the oldest event without a number has lacked one; 0: there is none."""
    backlog: Backlog | None = None
    short_ports: str = ""
    """The range of ports of this machine, if a port went to another workspace before its rest ended."""
    paused_by: str = ""
    """Who paused all pools; empty: nobody. It is not a fault, but it explains why nothing happens."""
