"""Read a pools file with its overlays, check it as a whole, and normalize it. Nothing here uses the database."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from pydantic import ValidationError

from prebuild_tasks.config import stable_json
from prebuild_tasks.errors import CannotBuildError, InputError, NotFoundError, PoolsFileError, PrebuildError, Problem
from prebuild_tasks.model.names import PoolName
from prebuild_tasks.model.vocabulary import Schedule
from prebuild_tasks.pools.file import nodes as pools_yaml
from prebuild_tasks.pools.file.model import (
    AUTO,
    OrganizationModel,
    PoolsModel,
    PresetModel,
    SecretReference,
    TemplateModel,
)
from prebuild_tasks.pools.file.nodes import Node, Where, nearest
from prebuild_tasks.pools.file.problems import schema_problems, sound_part
from prebuild_tasks.reconcile import find_overlap, parse_cron

_ZONES_OF_A_MACHINE = {"localtime", "posixrules", "posix", "right"}
"""First parts of names that are listed among the zones, but are not IANA names."""
ConfigCheck = Callable[[str, Mapping[str, object]], None]
"""Checks a config by the provisioner of this name. Raises NotFoundError or CannotBuildError."""


@dataclass(frozen=True, slots=True)
class DeclaredVersion:
    """A version of a template. `name` is None for `auto`: such a version is identified by its recipe."""

    name: str | None
    config: Mapping[str, object]
    presets: tuple[PresetModel, ...]


@dataclass(frozen=True, slots=True)
class DeclaredTemplate:
    """A template, normalized from either form of the file."""

    name: str
    organization: str
    provisioner: str
    deprecated: bool
    versions: tuple[DeclaredVersion, ...]
    active_version: str | None
    """None: the only version is the active one, and it is `auto`."""
    pinned: bool
    """Whether the file names the active version; if so, the file overrides an earlier `promote`."""


@dataclass(frozen=True, slots=True)
class DeclaredPools:
    """The content of a pools file with its overlays."""

    templates: tuple[DeclaredTemplate, ...]
    organizations: tuple[OrganizationModel, ...]

    def pools(self) -> Iterator[PoolName]:
        """Yield the name of each pool; one that several versions have is yielded for each."""
        for template in self.templates:
            for version in template.versions:
                yield from (PoolName(template.name, preset.name) for preset in version.presets)


def load_pools(paths: Sequence[Path], *, check_config: ConfigCheck | None = None) -> DeclaredPools:
    """Read a file and its overlays, in this order. Raises PoolsFileError with the position and fix of every problem."""
    return load_nodes([pools_yaml.read(path) for path in paths], check_config)


def recipe_digest(provisioner: str, config: Mapping[str, object], parameters: Mapping[str, object]) -> str:
    """Compute the digest of a recipe. References to secrets are a part of it, their values are not."""
    return _digest({"provisioner": provisioner, "config": config, "parameters": plain_parameters(parameters)})


def config_digest(config: Mapping[str, object]) -> str:
    """Compute the digest of a version's config."""
    return _digest(config)


def auto_version_name(provisioner: str, version: DeclaredVersion) -> str:
    """Compute the name of an `auto` version from its provisioner, config and parameters."""
    parameters = {preset.name: plain_parameters(preset.parameters) for preset in version.presets}
    return f"auto-{_digest({'provisioner': provisioner, 'config': version.config, 'parameters': parameters})[:10]}"


def plain_parameters(parameters: Mapping[str, object]) -> dict[str, object]:
    """Convert parameters to JSON values; references to secrets become mappings."""
    return {
        name: value.model_dump(exclude_none=True) if isinstance(value, SecretReference) else value
        for name, value in parameters.items()
    }


def _digest(value: object) -> str:
    return hashlib.sha256(stable_json(value).encode()).hexdigest()


def load_nodes(nodes: Sequence[Node], check_config: ConfigCheck | None = None) -> DeclaredPools:
    """Merge parsed texts, each over those before it, and validate the result. Raises PoolsFileError as `load_pools`."""
    root = nodes[0]
    for overlay in nodes[1:]:
        root = pools_yaml.merge(root, overlay)
    if not isinstance(root.value, dict):
        raise PoolsFileError([root.problem((), "is not a mapping", "begin with: schema: 1")])
    problems: list[Problem] = []
    while True:
        try:
            model = PoolsModel.model_validate(root.plain())
            break
        except ValidationError as error:
            problems += schema_problems(root, error)
            # The rest is checked, too, so that nobody corrects a file in several rounds. Some of the schema's rules
            # apply only to what is otherwise sound, so the rest may be refused as well.
            rest = sound_part(root, error)
            if rest.plain() == root.plain():
                raise PoolsFileError(_in_order(problems, nodes)) from None
            root = rest
    problems += _checks(root, model, check_config)
    if problems:
        raise PoolsFileError(_in_order(problems, nodes))
    return DeclaredPools(tuple(_normalized(template) for template in model.templates), tuple(model.organizations))


def _in_order(problems: Iterable[Problem], nodes: Sequence[Node]) -> list[Problem]:
    """Sort problems as they stand in the files, which were given in this order."""
    files = {node.file: position for position, node in reversed(list(enumerate(nodes)))}
    return sorted(problems, key=lambda problem: (files.get(problem.file, len(files)), problem.line, problem.column))


