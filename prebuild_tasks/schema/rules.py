"""Rules about declared pools that `conditions.py` states in SQL as well."""

from __future__ import annotations

from prebuild_tasks.model.vocabulary import Preset


def is_active(preset: Preset) -> bool:
    """Return whether the preset keeps a pool: its version is the active one, and nothing of it is deleted."""
    return preset.using_active_version and not preset.deleted and not preset.deprecated
