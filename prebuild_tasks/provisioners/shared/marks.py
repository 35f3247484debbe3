"""The durable mark of a claim, as every adapter honours it."""

from __future__ import annotations

from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER
from prebuild_tasks.provisioners.port import WorkspaceSpec


def refuse_claimed(owner: str, spec: WorkspaceSpec) -> None:
    """Raises ProvisionerError when somebody has what the pool wants to be rid of: an older database was put back.

    `owner`: whose mark it carries; empty: nobody's.
    """
    if owner and spec.owner == PREBUILDS_OWNER:
        raise ProvisionerError(f"it was claimed by {owner}: it is not deleted for the pool")
