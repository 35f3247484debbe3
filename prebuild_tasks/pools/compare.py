"""Comparison of the declared pools with the stored ones: versions, values, and descriptions of the differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prebuild_tasks.errors import InputError
from prebuild_tasks.pools.file.load import DeclaredTemplate, DeclaredVersion, config_digest
from prebuild_tasks.pools.file.model import OrganizationModel, PresetModel, SecretReference
from prebuild_tasks.pools.options import ApplyOptions, Change
from prebuild_tasks.pools.store.read import Stored, StoredOrganization, StoredPreset

_GONE_AT = ("deleted_at", "removed_at")
_SECONDS = "_s"
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_KEYS = {"replace_strategy": "replace.strategy", "max_surge": "replace.max_surge"}
"""Keys of the file by column, where the names differ."""


def find_version(
    template: DeclaredTemplate,
    version: DeclaredVersion,
    stored: Stored,
    template_id: int,
    active: int | None,
    digests: Mapping[str, str],
) -> int | None:
    """Find the stored version with the declared recipe. Return its id, or None for a new recipe.

    An added or removed preset does not make another recipe; changed parameters do. Raises InputError if the named
    version is stored with another recipe.

    Args:
        template: the declared template.
        version: its declared version.
        stored: the stored rows.
        template_id: id of the stored template.
        active: id of its active version, which is preferred among equal ones.
        digests: digest of each declared preset's recipe, by its name.
    """
    digest = config_digest(version.config)
    for row in sorted(stored.versions.get(template_id, ()), key=lambda row: row.id != active):
        if version.name is not None and row.name != version.name:
            continue
        known = stored.presets.get(row.id, {})
        changed = [name for name, value in digests.items() if name in known and known[name].recipe_digest != value]
        same_config = row.config_digest == digest and row.provisioner == template.provisioner
        if same_config and not changed:
            return int(row.id)
        if version.name is not None:
            what = f"the parameters of {changed[0]}" if same_config else "the config"
            raise InputError(
                f"{what} changed under the version name {version.name} of template {template.name}",
                hint="versions are immutable: give it a new version name, or use version: auto",
            )
    return None


def preset_values(preset: PresetModel) -> dict[str, object]:
    """Return the columns of a preset that may change in place, without replacing prebuilds."""
    return {
        "desired": preset.desired,
        "timezone": preset.timezone,
        "ttl_s": preset.ttl,
        "claimed_ttl_s": preset.claimed_ttl,
        "ready_timeout_s": preset.ready_timeout,
        "replace_strategy": preset.replace.strategy,
        "max_surge": preset.replace.max_surge,
        "max_builds_in_flight": preset.max_builds_in_flight,
        "cost_per_hour": preset.cost_per_hour,
        "removed_at": None,
    }


def schedule_rows(preset: PresetModel) -> list[tuple[str, int]]:
    """Return cron and desired size of each schedule, as they are stored."""
    return [(item.cron, item.desired) for item in preset.schedules]


def parameter_rows(preset_id: int, preset: PresetModel) -> Iterator[dict[str, object]]:
    """Yield each parameter as it is stored; of a secret, only the reference."""
    for name, value in preset.parameters.items():
        secret = value if isinstance(value, SecretReference) else SecretReference.model_construct()
        yield {
            "preset_id": preset_id,
            "name": name,
            "value": None if value is secret else value,
            "from_env": secret.from_env,
            "from_file": secret.from_file,
        }


def other_schedules(stored: Stored, row: StoredPreset, preset: PresetModel) -> bool:
    """Return whether the stored preset has other schedules than the declared one."""
    return list(stored.schedules.get(row.id, ())) != schedule_rows(preset)


def preset_difference(stored: Stored, row: StoredPreset, preset: PresetModel) -> str:
    """Describe how the stored preset differs from the declared one, as `difference`; its recipe is not compared."""
    parts = (difference(row, preset_values(preset)), "schedules" if other_schedules(stored, row, preset) else "")
    return ", ".join(part for part in parts if part)


def difference(stored: object, wanted: Mapping[str, object], organizations: Mapping[int, str] | None = None) -> str:
    """Describe how a stored row differs from the wanted values: `key old -> new, …`, or empty if it does not.

    Keys are those of the pools file. `organizations` are names by id, for a row that may change its organization.
    """
    was = {key: getattr(stored, key) for key in wanted}
    return ", ".join(
        _described(key, was[key], value, organizations or {}) for key, value in wanted.items() if was[key] != value
    )


def _described(key: str, was: object, value: object, organizations: Mapping[int, str]) -> str:
    if key in _GONE_AT:
        return "declared again"
    if isinstance(value, bool):
        return key if value else f"no longer {key}"
    if key == "organization_id" and isinstance(was, int) and isinstance(value, int):
        key, was, value = "organization", organizations[was], organizations[value]
    elif key.endswith(_SECONDS):
        key, was, value = key.removesuffix(_SECONDS), _duration(was), _duration(value)
    name = _KEYS.get(key, key)
    if was in (None, ""):
        return f"{name} {value}"
    return f"{name} {was} -> {'none' if value in (None, '') else value}"


def _duration(seconds: object) -> str | None:
    """Format seconds as in the pools file: `1h`, `90m`, `0.5s`."""
    if not isinstance(seconds, (int, float)):
        return None
    unit, size = next((unit, size) for unit, size in _UNITS if seconds % size == 0 or size == 1)
    return f"{seconds / size:.15g}{unit}"


NO_SOURCE = ""
"""The source of an organization whose limits no file declares."""


def limit_changes(
    stored: Sequence[StoredOrganization], declared: Sequence[OrganizationModel], options: ApplyOptions
) -> Iterator[tuple[int, dict[str, object], Change]]:
    """Yield the changes of organizations' limits: row id, new values, and the change for the report.

    The values are empty if only pruning would change them. An organization may be used by several sources; its limits
    belong to the source that changed them last.
    """
    wanted = {organization.name: organization.model_dump(exclude={"name"}) for organization in declared}
    none = dict.fromkeys(field for field in OrganizationModel.model_fields if field != "name")
    for row in stored:
        what = f"organization {row.name}"
        if values := wanted.get(row.name):
            if detail := difference(row, values):
                yield row.id, values | {"source": options.source}, Change("update", what, detail)
        elif row.source == options.source and (detail := difference(row, none)):
            if options.prune:
                yield row.id, none | {"source": NO_SOURCE}, Change("update", what, f"no longer declared, {detail}")
            else:
                yield row.id, {}, Change("would_drain", what, "no longer declared", if_pruned=detail)
