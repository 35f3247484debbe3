"""The `config` of a template for the command provisioner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from prebuild_tasks.model.duration_fields import Duration
from prebuild_tasks.provisioners.shared.config import BadConfigError, Command, validated

_FORMS = {
    "timeout": "must be a duration longer than 0, such as 90s or 10m",
    "settings": "must be a mapping",
}


class CommandConfig(BaseModel):
    """The `config` of a template with `provisioner: command`. A string is a script for `sh -eu`, a list is argv."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Command
    delete: Command
    probe: Command | None = None
    """By default, a workspace is ready once it was started."""
    claim: Command | None = None
    """Leaves the durable marker of the claim, which `list` shows as `claimed`, and personalises the workspace."""
    stop: Command | None = None
    """By default, stopping changes nothing."""
    list: Command | None = None
    """Without it, neither strays nor lost workspaces are found."""
    settings: dict[str, object] = {}
    """Passed to the executables unchanged."""
    timeout: Annotated[Duration, Field(gt=0)] | None = None
    """Seconds that each executable may take; a probe at most 25, a list at most 120."""


def parse(config: Mapping[str, object]) -> CommandConfig:
    """Return the validated config. Raises BadConfigError with a message for the author of the template."""
    return validated(CommandConfig, config, _FORMS)


def check(config: Mapping[str, object]) -> None:
    """Raise BadConfigError for a config that is invalid or has a list without a claim."""
    parsed = parse(config)
    if parsed.list is not None and parsed.claim is None:
        # Otherwise the sweep would treat a claimed workspace as a stray after an older database was restored.
        raise BadConfigError(
            "config has a list but no claim; add a claim, which leaves the marker that list shows as claimed",
            key="list",
        )
