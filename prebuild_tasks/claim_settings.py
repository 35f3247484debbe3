"""The settings that a claim needs, read without pydantic, which takes longer to load than a claim takes.

Only URLs and the data directory are read here. Where anything else is set, or a value is not valid, `config` reads
all settings, and refuses what has to be refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prebuild_tasks.errors import InputError
from prebuild_tasks.model.addresses import has_password_in_query, path_in_url
from prebuild_tasks.model.redis_url import RedisUrl, parse_redis_url
from prebuild_tasks.model.urls import with_driver
from prebuild_tasks.remedies import Remedy, RemedyKind

DATABASE_VARIABLES = ("PREBUILD_DATABASE_URL", "DATABASE_URL")
"""Variables with the database's URL; the first that is set counts."""
REDIS_VARIABLES = ("PREBUILD_REDIS_URL", "REDIS_URL", "CELERY_BROKER_URL")
DATA_DIR_VARIABLE = "PREBUILD_DATA_DIR"
DEFAULT_DATA_DIR = Path(".prebuild")
DEFAULT_NAMESPACE = "prebuild"
DEFAULT_HEARTBEAT_TIMEOUT = 30
FILE_BACKED = ("DATABASE_URL", "REDIS_URL", "FLOWER_BASIC_AUTH", "API_TOKEN")
"""Settings that can come from a file, named by the variable with `_FILE` at its end."""
_URL_FILES = tuple(f"PREBUILD_{name}_FILE" for name in FILE_BACKED if name.endswith("_URL"))
_READ_HERE = frozenset({*DATABASE_VARIABLES, *REDIS_VARIABLES, DATA_DIR_VARIABLE, *_URL_FILES})
_NOT_SETTINGS = frozenset({"PREBUILD_DEBUG", "PREBUILD_FAULT_DIR"})


@dataclass(frozen=True, slots=True)
class ClaimSettings:
    """What a claim needs of the settings."""

    database_url: str
    """With its driver."""
    redis_url: str
    """Empty: that of `prebuild up` in the data directory."""
    data_dir: Path
    namespace: str = DEFAULT_NAMESPACE
    heartbeat_timeout: float = DEFAULT_HEARTBEAT_TIMEOUT
    pooled: bool = False
    """Whether the database is behind a pooler in transaction mode."""

    @property
    def resolved_redis_url(self) -> str:
        """The Redis URL in the form that redis-py expects."""
        return redis_url_of(self.redis_url, self.data_dir).for_redis_py

    def queue(self, name: str, host: str = "") -> str:
        """Return the full name of a queue."""
        return queue_name(self.namespace, name, host)


def read_claim_settings(
    environ: Mapping[str, str], *, database_url: str = "", redis_url: str = ""
) -> ClaimSettings | None:
    """Read what a claim needs from the environment; None if only `config` can tell what it says.

    URLs that are passed win. Raises InputError as `config` does, for a file that cannot be read.
    """
    for name in (name for name, value in environ.items() if value and name not in _READ_HERE | _NOT_SETTINGS):
        # Another setting, or one in lower case, which pydantic takes, too.
        if (upper := name.upper()).startswith("PREBUILD_") or upper in _READ_HERE:
            return None
    from_files = dict(values_from_files(environ))
    database = database_url or from_files.get("database_url") or _first(environ, DATABASE_VARIABLES)
    redis = redis_url or from_files.get("redis_url") or _first(environ, REDIS_VARIABLES)
    data_dir = absolute(Path(environ.get(DATA_DIR_VARIABLE) or DEFAULT_DATA_DIR))
    try:
        parse_redis_url(redis or "redis://")
    except ValueError:
        return None
    return None if has_password_in_query(redis) else ClaimSettings(database_url_of(database, data_dir), redis, data_dir)


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := environ.get(name))), "")


def values_from_files(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the settings that come from files: names and values. Raises InputError for one that cannot be read."""
    for name in FILE_BACKED:
        path = environ.get(f"PREBUILD_{name}_FILE")
        if path and not environ.get(f"PREBUILD_{name}"):
            try:
                yield name.lower(), Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise InputError(f"PREBUILD_{name}_FILE={path} cannot be read: {error.strerror}") from None
            except UnicodeDecodeError:
                raise InputError(f"PREBUILD_{name}_FILE={path} is not UTF-8 text", hint="save it as UTF-8") from None


def absolute(data_dir: Path) -> Path:
    """Return the data directory as every process that starts here names it."""
    return data_dir.expanduser().absolute()


def database_url_of(url: str, data_dir: Path) -> str:
    """Return the database URL to connect to, with its driver; without a URL, SQLite in the data directory."""
    return with_driver(url or f"sqlite:///{path_in_url(data_dir / 'prebuild.db')}")


def redis_socket_of(data_dir: Path) -> Path:
    """Return the socket of the embedded Redis."""
    return data_dir / "redis" / "redis.sock"


def redis_note_of(data_dir: Path) -> Path:
    """Return the file in which `prebuild up` writes the URL of its Redis, for commands in other terminals."""
    return data_dir / "redis" / "url"


def redis_url_of(url: str, data_dir: Path) -> RedisUrl:
    """Return the Redis to connect to; without a URL, that of `prebuild up`.

    Raises InputError if its note has no URL of a Redis, and ValueError for a URL that is not one, which is a setting
    that was not checked before.
    """
    if url:
        return parse_redis_url(url)
    note = redis_note_of(data_dir)
    try:
        url = note.read_text().strip()
    except OSError:
        url = f"unix://{path_in_url(redis_socket_of(data_dir))}"
    try:
        return parse_redis_url(url)
    except ValueError as error:
        raise InputError(f"the URL in {note} {error}", remedy=Remedy(RemedyKind.SHOW_SETTINGS)) from None


def announcement_window(heartbeat_timeout: float) -> float:
    """Return the seconds within which a live process has announced itself."""
    return max(heartbeat_timeout, 5.0)


def queue_name(namespace: str, name: str, host: str = "") -> str:
    """Return the full name of a queue: `prebuild.builds`, or `prebuild.builds.<host>`."""
    return f"{namespace}.{name}.{host}" if host else f"{namespace}.{name}"