def _normalized(template: TemplateModel) -> DeclaredTemplate:
    if template.versions is not None:
        versions = tuple(DeclaredVersion(v.name, v.config, tuple(v.presets)) for v in template.versions)
    else:
        name = None if template.version in (None, AUTO) else template.version
        versions = (DeclaredVersion(name, template.config or {}, tuple(template.presets or ())),)
    return DeclaredTemplate(
        name=template.name,
        organization=template.organization,
        provisioner=template.provisioner,
        deprecated=template.deprecated,
        versions=versions,
        active_version=template.active_version or versions[0].name,
        pinned=template.active_version is not None,
    )


def _checks(root: Node, model: PoolsModel, check_config: ConfigCheck | None) -> Iterator[Problem]:
    """Check what the schema cannot: duplicates, references by name, time zones, schedules, provisioners' configs."""
    yield from _duplicates(root, ("organizations",), [item.name for item in model.organizations], "organization")
    yield from _duplicates(root, ("templates",), [item.name for item in model.templates], "template")
    known = {"default", *(item.name for item in model.organizations)}
    for position, template in enumerate(model.templates):
        where: Where = ("templates", position)
        if model.organizations and template.organization not in known:
            message = f"the organization {template.organization} is not declared"
            yield root.problem((*where, "organization"), message, nearest(template.organization, sorted(known)))
        if template.versions is None:
            presets = [((*where, "presets"), template.presets or [])]
            configs = [((*where, "config"), template.config or {})]
        else:
            names = [version.name for version in template.versions]
            yield from _duplicates(root, (*where, "versions"), names, "version")
            if template.active_version not in names:
                message = f"the active version {template.active_version} does not exist"
                fix = nearest(str(template.active_version), names) if names else "declare it under versions"
                yield root.problem((*where, "active_version"), message, fix)
            presets = [((*where, "versions", n, "presets"), v.presets) for n, v in enumerate(template.versions)]
            configs = [((*where, "versions", n, "config"), v.config) for n, v in enumerate(template.versions)]
        for place, items in presets:
            yield from _duplicates(root, place, [item.name for item in items], "preset")
            for number, preset in enumerate(items):
                yield from _schedule_problems(root, (*place, number), preset)
                yield from _number_problems(root, (*place, number, "parameters"), preset.parameters)
        for place, config in configs:
            variables = config.get("environment")
            yield from _number_problems(root, (*place, "environment"), variables if isinstance(variables, dict) else ())
        if check_config is not None:
            for place, config in configs:
                yield from _config_problems(root, where, place, template.provisioner, config, check_config)


def _duplicates(root: Node, where: Where, names: Sequence[str], kind: str) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for position, name in enumerate(names):
        if name in first:
            original = root.problem((*where, first[name], "name"), "")
            message = f"the {kind} name {name} is used twice, first in line {original.line}"
            yield root.problem((*where, position, "name"), message, "rename or remove one")
        first.setdefault(name, position)


def _schedule_problems(root: Node, where: Where, preset: PresetModel) -> Iterator[Problem]:
    bad_zone = False
    if preset.timezone:
        try:
            if preset.timezone.partition("/")[0] in _ZONES_OF_A_MACHINE:
                raise ValueError("its meaning differs between machines")
            ZoneInfo(preset.timezone)
        except (KeyError, ValueError, OSError):
            bad_zone = True
            zones = sorted(available_timezones() - _ZONES_OF_A_MACHINE)
            near = nearest(preset.timezone, zones)
            fix = near if near.startswith("did") else "use an IANA name such as Europe/Berlin or UTC"
            yield root.problem((*where, "timezone"), f"unknown timezone {preset.timezone}", fix)
    elif preset.schedules:
        yield root.problem((*where, "schedules"), "schedules without a timezone", "add timezone: UTC, or your zone")
    readable = True
    for number, schedule in enumerate(preset.schedules):
        try:
            parse_cron(schedule.cron)
        except ValueError as error:
            readable = False
            yield root.problem((*where, "schedules", number, "cron"), str(error), "write it as in * 8-18 * * 1-5")
    if readable and not bad_zone and preset.schedules:
        schedules = [Schedule(item.cron, item.desired) for item in preset.schedules]
        if overlap := find_overlap(schedules, preset.timezone or "UTC"):
            one, other = schedules[overlap.first].cron, schedules[overlap.second].cron
            message = f"the schedules {one!r} and {other!r} overlap at {overlap.at:%Y-%m-%d %H:%M %Z}"
            yield root.problem((*where, "schedules", overlap.second, "cron"), message, "narrow one of them")


def _number_problems(root: Node, where: Where, names: Iterable[str]) -> Iterator[Problem]:
    """Refuse numbers that change when they become the text of a variable: 3.10 must not silently become 3.1."""
    for name in names:
        node = root.at((*where, name))
        if node.number and str(node.value) != node.number:
            message = f"{name}: the number {node.number} would become the text {node.value}"
            yield root.problem((*where, name), message, f"quote it: '{node.number}'")


def _config_problems(
    root: Node, template: Where, place: Where, provisioner: str, config: Mapping[str, object], check: ConfigCheck
) -> Iterator[Problem]:
    try:
        check(provisioner, config)
    except NotFoundError as error:
        yield root.problem((*template, "provisioner"), error.message, error.hint)
    except (CannotBuildError, InputError) as error:
        for item in (error, *getattr(error, "others", ())):
            key = getattr(item, "key", "")
            yield root.problem((*place, key) if key else place, item.message, _hint(item))


def _hint(error: PrebuildError) -> str:
    return error.hint or "see the provisioner's page in docs/"
