"""Settings: read once from the environment (`PREBUILD_*`), then frozen.

Every credential can also come from a file, as in `PREBUILD_DATABASE_URL_FILE=/run/secrets/db`; the file is ignored if
`PREBUILD_DATABASE_URL` is set. `DATABASE_URL`, `REDIS_URL` and `CELERY_BROKER_URL` are accepted as aliases.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from prebuild_tasks.claim_settings import (
    DATABASE_VARIABLES,
    DEFAULT_DATA_DIR,
    DEFAULT_HEARTBEAT_TIMEOUT,
    DEFAULT_NAMESPACE,
    REDIS_VARIABLES,
    ClaimSettings,
    absolute,
    database_url_of,
    queue_name,
    redis_note_of,
    redis_socket_of,
    redis_url_of,
    values_from_files,
)
from prebuild_tasks.errors import InputError
from prebuild_tasks.model import setting_values
from prebuild_tasks.model.addresses import plain_host
from prebuild_tasks.model.duration_fields import Duration, Lasting
from prebuild_tasks.model.invalid import invalid_values
from prebuild_tasks.model.machine import default_host
from prebuild_tasks.remedies import Remedy, RemedyKind

DEFAULT_PASS_ENV = (
    "HTTP_PROXY,HTTPS_PROXY,NO_PROXY,ALL_PROXY,http_proxy,https_proxy,no_proxy,all_proxy,"
    "SSL_CERT_FILE,SSL_CERT_DIR,REQUESTS_CA_BUNDLE,CURL_CA_BUNDLE,GIT_SSL_CAINFO,NODE_EXTRA_CA_CERTS,"
    "PIP_*,UV_INDEX*,UV_DEFAULT_INDEX,UV_EXTRA_INDEX_URL,UV_FIND_LINKS,UV_CONSTRAINT,UV_NATIVE_TLS,UV_SYSTEM_CERTS,"
    "UV_INSECURE_HOST,UV_NO_INDEX,UV_HTTP_TIMEOUT,SSL_CLIENT_CERT,"
    "NPM_CONFIG_*,npm_config_*,CARGO_REGISTRIES_*,GOPROXY,GONOSUMDB,GOPRIVATE"
)

EXAMPLE_REPO = "PREBUILD_EXAMPLE_REPO"
"""The variable by which `prebuild up` names the repository that its example clones, the only one of the service's own
that workspaces get."""
EMPTY_MEANS_NO_NAMES = "provisioner_pass_env"
"""The only setting whose empty variable is not ignored: no names are passed."""


class Settings(BaseSettings):
    """All settings with their defaults. Durations are seconds."""

    # Compose and CI pass unset variables on as empty ones: an empty variable is ignored, so that it hides no alias.
    model_config = SettingsConfigDict(
        env_prefix="PREBUILD_", env_ignore_empty=True, frozen=True, extra="ignore", populate_by_name=True
    )

    database_url: str = Field("", validation_alias=AliasChoices(*DATABASE_VARIABLES))
    """SQLAlchemy URL of the database. Empty: SQLite in the data directory."""
    database_pooler: Literal["", "transaction"] = ""
    """transaction: PREBUILD_DATABASE_URL leads through a pooler in transaction mode. Empty: it does not."""
    redis_url: str = Field("", validation_alias=AliasChoices(*REDIS_VARIABLES))
    """URL of the Redis that holds the broker and the locks. Empty: the socket of the Redis that `prebuild up` starts in
    the data directory."""
    data_dir: Path = DEFAULT_DATA_DIR
    """Directory of the embedded servers, logs and workspaces."""
    namespace: str = DEFAULT_NAMESPACE
    """Prefix of the names of queues and locks, so that several installations can share one Redis."""
    host: str = Field(default_factory=default_host)
    """Name of this machine in the database. A local workspace is probed and deleted only by its own host."""

    reconcile_interval: Lasting = 15
    """Seconds between two ticks."""
    fanout: Literal["all", "drifted", "auto"] = "auto"
    """Presets for which a tick sends a message. all: every preset; drifted: those that need an action; auto: every
    preset up to 1,000 presets, those that need an action beyond that."""
    backoff_interval: Duration = 60
    """Seconds that a pool waits before it creates prebuilds again, for each recent failed build."""
    backoff_lookback: Duration = 3600
    """Seconds for which a failed build counts towards the backoff."""
    failure_hard_limit: int = Field(3, ge=0)
    """Number of failed builds in a row after which a pool creates nothing until `prebuild unblock`. 0: no limit."""
    max_builds_in_flight: int = Field(0, ge=0)
    """Maximum number of start builds that are pending or running, over all pools. 0: no limit."""
    build_timeout: Lasting = 3600
    """Seconds after which a running build is ended."""
    build_attempts: int = Field(3, ge=1)
    """Maximum number of attempts at a build: one that has lost its worker this many times fails."""
    build_concurrency: int = Field(4, ge=1)
    """Maximum number of builds that one builds worker runs at a time."""
    heartbeat_timeout: Lasting = DEFAULT_HEARTBEAT_TIMEOUT
    """Seconds without a renewed lease after which another worker takes over a build."""
    sweep_interval: Lasting = 30
    """Seconds between two sweeps, which recover lost builds, publish unpublished ones and retry deletions."""
    republish_after: Lasting = 30
    """Seconds after which a build that is still pending gets another message, because the first may be lost; the time
    doubles with each message. A build whose message was never sent gets one after a sixth of that."""
    probe_interval: Lasting = 60
    """Approximate seconds between two probes of a prebuild, or of a claimed workspace; a prebuild whose last probe
    failed is probed four times as often."""
    probe_failures: int = Field(3, ge=1)
    """Number of failed probes in a row after which a prebuild is replaced. One whose resource is gone is replaced at
    once if it is local, and otherwise when it is still gone an interval of probes later."""
    host_lost: Lasting = 600
    """Seconds of silence after which a host's local prebuilds are replaced on other hosts."""
    resource_sweep_interval: Lasting = 300
    """Seconds between two searches for strays: resources that belong to no known workspace."""
    stray_grace: Duration = 600
    """Seconds before a stray is removed, and between two probes that find gone what the list lacks, too."""
    failed_keep: int = Field(2, ge=0)
    """Number of failed, stopped and canceled prebuilds kept for diagnosis, per preset; older ones are deleted, and
    all of them yield to pools that want their place in a full quota."""
    failed_keep_for: Duration = 86400
    """Age, since their creation, at which failed, stopped and canceled prebuilds are deleted."""
    retention_events: Lasting = 180 * 86400
    """Seconds for which claim events, keys of claims and history are kept, those of a claimed workspace after its end;
    and tokens that expired or were revoked."""
    retention_builds: Lasting = 30 * 86400
    """Seconds for which builds are kept; deleted workspaces and superseded versions go after their builds."""
    retention_logs: Lasting = 7 * 86400
    """Seconds for which the output of builds is kept, and deliveries of webhooks after their end."""
    wait_unclaimed: Lasting = 900
    """Seconds for which a workspace that was built for somebody who waits over HTTP is kept for them once it is ready.
    Then it goes back to its pool."""
    lock_ttl: Lasting = 60
    """Seconds after which a preset's Redis lock expires; it must exceed the hard time limit of the control tasks."""
    public_host: str = "127.0.0.1"
    """Host in the URLs of served workspaces: a name, or an IPv4 or IPv6 address."""
    workspace_bind: str = ""
    """Address that served workspaces are told to listen on. Empty: 127.0.0.1 or ::1 with a public host on
    loopback, else 0.0.0.0, or :: with an IPv6 address as the public host."""
    workspace_ports: str = "20000-29999"
    """Ports of served workspaces, outside the kernels' ephemeral ranges, so that a workspace that is stopped together
    with its host keeps its port."""
    port_rest: Duration = 600
    """Seconds that a port rests after its workspace is gone, where the range has room for that."""
    provisioner_pass_env: Annotated[tuple[str, ...], NoDecode] = tuple(DEFAULT_PASS_ENV.split(","))
    """Names (or NAME* patterns) of the worker's variables that workspaces may see. Empty: none."""
    task_events: bool = True
    """Whether to send Celery events, which Flower shows."""
    flower_basic_auth: str = ""
    """`user:password` for Flower. `celery flower` does not start without one; `prebuild up --flower` generates one.
    Flower also accepts `FLOWER_BASIC_AUTH`."""
    exporter_bind: str = "127.0.0.1"
    """Address that `prebuild exporter` listens on."""
    exporter_port: int = Field(9464, ge=0, le=65535)
    """Port that `prebuild exporter` listens on."""
    exporter_cache: Duration = 10
    """Seconds for which the exporter answers scrapes from one reading of the database."""
    serve_bind: str = "127.0.0.1"
    """Address that `prebuild serve` listens on."""
    serve_port: int = Field(8300, ge=0, le=65535)
    """Port that `prebuild serve` listens on."""
    serve_workers: int = Field(1, ge=1, le=64)
    """Processes of `prebuild serve`."""
    serve_connections: int = Field(10, ge=1, le=30)
    """Maximum number of connections to the database of each process of `prebuild serve`."""
    serve_rate: int = Field(50, ge=1)
    """Requests of a token per second, on average; claims and other changes are counted apart from reads."""
    serve_burst: int = Field(200, ge=1)
    """Requests of a token at once."""
    serve_streams: int = Field(2000, ge=1)
    """Maximum number of streams of events of each process of `prebuild serve`."""
    serve_streams_per_token: int = Field(20, ge=1)
    """Maximum number of streams of one token in each process."""
    api_url: str = ""
    """Address of the HTTP API that the command line asks in place of the database. Empty: none."""
    api_token: str = ""
    """Token for that API."""
    secret_key_file: Annotated[tuple[Path, ...], NoDecode] = ()
    """Files of the installation's keys, one in each: the first signs, all verify. Empty: `secret-key` in the data
    directory, made by the first process that needs it."""
    webhook_allow: Annotated[tuple[Annotated[str, AfterValidator(setting_values.check_receiver)], ...], NoDecode] = ()
    """Networks, addresses and names of hosts inside that webhooks may reach. Empty: none."""
    public_url: str = ""
    """Address under which clients reach `prebuild serve`; it begins every link. Empty: links are paths."""
    log_level: str = "INFO"
    """Log level of the long-running processes; one-shot commands log warnings only."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """Format of log lines. auto: console on a terminal, JSON elsewhere."""

    @field_validator("provisioner_pass_env", "secret_key_file", "webhook_allow", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    _namespace = field_validator("namespace")(setting_values.check_namespace)
    _log_level = field_validator("log_level")(setting_values.check_log_level)
    _redis_url = field_validator("redis_url")(setting_values.check_redis_url)
    _workspace_ports = field_validator("workspace_ports")(setting_values.check_port_range)

    @field_validator("public_host", "workspace_bind", "exporter_bind", "serve_bind")
    @classmethod
    def _host_or_address(cls, value: str) -> str:
        return plain_host(value)

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return absolute(value)

    @field_validator("secret_key_file")
    @classmethod
    def _absolute_files(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(map(absolute, value))

    @property
    def resolved_database_url(self) -> str:
        """The database URL to connect to, with its driver."""
        return database_url_of(self.database_url, self.data_dir)

    @property
    def redis_socket(self) -> Path:
        """The socket of the embedded Redis."""
        return redis_socket_of(self.data_dir)

    @property
    def redis_note(self) -> Path:
        """The file in which `prebuild up` writes the URL of its Redis, for commands in other terminals."""
        return redis_note_of(self.data_dir)

    @property
    def resolved_redis_url(self) -> str:
        """The Redis URL in the form that redis-py expects; Celery's form is `celery_broker_url`."""
        return redis_url_of(self.redis_url, self.data_dir).for_redis_py

    @property
    def celery_broker_url(self) -> str:
        """The Redis URL in the form that Celery expects."""
        return redis_url_of(self.redis_url, self.data_dir).for_celery

    @property
    def for_claims(self) -> ClaimSettings:
        """The settings that a claim needs."""
        return ClaimSettings(
            self.resolved_database_url,
            self.redis_url,
            self.data_dir,
            self.namespace,
            self.heartbeat_timeout,
            pooled=self.database_pooler == "transaction",
        )

    def queue(self, name: str, host: str = "") -> str:
        """Return the full name of a queue: `prebuild.builds`, or `prebuild.builds.<host>`."""
        return queue_name(self.namespace, name, host)


