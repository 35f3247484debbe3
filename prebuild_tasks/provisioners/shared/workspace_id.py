"""Ids of workspaces, which become parts of file names and container names."""

from __future__ import annotations

import uuid
from contextlib import suppress

from prebuild_tasks.errors import CannotBuildError


def check_id(workspace_id: str) -> str:
    """Return the id. Raises CannotBuildError unless it is a UUID in its usual form, which holds no path."""
    with suppress(ValueError):
        if str(uuid.UUID(workspace_id)) == workspace_id:
            return workspace_id
    raise CannotBuildError(f"{workspace_id!r} is not a UUID in lower case, so it cannot be a workspace's id")
