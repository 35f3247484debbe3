"""Settings, read once from the environment (`PREBUILD_*`) and frozen.

Every credential can also come from a file: `PREBUILD_DATABASE_URL_FILE=/run/secrets/db` wins over nothing and loses to
`PREBUILD_DATABASE_URL`. `DATABASE_URL`, `REDIS_URL` and `CELERY_BROKER_URL` are accepted as aliases.
"""

from __future__ import annotations

import json
import os
import re
import socket
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from prebuild_tasks.errors import InputError
from prebuild_tasks.model.durations import Duration, Lasting
from prebuild_tasks.remedies import Remedy, RemedyKind

_PASSWORD = re.compile(r"^([a-z][a-z0-9+.-]*://[^/?#:@]*:).+@", re.IGNORECASE | re.DOTALL)
"""To the last @: one that should have been encoded is a part of the password."""
_QUERY_PASSWORD = re.compile(r"([?&][^=&]*password=)[^&]*", re.IGNORECASE)
_REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+socket")

DEFAULT_PASS_ENV = (
    "HTTP_PROXY,HTTPS_PROXY,NO_PROXY,ALL_PROXY,http_proxy,https_proxy,no_proxy,all_proxy,"
    "SSL_CERT_FILE,SSL_CERT_DIR,REQUESTS_CA_BUNDLE,CURL_CA_BUNDLE,GIT_SSL_CAINFO,NODE_EXTRA_CA_CERTS,"
    "PIP_*,UV_INDEX*,UV_DEFAULT_INDEX,UV_EXTRA_INDEX_URL,UV_FIND_LINKS,UV_CONSTRAINT,UV_NATIVE_TLS,UV_SYSTEM_CERTS,"
    "NPM_CONFIG_*,npm_config_*,CARGO_REGISTRIES_*,GOPROXY,GONOSUMDB,GOPRIVATE"
)


_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
EMPTY_IS_NONE = "provisioner_pass_env"
"""The one setting that an empty variable sets: to no names at all."""
_FILE_BACKED = ("DATABASE_URL", "REDIS_URL", "FLOWER_BASIC_AUTH")


