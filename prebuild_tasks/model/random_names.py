"""Random names of prebuilds. The word list is loaded only by who makes one."""

from __future__ import annotations

import secrets

from prebuild_tasks.model.name_words import ADJECTIVES, ANIMALS
from prebuild_tasks.model.names import PREBUILD_PREFIX


def prebuild_name() -> str:
    """Make a random name such as `prebuild-amber-otter-3f2a`. A rare duplicate is refused by the schema."""
    return f"{PREBUILD_PREFIX}{secrets.choice(ADJECTIVES)}-{secrets.choice(ANIMALS)}-{secrets.token_hex(2)}"
