"""Protection of claimed resources by the durable marker that a claim leaves on them."""

from __future__ import annotations

from prebuild_tasks.errors import ProvisionerError
from prebuild_tasks.model.vocabulary import PREBUILDS_OWNER
from prebuild_tasks.provisioners.port import WorkspaceSpec


def refuse_claimed(owner: str, spec: WorkspaceSpec) -> None:
    """Raise ProvisionerError when the pool deletes or rebuilds a resource that a person has claimed.

    That happens after an older database was restored, which does not know of the claim.

    Args:
        owner: The owner in the resource's claim marker; empty when it has none.
        spec: The workspace as the database knows it.
    """
    if owner and spec.owner == PREBUILDS_OWNER:
        raise ProvisionerError(f"the workspace was claimed by {owner}, so it is not deleted for the pool")
