"""The settings as they are shown: every value with its source, and no secret."""

from __future__ import annotations

import os
from dataclasses import dataclass

from prebuild_tasks.config import EMPTY_MEANS_NO_NAMES, Settings
from prebuild_tasks.model.addresses import masked_url

SECRET_SETTINGS = frozenset({"api_token", "flower_basic_auth"})
"""Settings whose value is shown masked. Of a URL, only the password is."""
_ALIASES = {"database_url": ("DATABASE_URL",), "redis_url": ("REDIS_URL", "CELERY_BROKER_URL")}


@dataclass(frozen=True, slots=True)
class SettingView:
    """One setting."""

    variable: str
    value: str
    source: str
    """The environment variable that it is from; `default`; or `resolved` for what follows from others."""


def shown_settings(settings: Settings) -> list[SettingView]:
    """Return every setting, and the databases that are in use."""
    rows = [
        SettingView(variable_of(name), _shown(name, getattr(settings, name)), _source(name))
        for name in Settings.model_fields
    ]
    for name, url in (("database", settings.resolved_database_url), ("redis", settings.resolved_redis_url)):
        rows.append(SettingView(f"({name} in use)", masked_url(url), "resolved"))
    return rows


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"PREBUILD_{name.upper()}"


def _shown(name: str, value: object) -> str:
    if name in SECRET_SETTINGS and value:
        return "***"
    if name.endswith("_url"):
        return masked_url(str(value))
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _source(name: str) -> str:
    own = variable_of(name)
    if name == EMPTY_MEANS_NO_NAMES and own in os.environ:
        return own
    return next((v for v in (own, f"{own}_FILE", *_ALIASES.get(name, ())) if os.environ.get(v)), "default")