class Settings(BaseSettings):
    """Everything that can be set, with its default. Durations are seconds."""

    # Compose and CI hand on variables that nobody has set as empty ones: those say nothing, and hide no alias.
    model_config = SettingsConfigDict(
        env_prefix="PREBUILD_", env_ignore_empty=True, frozen=True, extra="ignore", populate_by_name=True
    )

    database_url: str = Field("", validation_alias=AliasChoices("PREBUILD_DATABASE_URL", "DATABASE_URL"))
    """SQLAlchemy URL. Empty: SQLite in the data directory."""
    redis_url: str = Field("", validation_alias=AliasChoices("PREBUILD_REDIS_URL", "REDIS_URL", "CELERY_BROKER_URL"))
    """Broker and locks. Empty: the socket of the Redis that `prebuild up` starts in the data directory."""
    data_dir: Path = Path(".prebuild")
    """Where the embedded servers, logs and workspaces live."""
    namespace: str = "prebuild"
    """Prefix of queues and locks, so that several installations can share one Redis."""
    host: str = Field(default_factory=socket.gethostname)
    """This machine's name in the database; local workspaces are probed and deleted only by their own host."""

    reconcile_interval: Lasting = 15
    """Seconds between two ticks."""
    fanout: Literal["all", "drifted", "auto"] = "auto"
    """Which presets a tick sends a message for: all, those that need an action, or all up to 1,000 presets."""
    backoff_interval: Duration = 60
    """Creation waits this long per recent failed build."""
    backoff_lookback: Duration = 3600
    """Failed builds older than this no longer count for the backoff."""
    failure_hard_limit: int = Field(3, ge=0)
    """Creation stops after this many failed builds in a row, until `prebuild unblock`; 0: never."""
    max_builds_in_flight: int = Field(0, ge=0)
    """Start builds pending or running at once, over all pools; 0: no limit."""
    build_timeout: Lasting = 3600
    """A build that takes longer is ended."""
    build_attempts: int = Field(3, ge=1)
    """How often a build whose worker died is taken up again before it fails."""
    build_concurrency: int = Field(4, ge=1)
    """Builds at once in one builds worker."""
    heartbeat_timeout: Lasting = 30
    """A build whose worker has not been heard of for this long is taken up by another."""
    sweep_interval: Lasting = 30
    """Seconds between two sweeps: lost builds, unpublished builds, retries."""
    republish_after: Lasting = 30
    """A build still pending this long after its message was sent may have lost it and gets another; the time doubles
    with each. One whose message was never sent gets it after a sixth of that."""
    probe_interval: Lasting = 60
    """Every prebuild is probed about this often; one that fails is looked at again four times as often."""
    probe_failures: int = Field(3, ge=1)
    """A prebuild that fails its probe this many times in a row is replaced; one that is gone, at once."""
    host_lost: Lasting = 600
    """Local prebuilds of a host that is silent for this long are replaced elsewhere."""
    resource_sweep_interval: Lasting = 300
    """Seconds between two looks for resources that no workspace knows of."""
    stray_grace: Duration = 600
    """Such a resource is removed when it has been seen for this long."""
    failed_keep: int = Field(2, ge=0)
    """Failed prebuilds kept for study, per preset; the older ones are deleted."""
    failed_keep_for: Duration = 86400
    """Failed prebuilds older than this are deleted."""
    retention_events: Lasting = 180 * 86400
    """Claim events and history older than this go; never those of a workspace that somebody has."""
    retention_builds: Lasting = 30 * 86400
    """Builds older than this go, and then what is left of deleted workspaces and superseded versions."""
    retention_logs: Lasting = 7 * 86400
    """Output of builds older than this goes."""
    lock_ttl: Lasting = 60
    """A preset's Redis lock ends by itself after this long; above the hard time limit of the control tasks."""
    public_host: str = "127.0.0.1"
    """The host in the URLs of served workspaces."""
    workspace_bind: str = ""
    """Address that served workspaces are told to listen on; empty: 127.0.0.1, or 0.0.0.0 with another public host."""
    workspace_ports: str = "20000-29999"
    """Ports for served workspaces, outside the kernels' ephemeral ranges, so that a resting workspace keeps its own."""
    provisioner_pass_env: Annotated[tuple[str, ...], NoDecode] = tuple(DEFAULT_PASS_ENV.split(","))
    """Names (or NAME* patterns) of the worker's environment that workspaces may see; empty: none."""
    task_events: bool = True
    """Send Celery events, which Flower shows."""
    flower_basic_auth: str = ""
    """user:password of Flower, which does not start without; `FLOWER_BASIC_AUTH` is the same."""
    exporter_bind: str = "127.0.0.1"
    """Address that `prebuild exporter` listens on."""
    exporter_port: int = Field(9464, ge=0, le=65535)
    """And its port."""
    exporter_cache: Duration = 10
    """For this long one reading of the database serves every scrape."""
    log_level: str = "INFO"
    """Of the long-running processes; commands say warnings only."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """auto: JSON without a terminal."""

    @field_validator("provisioner_pass_env", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @field_validator("namespace")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if not _NAMESPACE.fullmatch(value):
            raise ValueError(
                f"{value!r} is no name for queues and locks; use 1 to 63 lower-case letters, digits, dots, - and _, "
                "beginning and ending with a letter or digit"
            )
        return value

    @field_validator("log_level")
    @classmethod
    def _is_level(cls, value: str) -> str:
        if value.upper() not in _LEVELS:
            raise ValueError(f"{value!r} is no level; use one of {', '.join(_LEVELS)}")
        return value.upper()

    @field_validator("redis_url")
    @classmethod
    def _readable(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            readable = not value or (parts.scheme in _REDIS_SCHEMES and (parts.port or 1) > 0)
        except ValueError:
            readable = False
        # Celery shows it in its reports when it stands behind the question mark.
        if not readable or _QUERY_PASSWORD.search(value):
            raise ValueError(
                f"{masked_url(value)} is not understood; write redis://:PASSWORD@host:6379/0 "
                "or unix://:PASSWORD@/path, special characters of the password as %XX"
            )
        return value

    @field_validator("workspace_ports")
    @classmethod
    def _port_range(cls, value: str) -> str:
        first, _, last = value.partition("-")
        if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last) < 65536):
            raise ValueError(f"{value!r} is no range of ports; write it as 20000-29999")
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @property
    def resolved_database_url(self) -> str:
        """The URL to connect to, with the driver named."""
        url = self.database_url or f"sqlite:///{self.data_dir / 'prebuild.db'}"
        for old in ("postgres://", "postgresql://"):
            if url.startswith(old):
                return "postgresql+psycopg://" + url.removeprefix(old)
        return url

    @property
    def redis_socket(self) -> Path:
        """Where the embedded Redis listens."""
        return self.data_dir / "redis" / "redis.sock"

    @property
    def redis_note(self) -> Path:
        """Where `prebuild up` notes the URL of its Redis, for the commands of other terminals."""
        return self.data_dir / "redis" / "url"

    @property
    def resolved_redis_url(self) -> str:
        """The URL redis-py connects to; Celery's form is `celery_broker_url`."""
        url = self.redis_url
        if not url:
            try:
                url = self.redis_note.read_text().strip()
            except OSError:
                url = f"unix://{self.redis_socket}"
        return "unix://" + url.removeprefix("redis+socket://") if url.startswith("redis+socket://") else url

    @property
    def celery_broker_url(self) -> str:
        """The same server in Celery's spelling."""
        url = self.resolved_redis_url
        return "redis+socket://" + url.removeprefix("unix://") if url.startswith("unix://") else url

    def queue(self, name: str, host: str = "") -> str:
        """The full name of a queue: `prebuild.builds`, or `prebuild.builds.<host>`."""
        return f"{self.namespace}.{name}.{host}" if host else f"{self.namespace}.{name}"


