"""What a template declares for the process provisioner, and the environment its commands run in."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from prebuild_tasks.config import Settings
from prebuild_tasks.errors import CannotBuildError
from prebuild_tasks.ports import WorkspaceSpec
from prebuild_tasks.provisioners import process_tree as tree

_NEVER_PASSED = re.compile(
    r"(PREBUILD_.*|DATABASE_URL|REDIS_URL|CELERY_.*|FLOWER_.*|PG(PASSWORD|USER|HOST|DATABASE|PASSFILE|SERVICE.*))(_FILE)?"
)
"""Whatever the pattern says, a workspace never sees the service's own addresses and credentials."""
_SIZE = re.compile(r"([0-9]+)([bkmgt]?)", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _can_run(value: str | list[str]) -> str | list[str]:
    name = value.strip() if isinstance(value, str) else "".join(value[:1])
    if not name or "\0" in "".join(value):
        raise ValueError
    return value


Command = Annotated[str | list[str], AfterValidator(_can_run)]
M = TypeVar("M", bound=BaseModel)


class BadConfigError(CannotBuildError):
    """A config that can never work; `key` is the one to mend."""

    def __init__(self, message: str, *, key: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.key = key


def size_in_bytes(value: object) -> int:
    """Bytes: a number, or one with k, m, g or t. Raises ValueError."""
    match = _SIZE.fullmatch(str(value)) if not isinstance(value, bool) else None
    if not match:
        raise ValueError("no size")
    unit: int = 1024 ** "bkmgt".index(match[2].lower() or "b")
    return int(match[1]) * unit


Size = Annotated[int, BeforeValidator(size_in_bytes)]
AtLeastOne = Annotated[int, Field(ge=1, strict=True)]


class Limits(BaseModel):
    """What each command of a workspace, and each process it starts, may use; the kernel's resource limits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory: Size | None = None
    """Address space of one process, e.g. 2g."""
    file_size: Size | None = None
    """The longest file that may be written."""
    files: AtLeastOne | None = None
    """Open files of one process."""
    processes: AtLeastOne | None = None
    """Of the user that the builds worker runs as, all workspaces together; nothing for root."""
    cpu_seconds: AtLeastOne | None = None
    """Of one process; not for what is served."""

    def wrap(self, argv: list[str], *, served: bool = False) -> list[str]:
        """The same command under these limits. `sh` sets them: a fork of our own would not be safe in threads."""
        flags = {
            "-v": self.memory and self.memory // 1024,
            "-f": self.file_size and -(-self.file_size // 512),
            "-n": self.files,
            "-u": self.processes,
            "-t": None if served else self.cpu_seconds,
        }
        script = "".join(f"ulimit {flag} {value} || exit 126; " for flag, value in flags.items() if value)
        return ["sh", "-c", f'{script}exec "$@"', "limits", *argv] if script else argv


class ProcessConfig(BaseModel):
    """`config:` of a template with `provisioner: process`. A string is a script for `sh -eu`, a list is argv."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Command
    """Makes the workspace, in its directory. What it leaves running is ended: see `serve`."""
    serve: Command | None = None
    """Long-lived, in the foreground; listens on $PORT of $PREBUILD_WORKSPACE_BIND."""
    ready: Command | None = None
    """Exit 0: ready. Left out: ready when something listens on $PORT, or at once without `serve`."""
    claim: Command | None = None
    """Run for the new owner, $PREBUILD_OWNER, until it succeeded once."""
    limits: Limits = Limits()


def parse(config: Mapping[str, Any]) -> ProcessConfig:
    """The checked config. Raises BadConfigError, in words for the one who wrote it."""
    names = ", ".join(Limits.model_fields)
    return checked(ProcessConfig, config, {"limits": f"takes {names}: sizes such as 512m, or whole numbers"})


def checked(model: type[M], config: Mapping[str, Any], forms: Mapping[str, str] | None = None) -> M:
    """The config as this model. Raises BadConfigError; `forms` tells, by key, what is no command but something else."""
    try:
        return model.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        words = f"config.{key} {(forms or {}).get(key, 'must be a script or a list of strings, and not empty')}"
        if first["loc"] == (key,):
            missing = f"config has no {key}"
            unknown = f"config knows no {key}; it takes {', '.join(model.model_fields)}"
            words = {"missing": missing, "extra_forbidden": unknown}.get(first["type"], words)
        near = get_close_matches(key, model.model_fields, n=1) if first["type"] == "extra_forbidden" else []
        raise BadConfigError(words, key=key, hint=f"did you mean {near[0]}?" if near else "") from None


class Environment:
    """Builds environments from nothing, and knows the address that workspaces are served on."""

    def __init__(self, settings: Settings) -> None:
        self._cache = settings.data_dir / "cache"
        self._patterns = settings.provisioner_pass_env
        self._bind = bind_address(settings)
        self.probe_address = "127.0.0.1" if self._bind in ("0.0.0.0", "::", "") else self._bind  # noqa: S104

    def own(self, spec: WorkspaceSpec, directory: Path, port: int) -> dict[str, str]:
        """What is this workspace's: its parameters and its identity. Raises CannotBuildError for a bad parameter."""
        bad = [name for name, value in spec.parameters.items() if not _VARIABLE.fullmatch(name) or "\0" in value]
        if bad:
            raise CannotBuildError(f"the parameter {bad[0]!r} can't be an environment variable")
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = dict(spec.parameters)
        if port:
            own |= {"PORT": str(port), "PREBUILD_WORKSPACE_PORT": str(port), "PREBUILD_WORKSPACE_BIND": self._bind}
        return (
            own
            | identity(spec)
            | {
                "HOME": str(directory),
                "TMPDIR": str(directory / ".tmp"),
                "PREBUILD_WORKSPACE_DIRECTORY": str(directory),
                "PREBUILD_WORKSPACE_CACHE": str(self._cache),
            }
        )

    def whole(self, own: Mapping[str, str]) -> dict[str, str]:
        """What a workspace needs, what the worker was told to pass on, and its own."""
        return passed_on(self._patterns) | dict(own)


def passed_on(patterns: Sequence[str]) -> dict[str, str]:
    """The least any command needs, and what the worker was told to pass on."""
    passed = {
        name: value
        for name, value in os.environ.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns) and not _NEVER_PASSED.fullmatch(name)
    }
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"} | passed


def bind_address(settings: Settings) -> str:
    """The address that workspaces are served on."""
    return settings.workspace_bind or ("127.0.0.1" if _is_loopback(settings.public_host) else "0.0.0.0")  # noqa: S104


def identity(spec: WorkspaceSpec) -> dict[str, str]:
    """Which workspace it is, and whose."""
    return {
        tree.WORKSPACE: spec.workspace_id,
        tree.ATTEMPT: str(spec.attempt),
        "PREBUILD_WORKSPACE_NAME": spec.name,
        "PREBUILD_WORKSPACE_TEMPLATE": spec.template,
        "PREBUILD_WORKSPACE_VERSION": spec.version,
        "PREBUILD_WORKSPACE_PRESET": spec.preset,
    } | of_owner(spec.owner)


def of_owner(owner: str) -> dict[str, str]:
    """The owner, under both names."""
    return {"PREBUILD_WORKSPACE_OWNER": owner, "PREBUILD_OWNER": owner}


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
