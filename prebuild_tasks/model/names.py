"""Names: made readable and unique, and checked where they come in."""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple
from uuid import UUID

from coolname import generate_slug

from prebuild_tasks.errors import InputError
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER

PREBUILD_PREFIX = "prebuild-"
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_REF = re.compile(r"([^/@\s]+)/([^/@\s]+)(?:@([^/@\s]+))?")
_OWNER_MAX = 100
_SHOWN = 60


class PoolName(NamedTuple):
    """A preset of one name over all versions of its template: `template/preset`."""

    template: str
    preset: str

    def __str__(self) -> str:
        return f"{self.template}/{self.preset}"

    @classmethod
    def of_ref(cls, ref: str) -> PoolName:
        """Read the pool of a preset's name that we spelled ourselves: it is not checked again."""
        template, _, preset = ref.partition("@")[0].partition("/")
        return cls(template, preset)


class PresetRef(NamedTuple):
    """`template/preset`, the active version's, or `template/preset@version`."""

    template: str
    preset: str
    version: str | None = None

    def __str__(self) -> str:
        name = f"{self.template}/{self.preset}"
        return f"{name}@{self.version}" if self.version else name

    @property
    def pool(self) -> PoolName:
        """The pool that the preset belongs to."""
        return PoolName(self.template, self.preset)

    @classmethod
    def of(cls, template: str, preset: str, version: str, *, active: bool) -> PresetRef:
        """Name a stored preset, without the version where that is the active one."""
        return cls(template, preset, None if active else version)

    @classmethod
    def parse(cls, value: str) -> PresetRef:
        """Read `template/preset` or `template/preset@version`. Raises InputError with the form."""
        match = _REF.fullmatch(value)
        if not match:
            raise InputError(f"{_shown(value)} is no preset", hint="write template/preset, or template/preset@version")
        return cls(*match.groups())


def prebuild_name() -> str:
    """A fresh name such as `prebuild-amber-otter-3f2a`. Unique by chance; the schema refuses the rest."""
    return f"{PREBUILD_PREFIX}{generate_slug(2)}-{secrets.token_hex(2)}"


def claimed_name(name: str) -> str:
    """What a claimed workspace is called when its owner did not say."""
    return name.removeprefix(PREBUILD_PREFIX)


def check_name(kind: str, value: str) -> str:
    """The name itself. Raises InputError with the rule: it becomes part of paths, labels and queue names."""
    if not _NAME.fullmatch(value) or ".." in value:
        raise InputError(
            f"{_shown(value)} is no {kind} name",
            hint="use 1 to 63 lower-case letters, digits, dots, - and _, beginning and ending with a letter or digit",
        )
    return value


def check_owner(value: str) -> str:
    """The owner, trimmed. Raises InputError for nobody, for the reserved owner, and for what would garble a line."""
    owner = value.strip()
    if not owner:
        raise InputError("the owner is empty", hint="say who it is for: --owner NAME")
    if owner.casefold() == PREBUILDS_OWNER:
        raise InputError(
            f"{PREBUILDS_OWNER} is the reserved owner of the pools", hint="claim for a person: --owner NAME"
        )
    if len(owner) > _OWNER_MAX or not owner.isprintable() or "/" in owner or "\\" in owner:
        raise InputError(
            f"{_shown(owner)} is no owner's name", hint=f"use up to {_OWNER_MAX} printable characters without slashes"
        )
    return owner


def as_id(value: str) -> str | None:
    """The value as the id it is, in its usual form; None for one that is a name."""
    try:
        return str(UUID(value))
    except ValueError:
        return None


def _shown(value: str) -> str:
    """The value as it may be repeated in a message: short, and with control characters escaped."""
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "…")
