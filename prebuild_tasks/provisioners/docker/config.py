"""The `config` of a template for the docker provisioner, and the environment of its containers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from prebuild_tasks.provisioners.port import WorkspaceSpec
from prebuild_tasks.provisioners.shared.config import BadConfigError, Command, size_in_bytes, validated
from prebuild_tasks.provisioners.shared.environment import check_variables, identity, is_variable

_MEMORY_MIN = 6 << 20
_VOLUME = re.compile(r"(/[^:\0]*|[A-Za-z0-9][A-Za-z0-9_.-]+):/[^:\0]*(:r[ow])?")


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("not a number")
    return value


def _text(value: object) -> object:
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _bytes(value: object) -> int:
    if (number := size_in_bytes(value)) < _MEMORY_MIN:
        raise ValueError("too small")
    return number


def _without_blanks(value: str) -> str:
    if not value or any(character.isspace() or character == "\0" for character in value):
        raise ValueError("empty, or with white space")
    return value


def _path(value: str) -> str:
    if not value.startswith("/") or value == "/" or ":" in value or "\0" in value:
        raise ValueError("not an absolute path")
    return value


def _volume(value: str) -> str:
    if not _VOLUME.fullmatch(value):
        raise ValueError("not a volume")
    return value


def _variables(value: dict[str, str]) -> dict[str, str]:
    if not all(is_variable(name, text) for name, text in value.items()):
        raise ValueError("not a variable")
    return value


Word = Annotated[str, AfterValidator(_without_blanks)]
Path = Annotated[str, AfterValidator(_path)]
Text = Annotated[str, BeforeValidator(_text)]

_COMMAND = "a script or a list of strings, and not empty"
_PATH = "a path in the container that begins with /, such as /home/dev"
_RULES = {
    "image": "the name of an image, such as debian:12",
    "command": _COMMAND,
    "environment": "names of variables with text, such as {LANG: C.UTF-8}; write true and no in quotes",
    "cpus": "a number of processors of at least 0.01, such as 1.5",
    "memory": "a size of at least 6m, such as 512m or 2g",
    "volumes": "a list of NAME:/path or /host/path:/path, with :ro at the end for read-only",
    "workspace": _PATH,
    "network": "the name of a network, or bridge, host or none",
    "port": "a port of the container between 1 and 65535",
    "ready": _COMMAND,
    "claim": _COMMAND,
    "pull": "missing, never or always",
    "ulimits": "limits with numbers, such as {nofile: 1024}; -1 for unlimited",
    "user": "a user of the container, by name or number, such as dev or 1000:1000",
    "working_dir": _PATH,
}


class DockerConfig(BaseModel):
    """The `config` of a template with `provisioner: docker`. A string is a script for `sh -eu`, a list is argv."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: Word
    command: Command | None = None
    """Replaces the image's own command, and must keep running."""
    environment: Annotated[dict[str, Text], AfterValidator(_variables)] = Field(default_factory=dict)
    cpus: Annotated[float, BeforeValidator(_number), Field(ge=0.01, allow_inf_nan=False)] | None = None
    memory: Annotated[int, BeforeValidator(_bytes)] | None = None
    volumes: tuple[Annotated[str, AfterValidator(_volume)], ...] = ()
    """Volumes that workspaces share, such as caches. They are kept when a workspace is deleted."""
    workspace: Path | None = None
    """Where the workspace's own volume is mounted, which is deleted with the workspace."""
    network: Word | None = None
    port: Annotated[int, BeforeValidator(_number), Field(ge=1, le=65535, strict=True)] | None = None
    """Published on a free port of the engine's host."""
    ready: Command | None = None
    """Exits with 0 when the workspace is ready. The default is the image's health check, or that the container runs."""
    claim: Command | None = None
    """Run for the new owner, $PREBUILD_OWNER, until it has succeeded once."""
    pull: Literal["missing", "never", "always"] = "missing"
    ulimits: dict[str, Annotated[int, BeforeValidator(_number), Field(ge=-1, strict=True)]] = Field(
        default_factory=dict
    )
    user: Annotated[Word, BeforeValidator(_text)] | None = None
    working_dir: Path | None = None

    @property
    def directory(self) -> str:
        """The directory to work in, part of the answer of a claim."""
        return self.working_dir or self.workspace or ""


def parse(config: Mapping[str, object]) -> DockerConfig:
    """Return the validated config. Raises BadConfigError with a message for the author of the template."""
    parsed = validated(DockerConfig, config, {key: f"must be {rule}" for key, rule in _RULES.items()})
    if parsed.port and parsed.network in ("host", "none"):
        raise BadConfigError(
            f"config.port cannot be published from the network {parsed.network}; leave out one of them", key="port"
        )
    return parsed


def environment(config: DockerConfig, spec: WorkspaceSpec) -> dict[str, str]:
    """Return the container's environment: the template's values, the preset's parameters and the identity.

    Nothing of the worker's environment is in it. Raises CannotBuildError for a parameter that cannot be a variable.
    """
    check_variables(spec.parameters)
    served = {}
    if config.port:
        port = str(config.port)
        # All addresses of the container; the engine publishes the port on the address that the settings name.
        served = {"PORT": port, "PREBUILD_WORKSPACE_PORT": port, "PREBUILD_WORKSPACE_BIND": "0.0.0.0"}  # noqa: S104
    return {
        **config.environment,
        **spec.parameters,
        **served,
        "PREBUILD_WORKSPACE_DIRECTORY": config.directory,
        **identity(spec),
    }
