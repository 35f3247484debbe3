"""What a template declares for the command provisioner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from prebuild_tasks.model.durations import Duration
from prebuild_tasks.provisioners.shared.config import BadConfigError, Command, checked

_FORMS = {
    "timeout": "must be a time longer than 0, such as 90s or 10m",
    "settings": "must be a mapping",
}


class CommandConfig(BaseModel):
    """`config:` of a template with `provisioner: command`. A string is a script for `sh -eu`, a list is argv."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Command
    delete: Command
    probe: Command | None = None
    """Left out: ready once it was started."""
    claim: Command | None = None
    """Leaves the durable mark that `list` shows as `claimed`, and personalises."""
    stop: Command | None = None
    """Left out: stopping changes nothing."""
    list: Command | None = None
    """Left out: nothing unknown is ever found, and nothing that vanished."""
    settings: dict[str, Any] = {}
    """Handed on to the executables as it is."""
    timeout: Annotated[Duration, Field(gt=0)] | None = None
    """Seconds that each executable may take. A probe gets 25 s at most, a list 2 minutes."""


def parse(config: Mapping[str, Any]) -> CommandConfig:
    """The checked config. Raises BadConfigError, in words for the one who wrote it."""
    return checked(CommandConfig, config, _FORMS)


def check(config: Mapping[str, Any]) -> None:
    """Refuse what can't be read, and what would end badly. Raises BadConfigError."""
    found = parse(config)
    if found.list is not None and found.claim is None:
        # Else the sweep, in front of an older database, takes what a person has for a leftover.
        raise BadConfigError("config has a list but no claim, which must mark what list shows as claimed", key="list")