def load_settings(environ: Mapping[str, str] | None = None, /, **overrides: Any) -> Settings:
    """Read the settings from the environment. Raises an InputError that names each bad variable."""
    source = os.environ if environ is None else environ
    from_files: dict[str, Any] = dict(values_from_files(source))
    if source.get(f"PREBUILD_{EMPTY_MEANS_NO_NAMES.upper()}") == "":
        from_files[EMPTY_MEANS_NO_NAMES] = ()
    try:
        if environ is None:
            return Settings(**{**from_files, **overrides})
        values = {
            name.lower().removeprefix("prebuild_"): value
            for name, value in source.items()
            if name.startswith("PREBUILD_") and value
        }
        return Settings(**{**from_files, **values, **overrides})
    except ValidationError as error:
        problems = "; ".join(f"{_variable(item.path)}: {item.message}" for item in invalid_values(error))
        raise InputError(problems, remedy=Remedy(RemedyKind.SHOW_SETTINGS)) from None


def _variable(location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else "?"
    return name if name.isupper() else f"PREBUILD_{name.upper()}"


def stable_json(value: object) -> str:
    """Write a value as JSON with sorted keys and no spaces, the form from which digests are made."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


if not TYPE_CHECKING:  # hidden from mypy, which would otherwise accept any name

    def __getattr__(name: str) -> object:
        """Provide `parse_duration` under its former name in release 0.2, with a DeprecationWarning."""
        if name != "parse_duration":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from prebuild_tasks.model.durations import parse_duration

        warnings.warn(
            "prebuild_tasks.config.parse_duration is deprecated: import it from prebuild_tasks.provisioners",
            DeprecationWarning,
            stacklevel=2,
        )
        return parse_duration
