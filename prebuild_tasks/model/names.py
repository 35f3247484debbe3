"""Names of pools, presets, workspaces and owners: types, generation and validation."""

from __future__ import annotations

import re
from typing import NamedTuple
from uuid import UUID

from prebuild_tasks.errors import InputError
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER
from prebuild_tasks.remedies import Remedy, RemedyKind

PREBUILD_PREFIX = "prebuild-"
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_REF = re.compile(r"([^/@\s]+)/([^/@\s]+)(?:@([^/@\s]+))?")
_OWNER_MAX = 100
_STEPS = (".", "..")
"""No owner, because browsers resolve them in the path of a workspace."""
_SHOWN = 60
_NAME_OWNER = Remedy(RemedyKind.NAME_OWNER)


class PoolName(NamedTuple):
    """The name of a pool, `template/preset`: the presets of one name over all versions of a template."""

    template: str
    preset: str

    def __str__(self) -> str:
        """Return `template/preset`."""
        return f"{self.template}/{self.preset}"


class PresetRef(NamedTuple):
    """The name of a preset: `template/preset` for the active version, or `template/preset@version`."""

    template: str
    preset: str
    version: str | None = None

    def __str__(self) -> str:
        """Return `template/preset`, with `@version` where there is one."""
        name = f"{self.template}/{self.preset}"
        return f"{name}@{self.version}" if self.version else name

    @property
    def pool(self) -> PoolName:
        """The name of the preset's pool."""
        return PoolName(self.template, self.preset)

    @classmethod
    def of(cls, template: str, preset: str, version: str, *, active: bool) -> PresetRef:
        """Name a stored preset; the version is left out if it is the active one."""
        return cls(template, preset, None if active else version)

    @classmethod
    def parse(cls, value: str) -> PresetRef:
        """Parse `template/preset` or `template/preset@version`. Raises InputError for other forms."""
        match = _REF.fullmatch(value)
        if not match:
            raise InputError(
                f"{_shown(value)} is not a preset name",
                hint="write template/preset or template/preset@version, without spaces",
            )
        return cls(*match.groups())


class WorkspaceName(NamedTuple):
    """The name of a workspace as people write it: `owner/name`, or `name` alone."""

    owner: str
    """Empty: whoever owns a workspace of that name."""
    name: str

    @classmethod
    def parse(cls, value: str) -> WorkspaceName:
        """Parse `owner/name` or `name`. The last slash ends the owner."""
        owner, _, name = value.rpartition("/")
        return cls(owner, name)


def unambiguous_name(owner: str, name: str) -> str:
    """Return a workspace's name, with its owner if a person has it: several people may have workspaces of one name."""
    return name if owner == PREBUILDS_OWNER else f"{owner}/{name}"


class VersionName(NamedTuple):
    """The name of a version of a template, `template@version`, as messages and the history write it."""

    template: str
    version: str

    def __str__(self) -> str:
        """Return `template@version`."""
        return f"{self.template}@{self.version}"

    @classmethod
    def parse(cls, value: str) -> VersionName:
        """Parse `template@version`."""
        template, _, version = value.partition("@")
        return cls(template, version)


def pools_name(workspace_id: str) -> str:
    """Return the name of a workspace of a pool that has none of its own yet."""
    return f"{PREBUILD_PREFIX}{workspace_id[:8]}"


def claimed_name(name: str) -> str:
    """Return the default name of a claimed workspace, from the prebuild's name."""
    return name.removeprefix(PREBUILD_PREFIX)


def check_name(kind: str, value: str) -> str:
    """Return the name if it is valid as a part of paths, labels and queue names. Raises InputError if it is not.

    `kind` says in the message what the name is of; it may be empty.
    """
    if not _NAME.fullmatch(value) or ".." in value:
        raise InputError(
            f"{_shown(value)} is not a valid {f'{kind} name'.strip()}",
            hint="use 1 to 63 lower-case letters, digits, dots, - and _, beginning and ending with a letter or digit",
        )
    return value


def check_owner(value: str) -> str:
    """Return the owner without surrounding spaces.

    Raises InputError if it is empty, reserved, too long, a step of a path, or has a slash or characters that cannot
    be printed.
    """
    owner = value.strip()
    if not owner:
        raise InputError("the owner is empty", remedy=_NAME_OWNER)
    if owner.casefold() == PREBUILDS_OWNER:
        raise InputError(f"{PREBUILDS_OWNER} is the reserved owner of the pools", remedy=_NAME_OWNER)
    if len(owner) > _OWNER_MAX or not owner.isprintable() or "/" in owner or "\\" in owner or owner in _STEPS:
        raise InputError(
            f"{_shown(owner)} is not a valid owner",
            hint=f"use up to {_OWNER_MAX} printable characters without slashes, but not . or ..",
        )
    return owner


def as_id(value: str) -> str | None:
    """Return the value as an id in canonical form, or None if it is not an id."""
    try:
        return str(UUID(value))
    except ValueError:
        return None


def _shown(value: str) -> str:
    """Shorten a value for a message, with control characters escaped."""
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")