def load_settings(environ: Mapping[str, str] | None = None, /, **overrides: Any) -> Settings:
    """Settings from the environment. Raises InputError that names each bad variable."""
    source = os.environ if environ is None else environ
    from_files: dict[str, Any] = dict(_from_files(source))
    if source.get(f"PREBUILD_{EMPTY_IS_NONE.upper()}") == "":
        from_files[EMPTY_IS_NONE] = ()
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
        problems = "; ".join(
            f"{_variable(item['loc'])}: {item['msg'].removeprefix('Value error, ')}" for item in error.errors()
        )
        raise InputError(
            problems, hint="see the settings table in README.md, or run", remedy=Remedy(RemedyKind.SHOW_SETTINGS)
        ) from None


def _from_files(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in _FILE_BACKED:
        path = environ.get(f"PREBUILD_{name}_FILE")
        if path and not environ.get(f"PREBUILD_{name}"):
            try:
                yield name.lower(), Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise InputError(f"PREBUILD_{name}_FILE={path} can't be read: {error.strerror}") from None
            except UnicodeDecodeError:
                raise InputError(f"PREBUILD_{name}_FILE={path} is not UTF-8 text", hint="save it as UTF-8") from None


def _variable(location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else "?"
    return name if name.isupper() else f"PREBUILD_{name.upper()}"


def masked_url(url: str) -> str:
    """The URL with its password replaced by ***; of one that can't be read, rather too much than too little."""
    return _QUERY_PASSWORD.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))


def stable_json(value: object) -> str:
    """JSON with sorted keys and no spaces: the form digests are made of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


if not TYPE_CHECKING:  # so that mypy still refuses a name that does not exist

    def __getattr__(name: str) -> object:
        """Understand for release 0.2 where `parse_duration` stood before."""
        if name != "parse_duration":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from prebuild_tasks.model.durations import parse_duration

        warnings.warn(
            "prebuild_tasks.config.parse_duration is deprecated: import it from prebuild_tasks.model.durations",
            DeprecationWarning,
            stacklevel=2,
        )
        return parse_duration
