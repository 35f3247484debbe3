"""What a file declares against what is stored: the values, in words how they differ, and which version is which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prebuild_tasks.errors import InputError
from prebuild_tasks.services.pools_file import DeclaredTemplate, DeclaredVersion, config_digest
from prebuild_tasks.services.pools_schema import PresetModel
from prebuild_tasks.services.pools_stored import Stored


def find_version(
    template: DeclaredTemplate,
    version: DeclaredVersion,
    stored: Stored,
    template_id: int,
    active: int | None,
    digests: Mapping[str, str],
) -> int | None:
    """The stored version that is this recipe. A preset more or less is no other recipe; other parameters are.

    Raises InputError for another recipe under a version's name.
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


def preset_values(preset: PresetModel) -> dict[str, Any]:
    """What may change in place: it replaces no prebuild."""
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


def ranges(preset: PresetModel) -> list[tuple[str, int]]:
    """Its schedules as they are stored."""
    return [(item.cron, item.desired) for item in preset.schedules]


def difference(stored: Any, wanted: Mapping[str, Any]) -> str:
    """`key old -> new, …` of a row and the values it should have; empty when it has them."""
    was = {key: getattr(stored, key) for key in wanted}
    return ", ".join(f"{key} {was[key]} -> {value}" for key, value in wanted.items() if was[key] != value)
